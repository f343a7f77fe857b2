"""The ledger's tables in PostgreSQL, in a schema of their own, and who may do what to them.

`log`, `events`, `tree`, `checkpoints`, `open_exchanges`, `content` and `subjects` are as in the SQLite file (see
`ledger_tables`); an open exchange also says the `session` of the server that answers it. What servers share beside
them is work in progress:

- `pending`: what is acknowledged and has no number yet. A row is one event without number and time; `rows` and
  `digest` are its commitment to content; `opens` and `closes` name the chat that it begins or ends; `drops` is the
  content that goes with it, a JSON list of audit ids and positions. A row without `part` is no event: it asks for a
  checkpoint over all before it. `place` counts the session's rows, and `mac` is the key ring's over all of the row.
- `set_aside`: rows of `pending` that no server with the key ring put there, or that had their place before. They got
  none, and are kept for whoever looks into it; a `recovery` event names each by its `fingerprint`.
- `sessions`: a row for each server that appends, from its joining until it leaves in good order. It holds the advisory
  lock (`LOCK`, its id) on the connection that it appends on.
- `layout`: one row, the `format` of all these tables.
"""

from __future__ import annotations

from uuid import uuid4

import psycopg
from psycopg import sql

from usher.ledger.log import LedgerDamaged
from usher.ledger.record import FORMAT

SCHEMA = "usher_ledger"
LOCK = 0x75_73_68_6C
"""The class of this ledger's advisory locks (PostgreSQL's are of one database)."""
SEQUENCER = 0
"""The lock of whoever sequences; sessions are numbered from 1."""
_MAKING = -1
"""The lock of whoever makes the tables."""

_TABLES = """
CREATE SCHEMA IF NOT EXISTS usher_ledger;
CREATE TABLE usher_ledger.log (origin text NOT NULL);
CREATE TABLE usher_ledger.events (number bigint PRIMARY KEY, leaf bytea NOT NULL, event bytea NOT NULL);
CREATE TABLE usher_ledger.tree (size bigint NOT NULL, edge bytea NOT NULL, mac bytea NOT NULL);
CREATE TABLE usher_ledger.checkpoints (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, size bigint NOT NULL,
  edge bytea NOT NULL, note text NOT NULL, key text NOT NULL);
CREATE INDEX checkpoints_by_size ON usher_ledger.checkpoints (size);
CREATE TABLE usher_ledger.open_exchanges (audit_id text PRIMARY KEY, number bigint NOT NULL, session integer NOT NULL);
CREATE INDEX open_exchanges_by_session ON usher_ledger.open_exchanges (session);
CREATE TABLE usher_ledger.content (audit_id text NOT NULL, position integer NOT NULL, kind text NOT NULL,
  conversation text NOT NULL, pseudonym text NOT NULL, commitment bytea NOT NULL, ciphertext bytea NOT NULL,
  PRIMARY KEY (audit_id, position));
CREATE TABLE usher_ledger.subjects (lookup bytea PRIMARY KEY, pseudonym text NOT NULL UNIQUE,
  wrapped_key bytea NOT NULL, sealed_name bytea NOT NULL);
CREATE TABLE usher_ledger.pending (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, session integer NOT NULL,
  part bytea, rows integer, digest bytea, opens text, closes text, drops text)
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE TABLE usher_ledger.sessions (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE usher_ledger.layout (format integer NOT NULL);
ALTER TABLE usher_ledger.events ALTER COLUMN event SET STORAGE EXTERNAL;
ALTER TABLE usher_ledger.content ALTER COLUMN ciphertext SET STORAGE EXTERNAL;
ALTER TABLE usher_ledger.pending ALTER COLUMN part SET STORAGE EXTERNAL;
"""
_WITH_MAC = """
ALTER TABLE usher_ledger.pending ADD COLUMN place bigint NOT NULL, ADD COLUMN mac bytea NOT NULL;
CREATE TABLE usher_ledger.set_aside (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, fingerprint text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), session integer NOT NULL, place bigint NOT NULL, part bytea, rows integer,
  digest bytea, opens text, closes text, drops text, mac bytea NOT NULL);
"""
"""Since rows that wait have a MAC. A server of before can add none any more: it refuses what it is asked to record."""

_GRANTS = """
GRANT USAGE ON SCHEMA usher_ledger TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA usher_ledger TO {role};
GRANT INSERT ON usher_ledger.events, usher_ledger.checkpoints, usher_ledger.set_aside TO {role};
GRANT INSERT, UPDATE (ciphertext) ON usher_ledger.content TO {role};
GRANT INSERT, UPDATE (lookup, wrapped_key, sealed_name) ON usher_ledger.subjects TO {role};
GRANT UPDATE ON usher_ledger.tree TO {role};
GRANT INSERT, DELETE ON usher_ledger.pending, usher_ledger.open_exchanges, usher_ledger.sessions TO {role};
"""


def prepare(connection: psycopg.Connection, role: str | None = None) -> None:
    """Make the tables where they are missing, bring those of an earlier release up to date, and let `role` do what a
    server does: of events and checkpoints that is adding, never changing. Raises `LedgerDamaged` for tables of a newer
    version, or of an earlier one in which something waits, and what psycopg raises."""
    with connection.transaction():
        if _format(connection) is None:
            # One of several servers that start at once makes them.
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK, _MAKING))
            if _format(connection) is None:
                _make(connection)
        if not _with_mac(connection):
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK, _MAKING))
            if not _with_mac(connection):
                _add_mac(connection)
        if role is not None:
            connection.execute(sql.SQL(_GRANTS).format(role=sql.Identifier(role)))


def _format(connection: psycopg.Connection) -> int | None:
    """The version of the tables, None where there are none."""
    if connection.execute("SELECT to_regclass('usher_ledger.layout')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT format FROM usher_ledger.layout").fetchone()
    if row is None or row[0] > FORMAT:
        raise LedgerDamaged(
            f"ledger: its tables in PostgreSQL are of format {row and row[0]} and this Usher knows up to {FORMAT}: "
            "they are from a newer version; use that version"
        )
    return int(row[0])


def _with_mac(connection: psycopg.Connection) -> bool:
    return connection.execute("SELECT to_regclass('usher_ledger.set_aside')").fetchone() != (None,)


def _add_mac(connection: psycopg.Connection) -> None:
    """Of tables of an earlier release, in which nothing may wait: it has no MAC, so nobody could tell who put it there.
    Raises `LedgerDamaged`."""
    connection.execute("LOCK TABLE usher_ledger.pending IN ACCESS EXCLUSIVE MODE")
    if (row := connection.execute("SELECT count(*) FROM usher_ledger.pending").fetchone()) != (0,):
        raise LedgerDamaged(
            f"ledger: {row and row[0]} rows of an earlier release wait in PostgreSQL for their place, without a MAC: "
            "start that release once more and stop it, which gives them their place, then start this one"
        )
    connection.execute(_WITH_MAC)


def _make(connection: psycopg.Connection) -> None:
    connection.execute(_TABLES)
    connection.execute("INSERT INTO usher_ledger.log (origin) VALUES (%s)", (f"usher/{uuid4()}",))
    connection.execute("INSERT INTO usher_ledger.tree (size, edge, mac) VALUES (0, '', '')")
    connection.execute("INSERT INTO usher_ledger.layout (format) VALUES (%s)", (FORMAT,))
