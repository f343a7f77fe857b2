"""The part of the ledger in PostgreSQL that one server at a time has: giving what is pending its place.

Who leads holds an advisory lock on the connection that it writes on. The lock lasts as long as the connection's
process in PostgreSQL, and nothing can be committed on the connection when that has ended: so when another server gets
the lock, all that the former one committed is there, and nothing more comes. Should the lock be lost otherwise (a
pooler, somebody's hand), a turn still fails: it begins by locking the tree's row and finding it as it left it. Two that
both take themselves for the leader write one after the other, and the second one's turn finds another tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import structlog
from sqlalchemy import Engine

from usher.backends import ledger_tables as tables
from usher.backends.ledger_pg_connection import Connection, closed, connected, failing
from usher.backends.ledger_pg_tables import LOCK, SEQUENCER
from usher.backends.ledger_reads import LedgerReads
from usher.ledger.log import Batch, LogFailed, OpenExchange, Tail
from usher.ledger.waiting import Pending

_log = structlog.stdlib.get_logger("usher.ledger")
IDLE_SECONDS = 3
"""A leader that stands still that long loses the lead; it looks for what waits many times a second."""
_TAKE = """
WITH taken AS (
  DELETE FROM pending WHERE ctid = ANY (ARRAY (SELECT ctid FROM pending ORDER BY id LIMIT %s))
  RETURNING id, session, place, part, rows, digest, opens, closes, drops, mac)
SELECT session, place, part, rows, digest, opens, closes, drops, mac FROM taken ORDER BY id
"""
_SET_ASIDE = """
INSERT INTO set_aside (session, place, part, rows, digest, opens, closes, drops, mac, fingerprint)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_UNHELD = """
SELECT id FROM sessions WHERE NOT EXISTS (
  SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = sessions.id::oid AND objsubid = 2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
_DEPOSE = """
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted
AND datname = current_database() AND wait_event = 'ClientWrite'
"""
_STORE = """
WITH placed AS (
  INSERT INTO events (number, leaf, event)
  SELECT %b::int8 + place, leaf, event
  FROM unnest(%b::bytea[], %b::bytea[]) WITH ORDINALITY AS new (leaf, event, place)
), opened AS (
  INSERT INTO open_exchanges (audit_id, number, session) SELECT * FROM unnest(%b::text[], %b::int8[], %b::int4[])
), closed AS (
  DELETE FROM open_exchanges WHERE audit_id = ANY (%b::text[])
)
UPDATE tree SET size = %b, edge = %b, mac = %b
"""
_DROP = (
    "UPDATE content SET ciphertext = sha256(ciphertext)"
    " WHERE audit_id = %s AND position = %s AND length(ciphertext) <> 32"
)


class PgSequencing(LedgerReads):
    """A `Sequencing` on a connection of its own; reads of the log go over `engine`."""

    def __init__(self, url: str, engine: Engine) -> None:
        super().__init__(engine)
        self._url = url
        self._connection: Connection | None = None
        self._leads = False

    def lead(self) -> bool:
        """Raises `LogFailed`."""
        if not self._leads:
            with failing():
                query = "SELECT pg_try_advisory_lock(%s, %s)"
                self._leads = _first(self._connected().execute(query, (LOCK, SEQUENCER)))
        return self._leads

    def depose(self) -> None:
        """No time-out ends a statement whose answer is not read, and it keeps its locks. Raises `LogFailed`."""
        with failing():
            self._connected().execute(_DEPOSE, (LOCK, SEQUENCER))

    def load(self) -> Tail:
        """Raises `LogFailed`, `LedgerDamaged`."""
        with failing():
            return self._tail()

    @contextmanager
    def turn(self, size: int, mac: bytes) -> Iterator[PgTurn]:
        """Raises `LogFailed`."""
        with failing():
            connection = self._connected()
            with connection.transaction(), connection.cursor(binary=True) as cursor:
                found = cursor.execute("SELECT size, mac FROM tree FOR UPDATE").fetchone()
                if found != (size, mac):
                    raise LogFailed("another server leads")
                yield PgTurn(cursor, self._engine)

    def waiting(self) -> tuple[int, int] | None:
        """Raises `LogFailed`."""
        with failing():
            query = "SELECT min(id), max(id) FROM pending"
            first, last = self._connected().execute(query).fetchone() or (None, None)
            return None if first is None else (first, last)

    def unheld(self) -> frozenset[int]:
        """Raises `LogFailed`."""
        with failing():
            return frozenset(row[0] for row in self._connected().execute(_UNHELD, (LOCK,)))

    def release(self) -> None:
        closed(self._connection)
        self._connection, self._leads = None, False

    def _failing(self) -> AbstractContextManager[None]:
        return failing()

    def _connected(self) -> Connection:
        """The connection that holds the lock, if one does: it is never replaced while this server leads."""
        if self._connection is None:
            self._connection = connected(self._url, IDLE_SECONDS)
        return self._connection


class PgTurn:
    """A `Turn` in a transaction."""

    def __init__(self, cursor: psycopg.Cursor[Any], engine: Engine) -> None:
        self._cursor, self._engine = cursor, engine

    def take(self, limit: int) -> list[Pending]:
        return [Pending(*row) for row in self._cursor.execute(_TAKE, (limit,)).fetchall()]

    def set_aside(self, rows: Sequence[Pending]) -> None:
        """With an alarm."""
        self._cursor.executemany(_SET_ASIDE, [(*row, row.fingerprint) for row in rows])
        _log.critical("pending_rows_set_aside", rows=len(rows), sessions=sorted({row.session for row in rows})[:10])

    def end(self, sessions: Sequence[int]) -> tuple[OpenExchange, ...] | None:
        """The locks are held to the end of the transaction, so none of these servers comes back meanwhile."""
        ids = list(sessions)
        for session in ids:
            if not _first(self._cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (LOCK, session))):
                return None
        if self._cursor.execute("SELECT 1 FROM pending WHERE session = ANY (%s) LIMIT 1", (ids,)).fetchone():
            return None
        query = (
            "SELECT audit_id, number, event FROM open_exchanges JOIN events USING (number) WHERE session = ANY (%s)"
            " ORDER BY number"
        )
        found = self._cursor.execute(query, (ids,)).fetchall()
        self._cursor.execute("DELETE FROM sessions WHERE id = ANY (%s)", (ids,))
        with self._engine.connect() as connection:
            content = tables.contents(connection, [row[0] for row in found])
        return tuple(OpenExchange(ident, number, request, content.get(ident, ())) for ident, number, request in found)

    def store(self, batch: Batch, sessions: Mapping[str, int]) -> None:
        cursor = self._cursor
        first = batch.size - len(batch.events)
        leaves, events = [event.leaf for event in batch.events], [event.event for event in batch.events]
        ids, numbers = [ident for ident, _ in batch.opened], [number for _, number in batch.opened]
        opened = (ids, numbers, [sessions[ident] for ident in ids])
        end = (batch.size, batch.edge, batch.mac)
        cursor.execute(_STORE, (first, leaves, events, *opened, list(batch.closed), *end))
        if batch.dropped:
            cursor.executemany(_DROP, batch.dropped)
        if batch.checkpoint:
            made = batch.checkpoint
            query = "INSERT INTO checkpoints (size, edge, note, key) VALUES (%s, %s, %s, %s)"
            cursor.execute(query, (made.size, made.edge, made.note, made.key))


def _first(cursor: psycopg.Cursor[Any]) -> bool:
    row = cursor.fetchone()
    return row is not None and row[0] is True
