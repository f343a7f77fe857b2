"""The report's page: one HTML file for paper (A4) and screen, without scripts, that needs nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence

from usher.core.report_figures import Act, Exposures, Report
from usher.core.report_html import Child, Html, el, join, table, text
from usher.core.report_plot import Series, bars

_STYLE = """
@page { size: A4; margin: 15mm 14mm 18mm;
  @bottom-right { content: counter(page) " / " counter(pages); font: 8.5pt system-ui, sans-serif } }
* { box-sizing: border-box }
body { font: 10.5pt/1.4 system-ui, "Segoe UI", sans-serif; color: #1c1c1c; max-width: 182mm; margin: 0 auto;
  padding: 8mm 0 }
h1 { font-size: 20pt; margin: 0 0 1mm }
h2 { font-size: 13pt; margin: 8mm 0 2mm; padding-top: 2mm; border-top: 0.4mm solid #1c1c1c; break-after: avoid }
p { margin: 0 0 2mm }
.sub { color: #555 }
.warn { border: 0.4mm solid #b5452c; padding: 2mm 3mm; margin: 3mm 0 }
.facts { display: grid; grid-template-columns: repeat(5, 1fr); gap: 2mm; margin: 4mm 0; padding: 0; list-style: none }
.facts li { border: 0.2mm solid #999; padding: 2mm }
.facts b { display: block; font-size: 15pt; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100%; margin: 2mm 0 4mm; font-size: 9.5pt }
caption { text-align: left; font-weight: 600; padding-bottom: 1mm }
thead { display: table-header-group }
.kept { break-inside: avoid }
caption { break-after: avoid }
tr { break-inside: avoid }
th, td { text-align: left; vertical-align: top; padding: 0.8mm 2mm 0.8mm 0; border-bottom: 0.2mm solid #ccc;
  overflow-wrap: anywhere; font-weight: 400 }
thead th { border-bottom: 0.3mm solid #333; font-weight: 600; overflow-wrap: normal }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.n:not(:last-child) { padding-right: 5mm }
time { white-space: nowrap }
figure { margin: 2mm 0 4mm; break-inside: avoid }
figcaption { font-weight: 600 }
svg { display: block; width: 100%; height: auto }
pre { font: 8.5pt/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: #f3f3f3; padding: 2.5mm;
  white-space: pre-wrap; overflow-wrap: anywhere; break-inside: avoid }
small { color: #555; font-size: 8.5pt }
@media print { body { padding: 0; max-width: none } }
"""
_ANSWERED, _DENIED, _OTHER = "#24588a", "#b5452c", "#b8c7d6"
MOST = 100
"""Rows of a list of events; further ones are counted."""


def policy() -> str:
    """The content security policy that the page states, and that fits its response: its own style, and nothing."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def page(report: Report) -> str:
    """The whole page."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy()),
        el("meta", name="viewport", content="width=device-width"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"Audit report of {report.origin}"),
        el("style", Html(_STYLE)),
    )
    sections = (_head, _activity, _denials, _documents, _exposures, _policies, _alone, _looks, _checking)
    body = el("body", el("main", *(section(report) for section in sections)))
    return "<!DOCTYPE html>\n" + el("html", head, body, lang="en") + "\n"


def _head(report: Report) -> Html:
    figures = report.figures
    kinds = {kind: sum(a.count for a in figures.answers if a.kind == kind) for kind in ("chat", "search", "view")}
    denied = sum(one.count for one in figures.denials)
    facts = (*kinds.values(), denied, len(report.break_glass))
    names = ("questions", "searches", "views", "denied or refused", "break-glass")
    return join(
        [
            el("h1", "Audit report"),
            el("p", f"From {_day(report.since) or 'the beginning of the log'} to {_day(report.until) or 'its end'}."),
            el("p", _source(report), class_="sub"),
            _behind(report),
            el(
                "ul", *(el("li", el("b", f"{n:,}"), name) for n, name in zip(facts, names, strict=True)), class_="facts"
            ),
        ]
    )


def _source(report: Report) -> str:
    if report.times is None:
        return f"The log {report.origin} has no events in this span, of {report.size:,} in all."
    return (
        f"Every figure is of events {report.first} to {report.last} of the log {report.origin} "
        f"({_time(report.times[0])} to {_time(report.times[1])}), which a checkpoint over {report.size} events covers. "
        f"Made at {_time(report.made_at)}. Times are UTC."
    )


def _behind(report: Report) -> Html | None:
    if report.figures.indexed >= report.last:
        return None
    words = f"The index had only the first {report.figures.indexed:,} of these events: the figures lack the rest."
    return el("p", words, class_="warn")


def _activity(report: Report) -> Html:
    by_state = {state: dict[str, int]() for state in ("answered", "other", "denied")}
    for bucket, state, count in report.figures.activity:
        by_state[state][bucket] = count
    series = [
        Series("answered", _ANSWERED, by_state["answered"]),
        Series("nothing found, or ended otherwise", _OTHER, by_state["other"]),
        Series("denied or refused", _DENIED, by_state["denied"], hatched=True),
    ]
    answers = [(a.kind, a.route, a.outcome, a.count) for a in report.figures.answers if a.kind != "view"]
    roles = [(one.role, one.answered, one.nothing, one.denied, one.other) for one in report.figures.roles]
    return _section(
        "Questions and searches",
        _figure("activity", "Questions and searches over time", report.buckets, series),
        table("By route and outcome", ["Kind", "Route", "Outcome", "Count"], answers),
        table("By role, as it was evaluated then", ["Role", "Answered", "Nothing found", "Denied", "Other"], roles),
        el("small", "Somebody of two roles counts in both. A search has no route."),
    )


def _denials(report: Report) -> Html:
    rows = [(one.reason, one.action, one.count, one.people) for one in report.figures.denials]
    return _section(
        "Denials and refusals", table("By reason", ["Reason", "What was asked for", "Count", "People"], rows)
    )


def _documents(report: Report) -> Html:
    rows = [(_titled(report, one.document), one.shown, one.cited, one.people) for one in report.figures.documents]
    return _section(
        "Documents shown most",
        table("In prompts, in results and in views", ["Document", "Shown", "Cited", "People"], rows),
    )


def _titled(report: Report, document: str) -> Html:
    title = report.titles.get(document)
    return text(document) if title is None else join([title, el("br"), el("small", document)])


def _exposures(report: Report) -> Html:
    shown = [one for one in report.figures.exposures if one.shown or one.inherited]
    rows = [(one.marking, sum(one.shown.values()), sum(one.inherited.values()), one.people) for one in shown]
    plots = [_exposed(report, number, one) for number, one in enumerate(shown)]
    return _section(
        "Exposures of marked documents",
        table("Questions, searches and views", ["Marking", "Shown", "Inherited or found only", "People"], rows),
        *plots,
        el(
            "small",
            "Shown: such a document was in the prompt, in a search's result or in a view. Inherited or found only: it "
            "came by way of an earlier answer (also of one before this span), or was found and not shown. Markings are "
            "those that the document had then.",
        ),
    )


def _exposed(report: Report, number: int, one: Exposures) -> Html:
    series = [
        Series("shown", _ANSWERED, one.shown),
        Series("inherited or found only", _OTHER, one.inherited, hatched=True),
    ]
    return _figure(f"marking{number}", f"Exposures of documents with {one.marking}", report.buckets, series)


def _policies(report: Report) -> Html:
    rows = [
        (str(one.version), one.count, _when(one.since), _when(one.until), f"{one.first} to {one.last}")
        for one in report.figures.policies
    ]
    heads = ["Version", "Decided under it", "First", "Last", "Events"]
    return _section(
        "Policy",
        table("Versions that decisions were made under", heads, rows),
        _acts("Changes of the policy", report, report.changes),
    )


def _alone(report: Report) -> Html:
    return _section(
        "Break-glass and opened content",
        _acts("What one person did alone", report, report.break_glass),
        _acts("Content that was opened for a reviewer", report, report.unseals),
    )


def _looks(report: Report) -> Html:
    heading = "Who looked at the log"
    if report.looks is None:
        return _section(heading, el("p", el("em", "Not told: that takes the right audit.review on all of the log.")))
    rows = [
        (_person(report, one.pseudonym, one.actor), one.question, one.count, _when(one.last)) for one in report.looks
    ]
    return _section(heading, *_listed("What it was asked, by whom", ["Who", "Question", "Count", "Last"], rows))


def _acts(caption: str, report: Report, acts: Sequence[Act]) -> Html:
    rows = [(str(a.number), _when(a.time), _person(report, a.pseudonym, a.actor), a.what) for a in acts]
    return join(_listed(caption, ["Event", "Time", "Who", "What"], rows))


def _listed(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Child]]) -> Iterator[Html]:
    yield table(caption, heads, rows[:MOST])
    if len(rows) > MOST:
        yield el("p", el("small", f"and {len(rows) - MOST:,} more"))


def _person(report: Report, pseudonym: str | None, actor: str) -> Html:
    """By name where it is known."""
    name = None if pseudonym is None else report.people.get(pseudonym)
    return text(f"{name} ({pseudonym})" if name else pseudonym or actor)


def _checking(report: Report) -> Html:
    span = "".join(f" --{name} {time} \\\n   " for name, time in (("from", report.since), ("to", report.until)) if time)
    key = base64.b64decode(report.key[-44:])[1:].hex()
    return _section(
        "How to check this page",
        el("p", "This page proves nothing by itself: the record does. Take the same events, with their proof:"),
        el(
            "pre", f"usher audit export{span} --format csv --out EXPORT\nusher audit verify EXPORT --public-key KEYFILE"
        ),
        el("p", "KEYFILE holds the log's public key in hex. Compare it with one that you did not get with this page:"),
        el("pre", key),
        el("p", "Hold the whole record to the checkpoint that covers this page (put it into the file NOTE):"),
        el("pre", "usher audit verify --checkpoint NOTE"),
        el("pre", report.checkpoint),
        el(
            "p",
            "The table of an export has what is counted here, event by event. That no event was left out of an export "
            "is the server's word; that none was taken out of the record is what a checkpoint held elsewhere shows.",
        ),
        kept=True,
    )


def _time(text: str) -> str:
    """A time for people, to the second."""
    return text[:19].replace("T", " ")


def _when(text: str) -> Html:
    """The same in a table, where it stays on one line."""
    return el("time", _time(text))


def _day(text: str | None) -> str | None:
    """A time for people, without what is midnight."""
    return None if text is None else _time(text).removesuffix(" 00:00:00")


def _section(heading: str, *parts: Child, kept: bool = False) -> Html:
    """`kept`: on one page."""
    return el("section", el("h2", heading), *parts, class_="kept" if kept else None)


def _figure(ident: str, title: str, buckets: Sequence[str], series: Sequence[Series]) -> Html:
    return el("figure", el("figcaption", title), bars(ident, title, buckets, series))
