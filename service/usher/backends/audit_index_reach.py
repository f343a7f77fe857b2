"""What an entry of the reviewers' index is about, and what of it somebody with a limited right may know."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from usher.ports.audit_index import Within

T = TypeVar("T")

MAX_NUMBER = 2**63 - 1
AT_ONCE = 64
"""Entries whose documents are looked up together."""
SCAN = 20_000
"""Entries that one page of a limited answer looks at, so that it takes bounded time."""
MANY = 2_000
"""Rows above which a condition is asked of each entry in turn, instead of looking up the entries that meet it."""

_UP = """
WITH RECURSIVE up(start, node) AS (
  SELECT value, value FROM json_each(:nodes)
  UNION SELECT up.start, i.earlier FROM up JOIN inherits i ON i.node = up.node)
"""
_ABOUT = f"""{_UP}
SELECT DISTINCT up.start, s.document, s.access_class FROM up CROSS JOIN shown s ON s.node = up.node
WHERE up.node = up.start OR s.in_prompt IS NOT 0
"""  # noqa: S608  # constants only
_EXPOSED = f"""{_UP}
SELECT DISTINCT s.document, s.access_class FROM up CROSS JOIN shown s ON s.node = up.node
"""  # noqa: S608  # constants only
_PARTS = (
    "SELECT DISTINCT part FROM learned WHERE document = :document AND (:version IS NULL OR version = :version)"
    " AND part NOT IN (SELECT value FROM json_each(:hidden))"
)
_INHERITS = "SELECT node, earlier FROM inherits WHERE node IN (SELECT value FROM json_each(:nodes))"
_ABOUT_ANY = "SELECT 1 FROM about WHERE access_class IN (SELECT value FROM json_each(:{name})) LIMIT :many + 1"
_LOOKED_UP = (
    "{node} IN (SELECT node FROM about WHERE access_class IN (SELECT value FROM json_each(:{name})) AND node > :after)"
)
_IN_TURN = (
    "EXISTS (SELECT 1 FROM about a WHERE a.node = {node} AND a.access_class IN (SELECT value FROM json_each(:{name})))"
)


def listed(values: Iterable[Any]) -> str:
    """Values for `json_each`."""
    return json.dumps(list(values))


def about_any(
    index: sqlite3.Connection, name: str, classes: Collection[int], node: str = "e.number", *, ahead: bool = True
) -> tuple[str, dict[str, Any]]:
    """The condition that a node is about any of these access classes, and its values. `ahead`: only nodes above
    `:after` matter."""
    values = {name: listed(sorted(classes))}
    counted = f"SELECT count(*) FROM ({_ABOUT_ANY.format(name=name)})"  # noqa: S608  # constants only
    many = index.execute(counted, {**values, "many": MANY}).fetchone()[0] > MANY
    looked_up = _LOOKED_UP if ahead else _LOOKED_UP.replace(" AND node > :after", "")
    return (_IN_TURN if many else looked_up).format(node=node, name=name), values


def shown_as(
    index: sqlite3.Connection, document: str | None, within: Within | None, version: int | None = None
) -> tuple[str, ...]:
    """A document's own id, and the parts of what adapters learned that it is of, by whichever of its versions or by
    this one. A part of which a document is hidden is left out: what nobody may know of tells nothing."""
    if document is None:
        return ()
    hidden = listed(() if within is None else within.hidden)
    rows = index.execute(_PARTS, {"document": document, "version": version, "hidden": hidden})
    return (document, *(row[0] for row in rows))


def exposed(index: sqlite3.Connection, node: int) -> frozenset[tuple[str, int | None]]:
    """Each document that an entry found or inherited, with its access class then."""
    return frozenset((row[0], row[1]) for row in index.execute(_EXPOSED, {"nodes": listed([node])}))


def known(index: sqlite3.Connection, nodes: Sequence[int], within: Within) -> dict[int, frozenset[str]]:
    """Those of the nodes that may be known of, with the documents within reach that each is about."""
    found: dict[int, frozenset[str]] = {}
    for start in range(0, len(nodes), AT_ONCE):
        some = nodes[start : start + AT_ONCE]
        about: dict[int, set[tuple[str, int | None]]] = {node: set() for node in some}
        for node, document, access_class in index.execute(_ABOUT, {"nodes": listed(some)}):
            about[node].add((document, access_class))
        for node, shown in about.items():
            reached = frozenset(document for document, number in shown if covers(within, document, number))
            if reached or (within.everything and not shown):
                found[node] = reached
    return found


def showing(index: sqlite3.Connection, may: dict[int, frozenset[str]], within: Within) -> dict[int, frozenset[str]]:
    """Those of the nodes that showed something, or inherit something that may be known of."""
    bare = listed(node for node, documents in may.items() if not documents)
    rows = index.execute(_INHERITS, {"nodes": bare}).fetchall()
    earlier = known(index, sorted({row["earlier"] for row in rows}), within)
    inheriting = {row["node"] for row in rows if row["earlier"] in earlier}
    return {node: documents for node, documents in may.items() if documents or node in inheriting}


def at_once(within: Within | None) -> int:
    """How many entries to look at together: the more documents have left the reach, the more, so that whoever finds
    these reads anew a few times only."""
    return AT_ONCE if within is None else AT_ONCE + 2 * len(within.hidden)


def covers(within: Within, document: str | None, access_class: int | None) -> bool:
    """Whether somebody may know that this document, of this class then, was shown."""
    return access_class in within.classes and document not in within.hidden


@dataclass
class Page:
    """Rows, which are entries by their column `node`, up to a limit. `next` is the number to go on after, None at the
    end; `through` the documents by which the entries may be known of, and some by which those that follow may."""

    rows: list[sqlite3.Row] = field(default_factory=list)
    next: int | None = None
    through: set[str] = field(default_factory=set)


def page(
    index: sqlite3.Connection,
    rows: Iterator[sqlite3.Row],
    within: Within | None,
    limit: int,
    key: str = "number",
    *,
    something: bool = False,
) -> Page:
    """The first rows that may be known of, from rows in the order of `key`, which are looked at as far as needed;
    `something`: of entries that showed or inherit something, as far as may be known."""
    made, scanned = Page(), 0
    while some := list(islice(rows, at_once(within))):
        scanned += len(some)
        may = None if within is None else known(index, [row["node"] for row in some], within)
        if may is not None and within is not None and something:
            may = showing(index, may, within)
        made.through |= set() if may is None else set().union(*may.values())
        for row in some:
            if may is not None and row["node"] not in may:
                continue
            if len(made.rows) == limit:
                made.next = made.rows[-1][key]
                return made
            made.rows.append(row)
        if within is not None and scanned >= SCAN:
            made.next = some[-1][key]
            return made
    return made
