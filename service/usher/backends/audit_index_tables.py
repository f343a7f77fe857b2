"""The tables of the reviewers' index, and how the rows of events get into them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
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
    Outcome,
    Ref,
    Row,
    Shown,
    Step,
)

FORMAT = 2
"""The file's `user_version`. One of another is emptied, and built anew."""

SCHEMA = f"""
BEGIN IMMEDIATE;
DROP TABLE IF EXISTS entries;
DROP TABLE IF EXISTS shown;
DROP TABLE IF EXISTS inherits;
DROP TABLE IF EXISTS about;
DROP TABLE IF EXISTS denials;
DROP TABLE IF EXISTS steps;
DROP TABLE IF EXISTS acts;
DROP TABLE IF EXISTS progress;
CREATE TABLE entries (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, audit_id TEXT UNIQUE, time TEXT NOT NULL,
  pseudonym TEXT, roles TEXT NOT NULL, policy_version INTEGER,
  route TEXT, model TEXT, adapter TEXT, effect TEXT, reason TEXT, outcome TEXT);
CREATE INDEX entries_by_time ON entries (time);
CREATE INDEX entries_by_pseudonym ON entries (pseudonym, number);
CREATE INDEX entries_by_policy ON entries (policy_version, number);
CREATE INDEX entries_by_adapter ON entries (adapter, number) WHERE adapter IS NOT NULL;
CREATE TABLE shown (document TEXT NOT NULL, node INTEGER NOT NULL, number INTEGER NOT NULL, position INTEGER NOT NULL,
  version INTEGER, chunk TEXT, access_class INTEGER, rank INTEGER, in_prompt INTEGER, cited INTEGER NOT NULL,
  PRIMARY KEY (document, node, number, position)) WITHOUT ROWID;
CREATE INDEX shown_by_node ON shown (node);
CREATE TABLE inherits (earlier INTEGER NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (earlier, node)) WITHOUT ROWID;
CREATE INDEX inherits_by_node ON inherits (node);
CREATE TABLE about (access_class INTEGER NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (access_class, node))
  WITHOUT ROWID;
CREATE INDEX about_by_node ON about (node);
CREATE TABLE denials (number INTEGER PRIMARY KEY, node INTEGER NOT NULL UNIQUE, reason TEXT NOT NULL, action TEXT,
  object TEXT);
CREATE TABLE steps (number INTEGER PRIMARY KEY, node INTEGER NOT NULL);
CREATE INDEX steps_by_node ON steps (node);
CREATE TABLE acts (number INTEGER PRIMARY KEY, type TEXT NOT NULL, pseudonym TEXT, subject TEXT, document TEXT,
  access_class INTEGER, break_glass INTEGER NOT NULL);
CREATE INDEX acts_by_type ON acts (type);
CREATE INDEX acts_by_pseudonym ON acts (pseudonym) WHERE pseudonym IS NOT NULL;
CREATE INDEX acts_by_subject ON acts (subject) WHERE subject IS NOT NULL;
CREATE INDEX acts_by_document ON acts (document) WHERE document IS NOT NULL;
CREATE INDEX acts_by_class ON acts (access_class) WHERE access_class IS NOT NULL;
CREATE INDEX acts_by_glass ON acts (break_glass) WHERE break_glass;
CREATE TABLE progress (origin TEXT NOT NULL, number INTEGER NOT NULL, leaf BLOB NOT NULL);
PRAGMA user_version = {FORMAT};
COMMIT;
"""
"""A node is an entry's number: that of the request of an exchange, or of a view; `inherits.earlier` is one as well.
`number` in `shown` and `denials` is that of the event that says so. `about` has the access classes of all that an entry
found or inherited: whoever may know of none of them may not know of the entry. `steps` are the events of entries,
`acts` all others."""

_HAND_ON = """
WITH RECURSIVE later(node) AS (
  SELECT node FROM inherits WHERE earlier = :node
  UNION SELECT i.node FROM later JOIN inherits i ON i.earlier = later.node)
INSERT OR IGNORE INTO about SELECT :class, node FROM later
"""


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
    roles = json.dumps(row.roles)
    values = (row.number, row.kind, row.audit_id, row.time, row.pseudonym, roles, row.policy_version)
    columns = "number, kind, audit_id, time, pseudonym, roles, policy_version"
    index.execute(f"INSERT INTO entries ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608  # a constant


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
    if row.access_class is not None:
        _is_about(index, row.access_class, node)


def _is_about(index: sqlite3.Connection, access_class: int, node: int) -> None:
    """Also whatever has inherited from the entry already, as somebody may ask once more while an answer begins."""
    new = index.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (access_class, node)).rowcount
    if new and index.execute("SELECT 1 FROM inherits WHERE earlier = ? LIMIT 1", (node,)).fetchone():
        index.execute(_HAND_ON, {"class": access_class, "node": node})


def _cite(index: sqlite3.Connection, row: Cited) -> None:
    node = _node(index, row.audit_id)
    index.executemany("UPDATE shown SET cited = 1 WHERE node = ? AND rank = ?", [(node, rank) for rank in row.ranks])


def _inherit(index: sqlite3.Connection, row: Inherits) -> None:
    earlier, node = _node(index, row.earlier), _node(index, row.of)
    index.execute("INSERT OR IGNORE INTO inherits VALUES (?, ?)", (earlier, node))
    for (access_class,) in index.execute("SELECT access_class FROM about WHERE node = ?", (earlier,)).fetchall():
        _is_about(index, access_class, node)


def _step(index: sqlite3.Connection, row: Step) -> None:
    index.execute("INSERT INTO steps VALUES (?, ?)", (row.number, _node(index, row.of)))


def _act(index: sqlite3.Connection, row: Act) -> None:
    index.execute("INSERT INTO acts VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(row))


_STORE: dict[type, Any] = {
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
}
