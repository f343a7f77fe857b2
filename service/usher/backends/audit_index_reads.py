"""The reviewers' questions about entries, in the SQL of the index. `index` gives rows by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from usher.backends.audit_index_reach import MAX_NUMBER, about_any, covers, known, listed, page, shown_as
from usher.backends.audit_index_rows import denial, entry
from usher.ports.audit_index import DIRECT, INHERITED, LEARNED, RETRIEVED, Between, Denial, Seen, What, Within

_ENTRY = "e.number, e.number AS node, e.time, e.kind, e.audit_id, e.pseudonym, e.outcome, e.policy_version"
_ALL = f"{_ENTRY}, e.route, e.model, e.adapter, e.roles"
_BETWEEN = "(:since IS NULL OR e.time >= :since) AND (:until IS NULL OR e.time < :until) ORDER BY {number}"
_IT = (
    "document IN (SELECT value FROM json_each(:ids))"
    " AND (:version IS NULL OR version = :version OR document != :document)"
    " AND (:chunk IS NULL OR chunk IS NULL OR chunk = :chunk)"
    " AND (:reach IS NULL OR access_class IN (SELECT value FROM json_each(:reach)))"
)
"""`ids` are the document's own and those of the parts that it was learned as. A view of the whole document has no
chunk, nor has a part, and counts for each passage: rather listed than missed."""
_PASSAGES = (
    "SELECT node, document, version, chunk, access_class, rank, in_prompt, cited FROM shown"
    " WHERE node IN ({nodes}) {only} ORDER BY node, number, position"
)
_EARLIER = (
    "SELECT i.node, i.earlier, x.audit_id FROM inherits i JOIN entries x ON x.number = i.earlier"
    " WHERE i.node IN ({nodes}) ORDER BY i.node, i.earlier"
)
MANY = 2_000
"""Passages of a document that were shown, above which the walk is from the entries and not from these."""
SCAN = 2_000
"""Entries that one page then looks at, so that it takes bounded time."""
_SOME = 500
"""Entries whose passages are looked up in one query."""

# `saw` walks from what showed it to all that inherited it; `found` adds what only retrieved it.
_WHO_SAW = f"""
WITH RECURSIVE
given(node, itself) AS MATERIALIZED (
  SELECT DISTINCT node, document = :document FROM shown WHERE {_IT} AND in_prompt IS NOT 0),
saw(node) AS MATERIALIZED (
  SELECT node FROM given UNION SELECT i.node FROM saw JOIN inherits i ON i.earlier = saw.node),
found(node) AS MATERIALIZED (SELECT node FROM saw UNION SELECT node FROM shown WHERE {_IT})
SELECT {_ALL},
  CASE WHEN e.number IN (SELECT node FROM given WHERE itself) THEN '{DIRECT}'
       WHEN e.number IN (SELECT node FROM given) THEN '{LEARNED}'
       WHEN e.number IN (SELECT node FROM saw) THEN '{INHERITED}' ELSE '{RETRIEVED}' END AS how,
  (SELECT x.audit_id FROM inherits i JOIN entries x ON x.number = i.earlier
   WHERE i.node = e.number AND i.earlier IN (SELECT node FROM saw) ORDER BY i.earlier LIMIT 1) AS via
FROM entries e WHERE e.number IN (SELECT node FROM found WHERE node > :after)
AND {_BETWEEN.format(number="e.number")}
"""  # noqa: S608  # constants only
_IS_IT = f"FROM shown s WHERE {_IT} AND s.node ="
_EXPOSED = f"""EXISTS (
  WITH RECURSIVE up(node) AS (SELECT {{node}} UNION SELECT i.earlier FROM up JOIN inherits i ON i.node = up.node)
  SELECT 1 FROM up CROSS JOIN shown s WHERE {_IT} AND s.node = up.node AND s.in_prompt IS NOT 0)
"""  # noqa: S608  # constants only
# The other way round, for what very many saw: each entry in turn is asked for what it showed and had in its prompt.
_WHO_SAW_MUCH = f"""
SELECT {_ALL},
  CASE WHEN EXISTS (SELECT 1 {_IS_IT} e.number AND document = :document AND in_prompt IS NOT 0) THEN '{DIRECT}'
       WHEN EXISTS (SELECT 1 {_IS_IT} e.number AND in_prompt IS NOT 0) THEN '{LEARNED}'
       WHEN {_EXPOSED.format(node="e.number")} THEN '{INHERITED}' ELSE '{RETRIEVED}' END AS how,
  (SELECT x.audit_id FROM inherits j JOIN entries x ON x.number = j.earlier
   WHERE j.node = e.number AND {_EXPOSED.format(node="j.earlier")} ORDER BY j.earlier LIMIT 1) AS via
FROM entries e WHERE e.number > :after AND e.number <= :stop
AND (EXISTS (SELECT 1 {_IS_IT} e.number) OR {_EXPOSED.format(node="e.number")})
AND {_BETWEEN.format(number="e.number")}
"""  # noqa: S608  # constants only
_SOMETHING = (
    "(EXISTS (SELECT 1 FROM shown s WHERE s.node = e.number)"
    " OR EXISTS (SELECT 1 FROM inherits i WHERE i.node = e.number))"
)
_SEEN = f"""
SELECT {_ALL}, NULL AS how, NULL AS via FROM entries e
WHERE {{which}} AND e.number > :after AND {_BETWEEN.format(number="e.number")}
"""  # noqa: S608  # constants only
_DENIED = f"""
SELECT d.number AS denial, d.reason, d.action, d.object, {_ENTRY} FROM denials d JOIN entries e ON e.number = d.node
WHERE {{which}} AND d.number > :after AND {_BETWEEN.format(number="d.number")}
"""  # noqa: S608  # constants only
Answer = tuple[list[Seen], int | None, set[str]]
"""Entries, the number to go on after, and the documents by which they may be known of."""


def who_saw(index: sqlite3.Connection, what: What, between: Between, within: Within | None) -> Answer:
    """Whatever showed it or inherited it. A document that is hidden was seen by nobody."""
    if within is not None and _text(what.document) in within.hidden:
        return [], None, set()
    reach = None if within is None else listed(sorted(within.classes))
    document = _text(what.document)
    ids = shown_as(index, document, within, what.version)
    it = {"document": document, "ids": listed(ids), "version": what.version, "chunk": _text(what.chunk), "reach": reach}
    own = () if within is None else ids
    showing = f"SELECT count(*) FROM (SELECT 1 FROM shown WHERE {_IT} LIMIT :many + 1)"  # noqa: S608  # a constant
    if index.execute(showing, {**it, "many": MANY}).fetchone()[0] <= MANY:
        return _seen(index, _WHO_SAW, it, f"AND {_IT}", between, None, within, own)
    between = replace(between, after=max(between.after, _before(index, between.since)))
    ahead = "SELECT number FROM entries WHERE number > ? ORDER BY number LIMIT 1 OFFSET ?"
    stop = index.execute(ahead, (between.after, SCAN - 1)).fetchone()
    until = {**it, "stop": stop[0] if stop else MAX_NUMBER}
    found, following, through = _seen(index, _WHO_SAW_MUCH, until, f"AND {_IT}", between, None, within, own)
    following = following or (stop[0] if stop and _goes_on(index, stop[0], between.until) else None)
    return found, following, through.union(own)  # also where there is nothing yet, and only more to come


def _before(index: sqlite3.Connection, since: str | None) -> int:
    """The number after which entries are of `since` or later: times rise with numbers."""
    if since is None:
        return 0
    row = index.execute("SELECT number FROM entries WHERE time < ? ORDER BY time DESC LIMIT 1", (since,)).fetchone()
    return row[0] if row else 0


def _goes_on(index: sqlite3.Connection, number: int, until: str | None) -> bool:
    """True if there is an entry above a number and before a time."""
    above = index.execute("SELECT time FROM entries WHERE number > ? ORDER BY number LIMIT 1", (number,)).fetchone()
    return above is not None and (until is None or above[0] < until)


def saw(index: sqlite3.Connection, pseudonym: str | None, between: Between, within: Within | None) -> Answer:
    """Whatever showed this person something."""
    which = f"e.pseudonym = :pseudonym AND {_SOMETHING}"
    return _shown(index, which, {"pseudonym": pseudonym}, between, within)


BY_ADAPTER = "(e.adapter = :adapter OR e.adapter BETWEEN :adapter || '@sha256:' AND :adapter || '@sha256:g')"
"""Digests are in hex, in which no letter comes after f."""


def by_adapter(index: sqlite3.Connection, adapter: str, between: Between, within: Within | None) -> Answer:
    """Whatever this adapter answered: one by its served name, or all of a name in the policy."""
    return _shown(index, BY_ADAPTER, {"adapter": adapter}, between, within)


def decided_under(index: sqlite3.Connection, version: int, between: Between, within: Within | None) -> Answer:
    """Whatever showed something under this policy version."""
    return _shown(index, f"e.policy_version = :policy AND {_SOMETHING}", {"policy": version}, between, within)


def touched(index: sqlite3.Connection, classes: Collection[int], between: Between, within: Within | None) -> Answer:
    """Whatever found or inherited something of these access classes, by what of these is within."""
    if within is None:
        return _shown(index, *about_any(index, "marked", classes), between, None)
    return _shown(
        index,
        "TRUE",
        {},
        between,
        within,
        by=replace(within, classes=within.classes.intersection(classes), everything=False),
    )


def _shown(
    index: sqlite3.Connection,
    which: str,
    values: Mapping[str, Any],
    between: Between,
    within: Within | None,
    by: Within | None = None,
) -> Answer:
    """`by` what entries may be known of, if that is less than is told of them."""
    by = by or within
    if by is not None and not by.everything:
        of_reach, reach = about_any(index, "reach", by.classes)
        which, values = f"{which} AND {of_reach}", {**values, **reach}
    between = replace(between, after=max(between.after, _before(index, between.since)))
    return _seen(index, _SEEN.format(which=which), values, "", between, by, within)


def denied(
    index: sqlite3.Connection, between: Between, within: Within | None
) -> tuple[list[Denial], int | None, set[str]]:
    """Whatever was denied or refused."""
    which = "TRUE"
    values: dict[str, Any] = {}
    if within is not None and not within.everything:
        which, values = about_any(index, "reach", within.classes, "d.node", ahead=False)
    rows = index.execute(_DENIED.format(which=which), {**values, **_values(between)})
    found = page(index, rows, within, between.limit, "denial")
    return [denial(row) for row in found.rows], found.next, found.through


def _values(between: Between) -> dict[str, Any]:
    return {"after": between.after, "since": between.since, "until": between.until}


def _text(ident: UUID | None) -> str | None:
    return None if ident is None else str(ident)


def _seen(
    index: sqlite3.Connection,
    query: str,
    values: Mapping[str, Any],
    only: str,
    between: Between,
    by: Within | None,
    within: Within | None,
    own: Collection[str] = (),
) -> Answer:
    """`by` what entries may be known of, and `within` what is told of them; `own` is the document that was asked for,
    by which all that the query finds may be known of."""
    rows = index.execute(query, {**values, **_values(between)})
    found = page(index, rows, by, between.limit, something=_SOMETHING in query)
    nodes = [row["node"] for row in found.rows]
    passages = _by_node(index, _PASSAGES.format(only=only, nodes="{nodes}"), nodes, values)
    earlier = _by_node(index, _EARLIER, nodes, {})
    through = found.through | (set(own) if nodes else set())
    if within is not None:
        through |= _cut(index, passages, earlier, within)
    asked = values.get("document")
    return [entry(row, passages, earlier, asked) for row in found.rows], found.next, through


def _cut(
    index: sqlite3.Connection,
    passages: dict[int, list[sqlite3.Row]],
    earlier: dict[int, list[sqlite3.Row]],
    within: Within,
) -> set[str]:
    """Take out the passages and the earlier exchanges that may not be known of. By which documents the rest may."""
    for rows in passages.values():
        rows[:] = [row for row in rows if covers(within, row["document"], row["access_class"])]
    may = known(index, sorted({row["earlier"] for rows in earlier.values() for row in rows}), within)
    for rows in earlier.values():
        rows[:] = [row for row in rows if row["earlier"] in may]
    return set().union(*may.values(), ({row["document"] for rows in passages.values() for row in rows}))


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
