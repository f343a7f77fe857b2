"""What a report counts, in the SQL of the reviewers' index. `index` gives rows by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from usher.core.report_figures import Answers, ByRole, Denials, DocumentShown, Exposures, Figures, PolicyUse
from usher.ledger.record import EventType

TOP = 20
"""Documents that are listed."""
_SPAN = "e.number BETWEEN :first AND :last"
_DENIED = "EXISTS (SELECT 1 FROM denials d WHERE d.node = e.number)"
_STATE = f"CASE WHEN {_DENIED} THEN 'denied' WHEN e.outcome IN ('answered', 'found') THEN 'answered' ELSE 'other' END"
_ACTIVITY = f"""
SELECT substr(e.time, 1, :width) AS bucket, {_STATE} AS state, count(*) AS count FROM entries e
WHERE {_SPAN} AND e.kind != 'view' GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608  # constants only
_ANSWERS = f"""
SELECT e.kind, e.route, e.outcome, {_DENIED} AS denied, count(*) AS count FROM entries e WHERE {_SPAN}
GROUP BY 1, 2, 3, 4 ORDER BY 1, 5 DESC, 2, 3
"""  # noqa: S608  # constants only
_ROLES = f"""
SELECT r.value AS role, sum(state = 'answered') AS answered, sum(state = 'nothing') AS "nothing",
  sum(state = 'denied') AS denied, sum(state = 'other') AS other
FROM (SELECT e.roles, CASE WHEN e.outcome IN ('no_answer', 'nothing') AND NOT {_DENIED} THEN 'nothing' ELSE {_STATE} END
      AS state FROM entries e WHERE {_SPAN} AND e.kind != 'view') x, json_each(x.roles) r
GROUP BY 1 ORDER BY sum(1) DESC, 1
"""  # noqa: S608  # constants only
_DENIALS = f"""
SELECT d.reason, d.action, count(*) AS count, count(DISTINCT e.pseudonym) AS people
FROM denials d JOIN entries e ON e.number = d.node WHERE {_SPAN} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""  # noqa: S608  # constants only
_IS_PART = "substr(s.document, 15, 1) = '8'"
"""Of what an adapter learned (`core/learned.py`): no document of its own."""
_DOCUMENTS = f"""
SELECT s.document, count(DISTINCT s.node) AS shown, count(DISTINCT CASE WHEN s.cited THEN s.node END) AS cited,
  count(DISTINCT e.pseudonym) AS people
FROM entries e CROSS JOIN shown s ON s.node = e.number WHERE {_SPAN} AND s.in_prompt IS NOT 0 AND NOT {_IS_PART}
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {TOP}
"""  # noqa: S608  # constants only
_MARKED = """
WITH marked AS MATERIALIZED (
  SELECT DISTINCT e.number, e.pseudonym, substr(e.time, 1, :width) AS bucket,
    EXISTS (SELECT 1 FROM shown s WHERE s.node = e.number AND s.access_class IN ({classes}) AND s.in_prompt IS NOT 0)
    AS shown
  FROM about a CROSS JOIN entries e ON e.number = a.node
  WHERE a.access_class IN ({classes}) AND a.node BETWEEN :first AND :last)
SELECT bucket, shown, count(*) AS count, NULL AS people FROM marked GROUP BY 1, 2
UNION ALL SELECT NULL, NULL, count(*), count(DISTINCT pseudonym) FROM marked
"""  # constants and whole numbers only
_POLICIES = f"""
SELECT e.policy_version AS version, min(e.number) AS first, max(e.number) AS last, min(e.time) AS since,
  max(e.time) AS until, count(*) AS count
FROM entries e WHERE {_SPAN} AND e.policy_version IS NOT NULL GROUP BY 1 ORDER BY 1
"""  # noqa: S608  # constants only
_LOOK = f"type = '{EventType.AUDIT_READ}' AND node IS NULL AND NOT break_glass"
_ACTS = f"""
SELECT number, {_LOOK} AS look FROM acts e
WHERE {_SPAN} AND (type IN ('{EventType.POLICY}', '{EventType.AUDIT_READ}') OR break_glass) ORDER BY number
"""  # noqa: S608  # constants only


def figures(
    index: sqlite3.Connection, first: int, last: int, width: int, markings: Mapping[str, Collection[int]]
) -> Figures:
    """Of the events from one number to another, as far as they are indexed. `markings` are access classes by name."""
    progress = index.execute("SELECT number FROM progress").fetchone()
    span = {"first": first, "last": last, "width": width}

    def rows(query: str) -> list[sqlite3.Row]:
        return index.execute(query, span).fetchall()

    acts = rows(_ACTS)
    return Figures(
        indexed=progress[0] if progress else 0,
        activity=[(row["bucket"], row["state"], row["count"]) for row in rows(_ACTIVITY)],
        answers=[
            Answers(row["kind"], row["route"], row["outcome"], bool(row["denied"]), row["count"])
            for row in rows(_ANSWERS)
        ],
        roles=[ByRole(**dict(row)) for row in rows(_ROLES)],
        denials=[Denials(**dict(row)) for row in rows(_DENIALS)],
        documents=[DocumentShown(**dict(row)) for row in rows(_DOCUMENTS)],
        exposures=[_exposures(index, name, classes, span) for name, classes in sorted(markings.items())],
        policies=[PolicyUse(**dict(row)) for row in rows(_POLICIES)],
        acts=[row["number"] for row in acts if not row["look"]],
        looks=[row["number"] for row in acts if row["look"]],
    )


def _exposures(index: sqlite3.Connection, name: str, classes: Collection[int], span: dict[str, Any]) -> Exposures:
    shown: dict[str, int] = {}
    inherited: dict[str, int] = {}
    people = 0
    for row in index.execute(_MARKED.format(classes=", ".join(map(str, sorted(classes)))), span):
        if row["bucket"] is None:
            people = row["people"]
        else:
            (shown if row["shown"] else inherited)[row["bucket"]] = row["count"]
    return Exposures(name, shown, inherited, people)
