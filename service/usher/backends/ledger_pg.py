"""The ledger's storage in PostgreSQL, which several servers share: what one of them appends and reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import create_engine

from usher.backends.ledger_pg_connection import Connection, closed, connected, failing, reading
from usher.backends.ledger_pg_sequencing import PgSequencing
from usher.backends.ledger_pg_tables import LOCK, prepare
from usher.backends.ledger_reads import LedgerReads
from usher.backends.ledger_tables import EventPage
from usher.ledger.log import LogFailed, OpenExchange, Room, SubjectRow, Tail
from usher.ledger.record import ContentRow, EventType
from usher.ledger.shared import Group

IDLE_SECONDS = 15
"""A session whose server says nothing for that long is given up: the server asks once a second."""
SETTLED_SECONDS = 5.0
_PENDING = """
INSERT INTO pending (session, place, part, rows, digest, opens, closes, drops, mac)
SELECT * FROM unnest(
  %b::int4[], %b::int8[], %b::bytea[], %b::int4[], %b::bytea[], %b::text[], %b::text[], %b::text[], %b::bytea[])
"""
_CONTENT = """
INSERT INTO content (audit_id, position, kind, conversation, pseudonym, commitment, ciphertext)
SELECT * FROM unnest(%b::text[], %b::int4[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[])
"""
_BOTH = f"WITH added AS ({_CONTENT}) {_PENDING}"
"""One statement is one round trip, and a transaction: on the way of an acknowledgement each further one costs."""
_SUBJECT = (
    "INSERT INTO subjects (lookup, pseudonym, wrapped_key, sealed_name) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT (lookup) DO NOTHING"
)
_OPEN = """
SELECT audit_id FROM open_exchanges WHERE session = %(session)s
UNION SELECT opens FROM pending WHERE session = %(session)s AND opens IS NOT NULL
EXCEPT SELECT closes FROM pending WHERE session = %(session)s
"""
_ALL_OPEN = """
SELECT audit_id FROM open_exchanges UNION SELECT opens FROM pending WHERE opens IS NOT NULL
EXCEPT SELECT closes FROM pending
"""
_OLD_BACKEND = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND pid = %s
"""
_OTHERS = """
SELECT count(DISTINCT s.id) FROM pg_locks JOIN sessions s ON s.id = objid
WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted AND s.id <> %s
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class PgLog(LedgerReads):
    """A `SharedLog` at a URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None
        self.session = self._backend = 0
        # Connected by libpq's own reading of the URL, which knows several hosts, services and password files.
        engine = create_engine("postgresql+psycopg://", creator=lambda: reading(url), pool_pre_ping=True)
        super().__init__(engine)

    def prepare(self) -> None:
        """Make the tables where there are none. Raises `LogFailed`, `LedgerDamaged`."""
        with failing():
            connection = connected(self._url, IDLE_SECONDS)
            try:
                prepare(connection)
            finally:
                connection.close()

    def sequencing(self) -> PgSequencing:
        return PgSequencing(self._url, self._engine)

    def join(self) -> Tail:
        """See `SharedLog`. While the lock of the session is held, on the connection that appends, no other server ends
        it; once the connection is gone, nothing can be appended on it any more."""
        with failing():
            closed(self._connection)
            self._connection = connected(self._url, IDLE_SECONDS)
            if not (self.session and self._held_again(self._connection)):
                self._begin_session(self._connection)
            self._backend = self._connection.info.backend_pid
            return self._end(self._connection)

    def others(self) -> int:
        """How many other servers record to this log now. Raises `LogFailed`."""
        with self._failing(), self._engine.connect() as connection:
            return int(connection.exec_driver_sql(_OTHERS, (LOCK, self.session)).scalar_one())

    def _held_again(self, connection: Connection) -> bool:
        connection.execute(_OLD_BACKEND, (LOCK, self.session, self._backend))
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK, self.session))
        there = connection.execute("SELECT 1 FROM sessions WHERE id = %s", (self.session,)).fetchone()
        return there is not None

    def _begin_session(self, connection: Connection) -> None:
        """Its row is seen by nobody before its lock is held."""
        with connection.transaction():
            (self.session,) = _one(connection, "INSERT INTO sessions DEFAULT VALUES RETURNING id")
            connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK, self.session))

    def _end(self, connection: Connection) -> Tail:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            origin, size, edge, mac = _one(connection, "SELECT origin, size, edge, mac FROM log, tree")
            ids = [row[0] for row in connection.execute(_OPEN, {"session": self.session})]
        rows = self.contents(ids)
        mine = tuple(OpenExchange(audit_id, 0, b"", rows.get(audit_id, ())) for audit_id in ids)
        return Tail(origin, size, edge, None, None, (), mine, mac)

    def append(self, group: Group) -> None:
        """In one transaction, on the connection that holds the session. Raises `LogFailed`."""
        with failing():
            connection = self._appending()
            try:
                if group.subjects or group.rewrapped:
                    with connection.transaction():
                        _store_subjects(connection, group)
                        self._store(connection, group)
                else:
                    self._store(connection, group)
            except BaseException:
                closed(connection)  # with it goes the lock: nothing that was given up comes later
                raise

    def _store(self, connection: Connection, group: Group) -> None:
        rows = _columns(group.rows)
        content = _columns([_content_values(row) for row in group.content])
        if rows or content:
            connection.execute(_BOTH if rows and content else _PENDING if rows else _CONTENT, [*content, *rows])

    def last_waiting(self) -> int:
        """The newest row that waits for its place. Raises `LogFailed`."""
        with failing(), self._engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM pending").scalar_one()
            return int(found)

    def waits(self, number: int) -> bool:
        """Raises `LogFailed`."""
        with failing(), self._engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT 1 FROM pending WHERE id <= %s LIMIT 1", (number,)).first()
            return found is not None

    def leave(self) -> None:
        """End the session. Where exchanges are open the server that leads ends it, as that of one that is gone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, LogFailed):
                if not self._end(connection).open:
                    connection.execute("DELETE FROM sessions WHERE id = %s", (self.session,))
        closed(connection)

    def check(self) -> None:
        """Raises `LogFailed` where an append would fail."""
        with failing():
            self._appending().execute("SELECT 1")

    def room(self) -> Room:
        """Its disk is PostgreSQL's affair: a full one fails a commit."""
        return Room.AMPLE

    def events(
        self,
        after: int,
        limit: int,
        *,
        type: EventType | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> EventPage:
        """As `LedgerReads`, with everything that was acknowledged when it was asked. Raises `LogFailed`."""
        last, until_then = self.last_waiting(), time.monotonic() + SETTLED_SECONDS
        while last and self.waits(last):
            if time.monotonic() > until_then:
                raise LogFailed("what was acknowledged has no place in the log yet; is a server leading?")
            time.sleep(0.01)
        return super().events(after, limit, type=type, outcome=outcome, since=since, until=until)

    def open_exchanges(self) -> frozenset[str]:
        """The chats that some server answers now, or that one that is gone has left open. Raises `LogFailed`."""
        with failing(), self._engine.connect() as connection:
            return frozenset(row[0] for row in connection.exec_driver_sql(_ALL_OPEN))

    def close(self) -> None:
        closed(self._connection)
        self._engine.dispose()

    def _failing(self) -> AbstractContextManager[None]:
        return failing()

    def _appending(self) -> Connection:
        if self._connection is None or self._connection.closed:
            raise LogFailed("PostgreSQL: the connection is lost")
        return self._connection


def _one(connection: Connection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    if row is None:
        raise LogFailed("its tables in PostgreSQL have lost a row; run `usher audit verify`")
    return row


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _content_values(r: ContentRow) -> tuple[Any, ...]:
    return r.audit_id, r.position, r.kind.value, r.conversation, r.pseudonym, r.commitment, r.ciphertext


def _store_subjects(connection: Connection, group: Group) -> None:
    for subject in group.subjects:
        connection.execute(_SUBJECT, _values(subject))
    for pseudonym, key in group.rewrapped:
        _rewrap(connection, pseudonym, key)


def _values(row: SubjectRow) -> tuple[bytes, str, bytes, bytes]:
    return row.lookup, row.pseudonym, row.wrapped_key, row.sealed_name


def _rewrap(connection: Connection, pseudonym: str, key: bytes) -> None:
    """An empty key takes the sealed name and the look-up away too."""
    if key:
        connection.execute("UPDATE subjects SET wrapped_key = %s WHERE pseudonym = %s", (key, pseudonym))
    else:
        gone = "UPDATE subjects SET lookup = %s, wrapped_key = '', sealed_name = '' WHERE pseudonym = %s"
        connection.execute(gone, (pseudonym.encode(), pseudonym))
