"""How the rows of events get into the reviewers' index."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from itertools import groupby
from typing import Any

from usher.ledger.record import CHAT
from usher.ledger.shown import (
    Act,
    Begun,
    Cited,
    Decided,
    Denied,
    Generated,
    Inherits,
    Learned,
    Outcome,
    Ref,
    Row,
    Shown,
    Step,
)

UNKNOWN_CLASS = 0
"""Of a document whose access class an event does not say: in nobody's reach."""
_BEGIN = (
    "INSERT INTO entries (number, kind, audit_id, time, pseudonym, roles, policy_version) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_DECIDE = "UPDATE entries SET effect = ?, reason = ?, policy_version = ?, route = ? WHERE number = ?"
_SHOW = "INSERT INTO shown VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
_ACT = "INSERT INTO acts VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT number FROM entries WHERE audit_id = ?))"
_TAKE_ON = "INSERT OR IGNORE INTO about SELECT access_class, ? FROM about WHERE node = ?"
_HAND_ON = """
WITH RECURSIVE later(node) AS (
  SELECT node FROM inherits WHERE earlier = :node
  UNION SELECT i.node FROM later JOIN inherits i ON i.earlier = later.node)
INSERT OR IGNORE INTO about SELECT a.access_class, later.node FROM later CROSS JOIN about a WHERE a.node = :node
"""


def store(index: sqlite3.Connection, rows: Sequence[Row], progress: tuple[str, int, bytes]) -> None:
    """Rows of events and how far they go, in one transaction."""
    index.execute("BEGIN IMMEDIATE")
    try:
        batch = _Batch(index)
        for kind, some in groupby(rows, type):
            _STORE[kind](batch, list(some))
        index.execute("DELETE FROM progress")
        index.execute("INSERT INTO progress VALUES (?, ?, ?)", progress)
        index.execute("COMMIT")
    except BaseException:
        index.execute("ROLLBACK")
        raise


@dataclass
class _Batch:
    """One transaction, and the exchanges that it has looked up: their nodes and kinds."""

    index: sqlite3.Connection
    exchanges: dict[str, tuple[int, str]] = field(default_factory=dict)

    def node(self, of: Ref) -> int:
        """Raises `ValueError` for an exchange that no request has begun."""
        return of if isinstance(of, int) else self._exchange(of)[0]

    def is_chat(self, of: Ref) -> bool:
        return not isinstance(of, int) and self._exchange(of)[1] == CHAT

    def _exchange(self, audit_id: str) -> tuple[int, str]:
        if audit_id not in self.exchanges:
            found = self.index.execute("SELECT number, kind FROM entries WHERE audit_id = ?", (audit_id,)).fetchone()
            if found is None:
                raise ValueError("an exchange without its request")
            self.exchanges[audit_id] = found[0], found[1]
        return self.exchanges[audit_id]

    def hand_on(self, node: int) -> None:
        """What an entry is about, so is whatever has inherited from it already: somebody may ask once more while an
        answer begins."""
        if self.index.execute("SELECT 1 FROM inherits WHERE earlier = ? LIMIT 1", (node,)).fetchone():
            self.index.execute(_HAND_ON, {"node": node})


def _begin(batch: _Batch, rows: Sequence[Begun]) -> None:
    for row in rows:
        own = (row.number, row.kind, row.audit_id, row.time, row.pseudonym)
        batch.index.execute(_BEGIN, (*own, json.dumps(row.roles), row.policy_version))


def _decide(batch: _Batch, rows: Sequence[Decided]) -> None:
    values = [(row.effect, row.reason, row.policy_version, row.route, batch.node(row.audit_id)) for row in rows]
    batch.index.executemany(_DECIDE, values)


def _generate(batch: _Batch, rows: Sequence[Generated]) -> None:
    values = [(row.model, row.adapter, batch.node(row.audit_id)) for row in rows]
    batch.index.executemany("UPDATE entries SET model = ?, adapter = ? WHERE number = ?", values)


def _end(batch: _Batch, rows: Sequence[Outcome]) -> None:
    values = [(row.outcome, batch.node(row.audit_id)) for row in rows]
    batch.index.executemany("UPDATE entries SET outcome = ? WHERE number = ?", values)


def _deny(batch: _Batch, rows: Sequence[Denied]) -> None:
    values = [(row.number, batch.node(row.audit_id), row.reason, row.action, row.object) for row in rows]
    batch.index.executemany("INSERT OR IGNORE INTO denials VALUES (?, ?, ?, ?, ?)", values)


def _show(batch: _Batch, rows: Sequence[Shown]) -> None:
    values, about = [], set()
    for row in rows:
        node, in_prompt = batch.node(row.of), row.in_prompt if batch.is_chat(row.of) else None
        place = (row.document, node, row.number, row.position)
        values.append((*place, row.version, row.chunk, row.access_class, row.rank, in_prompt))
        about.add((UNKNOWN_CLASS if row.access_class is None else row.access_class, node))
    batch.index.executemany(_SHOW, values)
    batch.index.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", sorted(about))
    for node in {node for _, node in about}:
        batch.hand_on(node)


def _cite(batch: _Batch, rows: Sequence[Cited]) -> None:
    values = [(batch.node(row.audit_id), rank) for row in rows for rank in row.ranks]
    batch.index.executemany("UPDATE shown SET cited = 1 WHERE node = ? AND rank = ?", values)


def _inherit(batch: _Batch, rows: Sequence[Inherits]) -> None:
    pairs = [(batch.node(row.earlier), batch.node(row.of)) for row in rows]
    batch.index.executemany("INSERT OR IGNORE INTO inherits VALUES (?, ?)", pairs)
    for earlier, node in pairs:
        if batch.index.execute(_TAKE_ON, (node, earlier)).rowcount:
            batch.hand_on(node)


def _learn(batch: _Batch, rows: Sequence[Learned]) -> None:
    """Once more changes nothing: a registration that was cut off is made again."""
    batch.index.executemany("INSERT OR IGNORE INTO learned VALUES (?, ?, ?)", [astuple(row) for row in rows])


def _step(batch: _Batch, rows: Sequence[Step]) -> None:
    batch.index.executemany("INSERT INTO steps VALUES (?, ?)", [(row.number, batch.node(row.of)) for row in rows])


def _act(batch: _Batch, rows: Sequence[Act]) -> None:
    """An exchange that is named may be none: somebody asked for it."""
    values = [astuple(row) for row in rows]
    batch.index.executemany(_ACT, values)


_STORE: Mapping[type, Callable[[_Batch, Any], None]] = {
    Begun: _begin,
    Decided: _decide,
    Generated: _generate,
    Outcome: _end,
    Denied: _deny,
    Shown: _show,
    Cited: _cite,
    Inherits: _inherit,
    Step: _step,
    Act: _act,
    Learned: _learn,
}
