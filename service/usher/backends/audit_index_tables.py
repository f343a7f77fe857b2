"""The tables of the reviewers' index, and how the rows of events get into them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from usher.ledger.record import CHAT
from usher.ledger.shown import Begun, Cited, Decided, Denied, Generated, Inherits, Outcome, Ref, Row, Shown

FORMAT = 1
"""The file's `user_version`. One of another is emptied, and built anew."""

SCHEMA = f"""
BEGIN IMMEDIATE;
DROP TABLE IF EXISTS entries;
DROP TABLE IF EXISTS shown;
DROP TABLE IF EXISTS inherits;
DROP TABLE IF EXISTS denials;
DROP TABLE IF EXISTS progress;
CREATE TABLE entries (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, audit_id TEXT UNIQUE, time TEXT NOT NULL,
  pseudonym TEXT, policy_version INTEGER, route TEXT, model TEXT, adapter TEXT, effect TEXT, reason TEXT, outcome TEXT);
CREATE INDEX entries_by_time ON entries (time);
CREATE INDEX entries_by_pseudonym ON entries (pseudonym, number);
CREATE TABLE shown (document TEXT NOT NULL, node INTEGER NOT NULL, number INTEGER NOT NULL, position INTEGER NOT NULL,
  version INTEGER, chunk TEXT, access_class INTEGER, rank INTEGER, in_prompt INTEGER, cited INTEGER NOT NULL,
  PRIMARY KEY (document, node, number, position)) WITHOUT ROWID;
CREATE INDEX shown_by_node ON shown (node);
CREATE TABLE inherits (earlier INTEGER NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (earlier, node)) WITHOUT ROWID;
CREATE INDEX inherits_by_node ON inherits (node);
CREATE TABLE denials (number INTEGER PRIMARY KEY, node INTEGER NOT NULL UNIQUE, reason TEXT NOT NULL, action TEXT,
  object TEXT);
CREATE TABLE progress (origin TEXT NOT NULL, number INTEGER NOT NULL, leaf BLOB NOT NULL);
PRAGMA user_version = {FORMAT};
COMMIT;
"""
"""A node is an entry's number: that of the request of an exchange, or of a view; `inherits.earlier` is one as well.
`number` in `shown` and `denials` is that of the event that says so."""


def store(index: sqlite3.Connection, rows: Sequence[Row], progress: tuple[str, int, bytes]) -> None:
    """Rows of events and how far they go, in one transaction."""
    index.execute("BEGIN IMMEDIATE")
    try:
        for row in rows:
            _STORE[type(row)](index, row)
        index.execute("DELETE FROM progress")
        index.execute("INSERT INTO progress VALUES (?, ?, ?)", progress)
        index.execute("COMMIT")
    except BaseException:
        index.execute("ROLLBACK")
        raise


def _node(index: sqlite3.Connection, of: Ref) -> int:
    """Raises `ValueError` for an exchange that no request has begun."""
    if isinstance(of, int):
        return of
    row = index.execute("SELECT number FROM entries WHERE audit_id = ?", (of,)).fetchone()
    if row is None:
        raise ValueError("an exchange without its request")
    return int(row[0])


def _begin(index: sqlite3.Connection, row: Begun) -> None:
    values = (row.number, row.kind, row.audit_id, row.time, row.pseudonym, row.policy_version)
    columns = "number, kind, audit_id, time, pseudonym, policy_version"
    index.execute(f"INSERT INTO entries ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)  # noqa: S608  # a constant


def _decide(index: sqlite3.Connection, row: Decided) -> None:
    query = "UPDATE entries SET effect = ?, reason = ?, policy_version = ?, route = ? WHERE number = ?"
    index.execute(query, (row.effect, row.reason, row.policy_version, row.route, _node(index, row.audit_id)))


def _generate(index: sqlite3.Connection, row: Generated) -> None:
    query = "UPDATE entries SET model = ?, adapter = ? WHERE number = ?"
    index.execute(query, (row.model, row.adapter, _node(index, row.audit_id)))


def _end(index: sqlite3.Connection, row: Outcome) -> None:
    index.execute("UPDATE entries SET outcome = ? WHERE number = ?", (row.outcome, _node(index, row.audit_id)))


def _deny(index: sqlite3.Connection, row: Denied) -> None:
    values = (row.number, _node(index, row.audit_id), row.reason, row.action, row.object)
    index.execute("INSERT OR IGNORE INTO denials VALUES (?, ?, ?, ?, ?)", values)


def _show(index: sqlite3.Connection, row: Shown) -> None:
    node = _node(index, row.of)
    kind = index.execute("SELECT kind FROM entries WHERE number = ?", (node,)).fetchone()[0]
    place = (row.document, node, row.number, row.position)
    values = (*place, row.version, row.chunk, row.access_class, row.rank, row.in_prompt if kind == CHAT else None)
    index.execute("INSERT INTO shown VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", values)


def _cite(index: sqlite3.Connection, row: Cited) -> None:
    node = _node(index, row.audit_id)
    index.executemany("UPDATE shown SET cited = 1 WHERE node = ? AND rank = ?", [(node, rank) for rank in row.ranks])


def _inherit(index: sqlite3.Connection, row: Inherits) -> None:
    values = (_node(index, row.earlier), _node(index, row.of))
    index.execute("INSERT OR IGNORE INTO inherits VALUES (?, ?)", values)


_STORE: dict[type, Any] = {
    Begun: _begin,
    Decided: _decide,
    Generated: _generate,
    Outcome: _end,
    Denied: _deny,
    Shown: _show,
    Cited: _cite,
    Inherits: _inherit,
}
