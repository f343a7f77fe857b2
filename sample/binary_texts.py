"""What the sample company's docx, pdf and xlsx files say: `make_binaries.py` sets it.

In the texts a line that begins with `# ` or `## ` is a heading, with `- ` an item, with `| ` a row of a table; an empty
line ends a paragraph.
"""

PARENTAL_LEAVE = """
# Parental leave

This page is for all parents, also for adoptive and foster parents, from their first day at Brinehollow.

## How long

Each parent has 26 weeks of parental leave with full pay. The leave can be taken in up to three parts until the
child's third birthday. Another 40 weeks are possible without pay; your job is kept for you.

The birth mother has in addition four weeks before and eight weeks after the birth, in which she must not work.

## How to ask

- Tell your team lead and HR eight weeks before the first day of leave.
- For an adoption two weeks are enough, because nobody knows the day earlier.
- You may change your plan once for each part, with four weeks' notice.

## Coming back

You come back to your own job. For the first three months you may work 60 percent for 70 percent of the pay. Staff of
the halls and the field base can move to a day job for up to a year while they breastfeed.

## Fathers and partners

In 2025 nine fathers were on leave, for 19 weeks on average. The board wishes that it becomes as usual as a summer
holiday, and Ingrid Maltby has asked team leads not to comment on anybody's choice.

## Money

| item | who pays | when |
| full pay for 26 weeks | Brinehollow | with the monthly pay |
| child allowance | the state | from the birth |
| one-off gift of 500 euros | Brinehollow | with the first pay after the birth |
"""

FIRMWARE_ROLLBACK = """
# Runbook: take back a firmware release of the Cormorant

A converter refuses any image older than the one before the current one. So a rollback is possible by exactly one
release, and only until the next one has been installed.

## When

Take a release back if more than two converters of the first ten restart by themselves within 24 hours, or if the grid
operator asks for it. The decision is taken by the engineer on duty, not by support.

## Steps

- Stop the rollout in Foghorn with the command rollout hold. Converters that have loaded the image but not yet started
it keep the old one.
- Write down the serial numbers that run the new release.
- Send the command firmware revert to one converter and watch it for 15 minutes.
- Then send the revert command to the other converters, at most eight at a time, so that no island loses more than a
tenth of its power.
- If a converter does not come back within six minutes, switch its supply off and on through the customer.

## Signature

A rollback needs no new signature, because both images are signed already. A repaired release does: ask two people from
the list of four for the signing key.

## Past rollbacks

| release | date | reason | converters |
| 2025.2 | 8 May 2025 | fan ran at full speed all the time | 41 |
| 2026.3 | 19 June 2026 | wrong power factor at low load | 7 |
"""

STANDARD_WARRANTY = """
# Standard warranty for buoys

Text for offers, version 9 of 1 February 2026. Changes need Jonas Etxeberria and the controller.

## Period

The warranty lasts 36 months from the handover at the quay, for the hull's tightness 60 months. It begins at the
latest eight weeks after we have reported that the buoy is ready.

## What is covered

Faults in design, material and workmanship are repaired free of charge, transport by sea within 30 nautical miles
included. If two repairs of the same fault fail, the customer may ask for a new part, and after a third for a reduced
price.

## What is not covered

- Damage by ships, nets and ice.
- Anchors that somebody other than our divers has turned, pulled or loaded.
- Wearing parts: fan filters, shaft seals after 24 months, anodes.
- Lost earnings, except where the contract guarantees an availability.

## Reporting

A fault is reported within 14 days of its discovery. Data from Foghorn count as evidence for both sides.

## Limit

Our liability is limited to 40 percent of the price of the buoy, except for injury, intent and gross negligence. This
limit is the first thing that customers ask to raise: up to 60 percent is possible with the approval of Rasmus Odell.
"""

THIRD_QUARTER = """
# Results of the third quarter of 2026

Board pack, 10 November 2026. Not public before the annual accounts. Prepared by Rasmus Odell.

## Summary

Revenue in the third quarter of 2026 was 5.1 million euros, 1.2 million euros below the budget. The operating loss was
340,000 euros. Three Gannet 120 for which revenue was planned wait for the decision on the rotor bearing.

## By product

Gannet 40: revenue 3.2 million euros, margin 31 percent.
Gannet 120: revenue 1.1 million euros, margin 4 percent.
Service: revenue 0.8 million euros, margin 38 percent.

## Year to date

Revenue in the first nine months was 17.4 million euros, after 15.9 million euros in the year before. We now expect
22.8 million euros for the whole year instead of 24.9 million euros, and an operating profit between 0.6 and 0.9 million
euros.

## Warranty

The reserve for the Gannet 120 was used with 96,000 euros, for two bearings in the water off Corran. If all nine buoys
need the harder lining, the reserve is short by 310,000 euros.

## Orders

Orders on hand amount to 14.2 million euros, which is seven months of work. Orders received in the quarter were 4.4
million euros.

## What the board is asked

To note the new forecast, to keep it confidential, and to decide on 10 December on the measures in the cash forecast.
"""

SKARRA_REPORT = """
# Test report Skarra 2026-14

Gannet 120, hull 112, six weeks in the water from 3 August to 14 September 2026. Report by Emeka Brandvold, field base
Skarra, 22 September 2026.

## Purpose

To measure the power curve, the noise and the wear of the rotor bearing before the buoy is handed over to its customer.

## Result

The buoy reached its rated power of 120 kW at a current of 2.65 m/s, instead of 2.6 m/s as designed. The difference lies
within the error of the current meter. Energy delivered in the six weeks was 38.6 MWh, 3 percent more than computed.

Noise at a distance of 100 metres was 112 dB at full power, re one micropascal. Seals were seen within 50 metres on 17
days; no change of their behaviour was noticed by the observer on the cliff.

## Bearing

The lining lost 0.10 mm in 890 hours of running. This confirms the earlier measurements. The harder lining was not yet
available for this test.

## Incidents

On 29 August waves reached 5.3 metres and the rotors parked themselves as planned. On 2 September a connector of the
second generator was found wet, and the buoy ran with one rotor for 31 hours. The connector had been closed without
grease. The checklist has a line for it since 4 September.

## Conclusion

The buoy may be handed over. A bearing check after 8,000 hours is to be written into the service plan.
"""

DOCX = {
    "handbook/parental-leave.docx": PARENTAL_LEAVE,
    "engineering/runbooks/firmware-rollback.docx": FIRMWARE_ROLLBACK,
    "sales/contracts/standard-warranty.docx": STANDARD_WARRANTY,
}
PDF = {
    "finance/board-pack/q3-2026-results.pdf": THIRD_QUARTER,
    "engineering/test-report-skarra.pdf": SKARRA_REPORT,
}
Row = tuple[str | int | float, ...]
XLSX: dict[str, dict[str, tuple[Row, ...]]] = {
    "hr/salary-bands-2026.xlsx": {
        "Bands from April 2026": (
            ("band", "typical job", "lowest yearly salary (euros)", "middle (euros)", "highest (euros)", "people"),
            ("H3", "hull painter, assembler", 33600, 36900, 40200, 31),
            ("H4", "senior painter, welder", 37800, 41500, 45200, 19),
            ("T5", "marine electrician, diver", 43200, 47900, 52600, 17),
            ("E6", "engineer, controller, HR partner", 49800, 57000, 64200, 28),
            ("E7", "senior engineer, key account", 60500, 69000, 77500, 15),
            ("M8", "head of department", 78000, 88500, 99000, 8),
        ),
        "Rules": (
            ("rule", "value"),
            ("offer without approval of HR", "up to the middle of the band"),
            ("usual step when promoted", "10 percent, at least the lowest of the new band"),
            ("supplement for the field base", "310 euros a month"),
        ),
    },
    "finance/payroll/pay-run-2026-09.xlsx": {
        "September 2026": (
            ("personnel number", "name", "band", "gross (euros)", "net (euros)", "remark"),
            ("0102", "Alice Thornquist", "E6", 5150, 3241, ""),
            ("0119", "Jonas Etxeberria", "M8", 7920, 4688, ""),
            ("0233", "Mirela Stancu", "M8", 7310, 4395, ""),
            ("0301", "Carol Imanishi", "E6", 5240, 3289, ""),
            ("0388", "Gustav Oren", "H3", 3020, 2105, "garnishment"),
            ("0410", "Bob Ferreira", "T5", 4065, 2689, "two nights on call"),
            ("0457", "Anton Petrov", "H3", 3180, 2194, "leaves in November"),
            ("0512", "Tilda Wray", "H4", 3490, 2371, "garnishment"),
            ("0533", "Dave Oyelaran", "E7", 6020, 3704, ""),
        ),
        "Total": (
            ("figure", "value"),
            ("people paid", 126),
            ("gross total (euros)", 541870),
            ("employer's pension share (euros)", 27094),
            ("difference to August", "1.4 percent less: no holiday pay"),
        ),
    },
    "sales/price-list-2026.xlsx": {
        "Prices 2026": (
            ("product", "list price (euros)", "lowest price (euros)", "weeks to deliver"),
            ("Gannet 40", 284000, 265000, 36),
            ("Gannet 120", 768000, 728000, 39),
            ("Limpet anchor, set of three", 21500, 19900, 8),
            ("Cormorant 45", 33800, 31400, 12),
            ("Cormorant 130", 61200, 57500, 16),
        ),
        "Service": (
            ("contract", "price a year (euros)", "term (years)"),
            ("Gannet 40 basic", 6900, 3),
            ("Gannet 40 full", 9800, 5),
            ("Gannet 120 full", 23400, 5),
            ("Foghorn for own converters", 1150, 1),
        ),
    },
}
