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
SELECT DISTINCT up.start, s.document FROM up CROSS JOIN shown s ON s.node = up.node
WHERE (up.node = up.start OR s.in_prompt IS NOT 0) AND s.access_class IN (SELECT value FROM json_each(:classes))
"""  # noqa: S608  # constants only
_EXPOSED = f"""{_UP}
SELECT DISTINCT s.document, s.access_class FROM up CROSS JOIN shown s ON s.node = up.node
"""  # noqa: S608  # constants only
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


def exposed(index: sqlite3.Connection, node: int) -> frozenset[tuple[str, int | None]]:
    """Each document that an entry found or inherited, with its access class then."""
    return frozenset((row[0], row[1]) for row in index.execute(_EXPOSED, {"nodes": listed([node])}))


def about(index: sqlite3.Connection, nodes: Sequence[int], within: Within) -> dict[int, set[str]]:
    """The documents within reach that each of these nodes is about; none for a node that is not to be known of."""
    found: dict[int, set[str]] = {node: set() for node in nodes}
    for start in range(0, len(nodes), AT_ONCE):
        some = listed(nodes[start : start + AT_ONCE])
        for node, document in index.execute(_ABOUT, {"nodes": some, "classes": listed(sorted(within.classes))}):
            if document not in within.hidden:
                found[node].add(document)
    return found


@dataclass
class Page:
    """Rows, which are entries by their column `node`, up to a limit. `next` is the number to go on after, None at the
    end; `through` the documents by which the entries may be known of."""

    rows: list[sqlite3.Row] = field(default_factory=list)
    next: int | None = None
    through: set[str] = field(default_factory=set)


def page(
    index: sqlite3.Connection, rows: Iterator[sqlite3.Row], within: Within | None, limit: int, key: str = "number"
) -> Page:
    """The first rows that may be known of, from rows in the order of `key`, which are looked at as far as needed."""
    made, scanned = Page(), 0
    while some := list(islice(rows, AT_ONCE)):
        scanned += len(some)
        known = None if within is None else about(index, [row["node"] for row in some], within)
        for row in some:
            if known is not None and not known[row["node"]]:
                continue
            if len(made.rows) == limit:
                made.next = made.rows[-1][key]
                return made
            made.rows.append(row)
            made.through |= known[row["node"]] if known is not None else set()
        if within is not None and scanned >= SCAN:
            made.next = some[-1][key]
            return made
    return made
