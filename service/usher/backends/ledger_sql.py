"""The ledger's storage in a SQLite file of its own (WAL, `synchronous=FULL`), by SQLAlchemy Core."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, create_engine, event, insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from usher.backends import ledger_tables as tables
from usher.backends.ledger_overwrite import drop, emptied, rewrap
from usher.backends.ledger_reads import LedgerReads
from usher.ledger.log import Batch, LedgerDamaged, LogFailed, Room, Tail
from usher.ledger.record import FORMAT, ContentRow

_BUSY_SECONDS = 2.0
_PART_BYTES = 1 << 20
_AT_ONCE = 128
"""Rows in one statement: the thread gives up the interpreter's lock at each, and may wait to have it back."""
_EVENTS = "INSERT INTO events (number, leaf, event) VALUES {}"
_CONTENT = "INSERT INTO content (audit_id, position, kind, conversation, pseudonym, commitment, ciphertext) VALUES {}"
_OPENED = "INSERT INTO open_exchanges (audit_id, number) VALUES {}"
_CLOSED = "DELETE FROM open_exchanges WHERE audit_id IN (VALUES {})"
_SUBJECT = "INSERT INTO subjects (lookup, pseudonym, wrapped_key, sealed_name) VALUES (?, ?, ?, ?)"


class SqlLog(LedgerReads):
    """A `Log` in a SQLite file. `reserve`: bytes of its file system that are kept for ends, refusals and administration
    (`ledger/reserve.py`); 0 is none."""

    def __init__(self, path: Path, reserve: int = 0) -> None:
        self._path, self._reserve = path, reserve
        self._inode: int | None = None
        self._writing: Connection | None = None
        self._old_bytes = True  # a write-ahead log that an earlier process left may have some
        engine = create_engine(
            URL.create("sqlite", database=str(path)),
            connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        )
        event.listen(engine, "connect", _configure)
        super().__init__(engine)

    def load(self) -> Tail:
        """The log's end; makes the file and its tables at first. Raises `LogFailed`, `LedgerDamaged`."""
        with self._failing():
            self._drop_writer()
            self._open_file()
            self.check()
            written_again(self._path.with_name(f"{self._path.name}-wal"))
            connection = self._writer()
            self._prepare(connection)
            return self._tail()

    def commit(self, batch: Batch) -> None:
        """Store a batch in one transaction. Raises `LogFailed`, having stored nothing or, rarely, all."""
        with self._failing():
            self.check()
            connection = self._writer()
            with connection.begin():
                cursor = self._cursor(connection)
                cursor.execute("BEGIN IMMEDIATE")
                _store(connection, cursor, batch)
            self._old_bytes = self._old_bytes or bool(batch.dropped or batch.rewrapped)
            if self._old_bytes:
                self._old_bytes = not emptied(connection)

    def check(self) -> None:
        """Raises `LogFailed` where a commit would fail, or must not be tried."""
        with self._failing():
            status = self._path.stat()
            if status.st_ino != self._inode:
                raise LogFailed("its file was replaced while it is open; restart with the right file")
            # The mode is looked at too, since a root process or an open descriptor could write all the same.
            if not status.st_mode & 0o222 or not os.access(self._path, os.W_OK):
                raise LogFailed("its file is read-only; make it writable")

    def room(self) -> Room:
        """How much is free beside the reserve; a file system that does not say has none."""
        try:
            space = os.statvfs(self._path)
        except OSError:
            return Room.SCARCE
        return Room.of(space.f_bavail * space.f_frsize, self._reserve)

    def close(self) -> None:
        """Release the file; SQLite moves the rest of its write-ahead log into it."""
        self._drop_writer()
        self._engine.dispose()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Any failure of the storage as `LogFailed`. The writing connection is given up with it: its transaction is
        in doubt, and a fresh one starts from what the file says."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
            raise LogFailed(_reason(error)) from error

    def _writer(self) -> Connection:
        if self._writing is None:
            self._writing = self._engine.connect()
        return self._writing

    def _cursor(self, connection: Connection) -> sqlite3.Cursor:
        """The driver's own: this is the path of every acknowledgement."""
        cursor: sqlite3.Cursor = connection.connection.cursor()  # type: ignore[assignment]  # the driver is sqlite3
        return cursor

    def _drop_writer(self) -> None:
        connection, self._writing = self._writing, None
        if connection is not None:
            with suppress(SQLAlchemyError, sqlite3.Error):
                connection.invalidate()
            with suppress(SQLAlchemyError, sqlite3.Error):
                connection.close()

    def _open_file(self) -> None:
        """At first: make the file, private, if it is absent, and remember which one it is. Later none is made."""
        if self._inode is not None:
            return
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._inode = os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)

    def _prepare(self, connection: Connection) -> None:
        """Make the tables of a new file; refuse a file of a newer version."""
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.rollback()
        if version > FORMAT:
            raise LedgerDamaged(
                f"ledger {self._path}: its format is {version} and this Usher knows up to {FORMAT}: "
                "the data folder is from a newer version; use that version"
            )
        if version == FORMAT:
            return
        with connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            tables.metadata.create_all(connection, checkfirst=False)
            connection.execute(insert(tables.log).values(origin=f"usher/{uuid4()}"))
            connection.execute(insert(tables.tree).values(size=0, edge=b"", mac=b""))
            connection.exec_driver_sql(f"PRAGMA user_version = {FORMAT:d}")


def written_again(path: Path) -> None:
    """Write a file's own bytes over them and sync it; nothing where it is not there. Raises `OSError`.

    After a sync that failed, the kernel holds what it could not write as written: it is read as if it were on the
    disk, and no later sync puts it there. A commit must not build on it.
    """
    if not path.exists():
        return
    descriptor, done = os.open(path, os.O_RDWR | os.O_CLOEXEC), 0
    try:
        while part := os.pread(descriptor, _PART_BYTES, done):
            done += os.pwrite(descriptor, part, done)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun here, not by the driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")


def _store(connection: Connection, cursor: sqlite3.Cursor, batch: Batch) -> None:
    """All rows of a batch, in the connection's transaction."""
    run = cursor.execute
    _each(cursor, _EVENTS, batch.events)
    _each(cursor, _CONTENT, [_content_values(row) for row in batch.content])
    _each(cursor, _OPENED, batch.opened)
    _each(cursor, _CLOSED, [(audit_id,) for audit_id in batch.closed])
    if batch.subjects:
        cursor.executemany(_SUBJECT, [astuple(row) for row in batch.subjects])
    if batch.dropped:
        drop(connection, batch.dropped)
    if batch.rewrapped:
        rewrap(connection, batch.rewrapped)
    if batch.checkpoint:
        run("INSERT INTO checkpoints (size, edge, note, key) VALUES (?, ?, ?, ?)", astuple(batch.checkpoint))
    run("UPDATE tree SET size = ?, edge = ?, mac = ?", (batch.size, batch.edge, batch.mac))


def _each(cursor: sqlite3.Cursor, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement with these rows in as few steps as may be, of few texts, so that each is compiled once."""
    done = 0
    while left := len(rows) - done:
        some = rows[done : done + min(1 << left.bit_length() - 1, _AT_ONCE)]
        cursor.execute(_of_rows(query, len(some), len(some[0])), [*chain.from_iterable(some)])
        done += len(some)


@lru_cache
def _of_rows(query: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return query.format(", ".join([row] * rows))


def _content_values(r: ContentRow) -> tuple[Any, ...]:
    return r.audit_id, r.position, r.kind.value, r.conversation, r.pseudonym, r.commitment, r.ciphertext


def _reason(error: Exception) -> str:
    """What went wrong, in words that quote no stored value."""
    original = getattr(error, "orig", None) or error
    if isinstance(original, OSError):
        return f"its file cannot be used ({original.strerror}); check the data folder"
    if isinstance(original, sqlite3.Error):
        return f"SQLite: {original}"
    return f"its rows cannot be read ({type(original).__name__}); run `usher audit verify`"
