"""Single exchanges by their audit ids, in the SQL of the reviewers' index. `index` gives rows by name."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence

from usher.core.learned import names_part
from usher.ports.audit_exchanges import Exchange, Showing
from usher.ports.audit_index import DIRECT, INHERITED, LEARNED, RETRIEVED

_SOME = 500
"""Ids in one query."""
_ENTRIES = (
    "SELECT number, time, kind, audit_id, pseudonym, outcome FROM entries WHERE audit_id IN ({ids}) ORDER BY number"
)
# From each exchange up to all that stood in its prompt. What was only found is no exposure of later ones.
_SHOWN = """
WITH RECURSIVE up(root, node) AS (
  SELECT number, number FROM entries WHERE audit_id IN ({ids})
  UNION SELECT up.root, i.earlier FROM up JOIN inherits i ON i.node = up.node)
SELECT up.root, up.node, s.document, s.version, s.chunk, s.access_class, s.rank, s.in_prompt, s.cited, s.number,
  x.audit_id
FROM up JOIN shown s ON s.node = up.node JOIN entries x ON x.number = up.node
WHERE up.node = up.root OR s.in_prompt IS NOT 0
ORDER BY up.root, up.node = up.root DESC, up.node, s.number, s.position
"""


_LATEST = "SELECT audit_id FROM entries WHERE audit_id IS NOT NULL AND outcome IS NOT NULL ORDER BY number DESC LIMIT ?"


def latest(index: sqlite3.Connection, limit: int) -> list[str]:
    """The audit ids of the last that have ended."""
    return [row["audit_id"] for row in index.execute(_LATEST, (limit,))]


_BY_ROLE = """
SELECT r.value AS role, count(*) AS count FROM entries e, json_each(e.roles) r
WHERE e.time >= ? AND e.kind = 'chat' GROUP BY 1
"""


def asked_by_role(index: sqlite3.Connection, since: str) -> dict[str, int]:
    """The chats since a time, by the roles of who asked."""
    return {row["role"]: row["count"] for row in index.execute(_BY_ROLE, (since,))}


def exchanges(index: sqlite3.Connection, audit_ids: Sequence[str]) -> list[Exchange]:
    """Those that there are, in the order of the log."""
    found: list[Exchange] = []
    for start in range(0, len(audit_ids), _SOME):
        some = audit_ids[start : start + _SOME]
        marks = ", ".join("?" * len(some))
        shown: dict[int, list[Showing]] = defaultdict(list)
        for row in index.execute(_SHOWN.format(ids=marks), some):
            shown[row["root"]].append(_showing(row))
        found += [_exchange(row, shown) for row in index.execute(_ENTRIES.format(ids=marks), some)]
    return sorted(found, key=lambda exchange: exchange.number)


def _exchange(row: sqlite3.Row, shown: dict[int, list[Showing]]) -> Exchange:
    number = row["number"]
    own = (number, row["time"], row["kind"], row["audit_id"], row["pseudonym"], row["outcome"])
    return Exchange(*own, tuple(shown[number]))


def _showing(row: sqlite3.Row) -> Showing:
    inherited = row["node"] != row["root"]
    in_prompt = None if row["in_prompt"] is None else bool(row["in_prompt"])
    return Showing(
        document=row["document"],
        version=row["version"],
        chunk=row["chunk"],
        access_class=row["access_class"],
        rank=row["rank"],
        in_prompt=in_prompt,
        cited=bool(row["cited"]),
        how=INHERITED if inherited else _own_way(row["document"], in_prompt),
        via=row["audit_id"] if inherited else None,
        number=row["number"],
    )


def _own_way(document: str, in_prompt: bool | None) -> str:
    if names_part(document):
        return LEARNED
    return RETRIEVED if in_prompt is False else DIRECT
