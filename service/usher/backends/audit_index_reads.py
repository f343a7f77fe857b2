"""The reviewers' questions, in the SQL of the index. `index` gives rows by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from usher.ports.audit_index import DIRECT, INHERITED, RETRIEVED, Between, Denial, Seen, ShownPassage, What

_ENTRY = "e.number, e.time, e.kind, e.audit_id, e.pseudonym, e.outcome, e.policy_version"
_BETWEEN = (
    "(:since IS NULL OR e.time >= :since) AND (:until IS NULL OR e.time < :until) ORDER BY {number} LIMIT :limit + 1"
)
_IT = "document = :document AND (:version IS NULL OR version = :version) AND (:chunk IS NULL OR chunk = :chunk)"
_PASSAGES = (
    "SELECT node, document, version, chunk, access_class, rank, in_prompt, cited FROM shown"
    " WHERE node IN ({nodes}) {only} ORDER BY node, number, position"
)
_EARLIER = (
    "SELECT i.node, x.audit_id FROM inherits i JOIN entries x ON x.number = i.earlier"
    " WHERE i.node IN ({nodes}) ORDER BY i.node, i.earlier"
)
_SOME = 500
"""Entries whose passages are looked up in one query."""

# `saw` walks from what showed it to all that inherited it; `found` adds what only retrieved it.
_WHO_SAW = f"""
WITH RECURSIVE
given(node) AS MATERIALIZED (SELECT DISTINCT node FROM shown WHERE {_IT} AND in_prompt IS NOT 0),
saw(node) AS MATERIALIZED (
  SELECT node FROM given UNION SELECT i.node FROM saw JOIN inherits i ON i.earlier = saw.node),
found(node) AS MATERIALIZED (SELECT node FROM saw UNION SELECT node FROM shown WHERE {_IT})
SELECT {_ENTRY}, e.route, e.model, e.adapter,
  CASE WHEN e.number IN (SELECT node FROM given) THEN '{DIRECT}'
       WHEN e.number IN (SELECT node FROM saw) THEN '{INHERITED}' ELSE '{RETRIEVED}' END AS how,
  (SELECT x.audit_id FROM inherits i JOIN entries x ON x.number = i.earlier
   WHERE i.node = e.number AND i.earlier IN (SELECT node FROM saw) ORDER BY i.earlier LIMIT 1) AS via
FROM entries e WHERE e.number IN (SELECT node FROM found WHERE node > :after)
AND {_BETWEEN.format(number="e.number")}
"""  # noqa: S608  # constants only
_SAW = f"""
SELECT {_ENTRY}, e.route, e.model, e.adapter, NULL AS how, NULL AS via FROM entries e
WHERE e.pseudonym = :pseudonym AND e.number > :after
AND (EXISTS (SELECT 1 FROM shown s WHERE s.node = e.number)
  OR EXISTS (SELECT 1 FROM inherits i WHERE i.node = e.number))
AND {_BETWEEN.format(number="e.number")}
"""  # noqa: S608  # constants only
_DENIED = f"""
SELECT d.number AS denial, d.reason, d.action, d.object, {_ENTRY} FROM denials d JOIN entries e ON e.number = d.node
WHERE d.number > :after AND {_BETWEEN.format(number="d.number")}
"""  # noqa: S608  # constants only


def who_saw(index: sqlite3.Connection, what: What, between: Between) -> tuple[list[Seen], bool]:
    """Whatever showed it or inherited it, and whether more follows."""
    it = {"document": _text(what.document), "version": what.version, "chunk": _text(what.chunk)}
    return _seen(index, _WHO_SAW, it, f"AND {_IT}", between)


def saw(index: sqlite3.Connection, pseudonym: str | None, between: Between) -> tuple[list[Seen], bool]:
    """Whatever showed this person something, and whether more follows."""
    return _seen(index, _SAW, {"pseudonym": pseudonym}, "", between)


def denied(index: sqlite3.Connection, between: Between) -> tuple[list[Denial], bool]:
    """Whatever was denied or refused, and whether more follows."""
    rows = index.execute(_DENIED, _values(between)).fetchall()
    return [_denial(row) for row in rows[: between.limit]], len(rows) > between.limit


def _denial(row: sqlite3.Row) -> Denial:
    return Denial(
        number=row["denial"],
        time=row["time"],
        kind=row["kind"],
        audit_id=row["audit_id"],
        pseudonym=row["pseudonym"],
        reason=row["reason"],
        action=row["action"],
        object=row["object"],
        outcome=row["outcome"],
        policy_version=row["policy_version"],
    )


def _values(between: Between) -> dict[str, Any]:
    return {"after": between.after, "limit": between.limit, "since": between.since, "until": between.until}


def _text(ident: UUID | None) -> str | None:
    return None if ident is None else str(ident)


def _seen(
    index: sqlite3.Connection, query: str, values: Mapping[str, Any], only: str, between: Between
) -> tuple[list[Seen], bool]:
    rows = index.execute(query, {**values, **_values(between)}).fetchall()
    page = rows[: between.limit]
    numbers = [row["number"] for row in page]
    passages = _by_node(index, _PASSAGES.format(only=only, nodes="{nodes}"), numbers, values)
    earlier = _by_node(index, _EARLIER, numbers, {})
    return [_entry(row, passages, earlier) for row in page], len(rows) > between.limit


def _by_node(
    index: sqlite3.Connection, query: str, numbers: Sequence[int], values: Mapping[str, Any]
) -> dict[int, list[sqlite3.Row]]:
    """The rows of each of these nodes."""
    found: dict[int, list[sqlite3.Row]] = {number: [] for number in numbers}
    for start in range(0, len(numbers), _SOME):
        some = {f"n{n}": number for n, number in enumerate(numbers[start : start + _SOME])}
        for row in index.execute(query.format(nodes=", ".join(f":{name}" for name in some)), {**values, **some}):
            found[row["node"]].append(row)
    return found


def _entry(
    row: sqlite3.Row, passages: Mapping[int, list[sqlite3.Row]], earlier: Mapping[int, list[sqlite3.Row]]
) -> Seen:
    number = row["number"]
    return Seen(
        number=number,
        time=row["time"],
        kind=row["kind"],
        audit_id=row["audit_id"],
        pseudonym=row["pseudonym"],
        outcome=row["outcome"],
        policy_version=row["policy_version"],
        route=row["route"],
        model=row["model"],
        adapter=row["adapter"],
        how=row["how"],
        via=row["via"] if row["how"] == INHERITED else None,
        earlier=tuple(other["audit_id"] for other in earlier[number]),
        passages=tuple(_passage(one) for one in passages[number]),
    )


def _passage(row: sqlite3.Row) -> ShownPassage:
    in_prompt = None if row["in_prompt"] is None else bool(row["in_prompt"])
    place = (row["document"], row["version"], row["chunk"], row["access_class"], row["rank"])
    return ShownPassage(*place, in_prompt, bool(row["cited"]))
