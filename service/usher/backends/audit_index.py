"""The reviewers' index: a SQLite file of its own beside the ledger, built from the committed events by a follower.

It holds nothing that the ledger has not: deleting it is always safe, and one that does not continue the ledger (another
log's, or of events that the ledger does not have) is built again from the first event. The ledger is only read.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from usher.backends import audit_index_reads as reads
from usher.backends.audit_index_events import events
from usher.backends.audit_index_exchanges import asked_by_role, exchanges, latest
from usher.backends.audit_index_ledger import Followed, Following, Row, in_file
from usher.backends.audit_index_reach import exposed
from usher.backends.audit_index_report import figures
from usher.backends.audit_index_store import store
from usher.backends.audit_index_tables import FORMAT, SCHEMA
from usher.core.report_figures import Figures
from usher.ledger.shown import rows_of
from usher.ports.audit_exchanges import Exchange
from usher.ports.audit_index import Between, Denial, Exposed, Found, IndexUnreadable, Seen, Wanted, What, Within

T = TypeVar("T")

_Read = Callable[[sqlite3.Connection, Followed], tuple[list[T], int | None, set[str]]]
"""What is read of the index, and where events are wanted of the ledger."""
_ENDED = "SELECT number, pseudonym FROM entries WHERE audit_id = ? AND outcome IS NOT NULL AND pseudonym IS NOT NULL"

CACHE_KB = 16_384
"""What the follower keeps of the index in memory: its rows go to places all over the file."""
BATCH = 256
"""Events in one step: each is a short transaction on both sides."""


class AuditIndexFile:
    """The file `path`, of the ledger in the file `ledger` or wherever else; it grows only while its disk has `reserve`
    bytes free."""

    def __init__(self, path: Path, ledger: Path | Following, reserve: int = 0) -> None:
        self._path, self._reserve = path, reserve
        self._ledger = in_file(ledger) if isinstance(ledger, Path) else ledger
        self._turn = threading.RLock()  # of the writing connection
        self._writing: sqlite3.Connection | None = None
        self._inode = 0

    def step(self) -> bool:
        """Take in the next events, at most `BATCH`; True if there may be more. Raises `IndexUnreadable`."""
        with self._turn:
            return self._stepped()

    def _stepped(self) -> bool:
        try:
            return self._step(self._writer())
        except (KeyError, TypeError, ValueError) as error:
            raise IndexUnreadable(f"an event is not understood ({type(error).__name__})") from error
        except (sqlite3.Error, OSError) as error:
            self.close()
            if type(error) is not sqlite3.DatabaseError:  # busy, no space, not there yet: it may pass
                raise IndexUnreadable(f"{type(error).__name__}: {error}") from error
            self._remove()  # its bytes are no database
            return True

    def _step(self, index: sqlite3.Connection) -> bool:
        space = os.statvfs(self._path)
        if space.f_bavail * space.f_frsize < self._reserve:
            raise IndexUnreadable("its disk has less than the reserve free; make room")
        indexed = index.execute("SELECT origin, number, leaf FROM progress").fetchone()
        with self._ledger() as ledger:
            events = _next(ledger, tuple(indexed) if indexed else None)
            origin = ledger.origin()
        if events is None:
            self.close()
            self._remove()
            return True
        if events:
            rows = [row for event in events for row in rows_of(json.loads(event[2]))]
            store(index, rows, (origin, events[-1][0], events[-1][1]))
        return len(events) == BATCH

    def who_saw(self, what: What, between: Between, within: Within | None = None) -> Found[Seen]:
        """Raises `IndexUnreadable`."""
        return self._found(lambda index, _: reads.who_saw(index, what, between, within))

    def saw(self, pseudonym: str | None, between: Between, within: Within | None = None) -> Found[Seen]:
        """Raises `IndexUnreadable`."""
        return self._found(lambda index, _: reads.saw(index, pseudonym, between, within))

    def by_adapter(self, adapter: str, between: Between, within: Within | None = None) -> Found[Seen]:
        """Raises `IndexUnreadable`."""
        return self._found(lambda index, _: reads.by_adapter(index, adapter, between, within))

    def touched(self, classes: Collection[int], between: Between, within: Within | None = None) -> Found[Seen]:
        """Raises `IndexUnreadable`."""
        return self._found(lambda index, _: reads.touched(index, classes, between, within))

    def decided_under(self, version: int, between: Between, within: Within | None = None) -> Found[Seen]:
        """Raises `IndexUnreadable`."""
        return self._found(lambda index, _: reads.decided_under(index, version, between, within))

    def denied(self, between: Between, within: Within | None = None) -> Found[Denial]:
        """Raises `IndexUnreadable`."""
        return self._found(lambda index, _: reads.denied(index, between, within))

    def events(self, wanted: Wanted, between: Between, within: Within | None = None) -> Found[Mapping[str, Any]]:
        """Raises `IndexUnreadable`."""
        return self._found(lambda index, ledger: events(index, ledger, wanted, between, within))

    def exchanges(self, audit_ids: Sequence[str]) -> Found[Exchange]:
        """Those that there are. Raises `IndexUnreadable`."""
        return self._found(lambda index, _: (exchanges(index, audit_ids), None, set()))

    def latest(self, limit: int) -> Found[Exchange]:
        """The last that have ended. Raises `IndexUnreadable`."""
        return self._found(lambda index, _: (exchanges(index, latest(index, limit)), None, set()))

    def asked_by_role(self, since: str) -> Mapping[str, int]:
        """Raises `IndexUnreadable`."""
        with self._reading() as index:
            return asked_by_role(index, since)

    def exposed(self, audit_id: str) -> Exposed | None:
        """Raises `IndexUnreadable`."""
        with self._reading() as index:
            row = index.execute(_ENDED, (audit_id,)).fetchone()
            return None if row is None else Exposed(row["number"], row["pseudonym"], exposed(index, row["number"]))

    def figures(self, first: int, last: int, width: int, markings: Mapping[str, Collection[int]]) -> Figures:
        """Raises `IndexUnreadable`."""
        with self._reading() as index:
            return figures(index, first, last, width, markings)

    def has_adapter(self, adapter: str) -> bool:
        """Raises `IndexUnreadable`."""
        with self._reading() as index:
            found = f"SELECT 1 FROM entries e WHERE {reads.BY_ADAPTER} LIMIT 1"  # noqa: S608  # a constant
            return index.execute(found, {"adapter": adapter}).fetchone() is not None

    def _found(self, read: _Read[T]) -> Found[T]:
        """Entries and how far the index was, of one instant; then the ledger's size."""
        with self._ledger() as ledger:
            with self._reading() as index:
                progress = index.execute("SELECT number FROM progress").fetchone()
                entries, following, through = read(index, ledger)
            size = ledger.size()
        return Found(progress[0] if progress else 0, size, entries, following, frozenset(through))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The index as it is at one instant. Raises `IndexUnreadable`."""
        try:
            with closing(_opened(self._path)) as index:
                index.execute("PRAGMA query_only = ON")
                index.execute("BEGIN")
                yield index
        except (sqlite3.Error, OSError) as error:
            raise IndexUnreadable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Release the file. A later step opens it again."""
        with self._turn:
            connection, self._writing = self._writing, None
            if connection is not None:
                connection.close()

    def _writer(self) -> sqlite3.Connection:
        """One connection for all steps, as long as the file is the same: it may be deleted at any time."""
        if self._writing is None or not self._path.exists() or self._path.stat().st_ino != self._inode:
            self.close()
            self._writing = _opened(self._path)
            self._writing.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            self._inode = self._path.stat().st_ino
        return self._writing

    def _remove(self) -> None:
        """Whoever is reading it goes on reading the old file; the next step makes a new one."""
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _next(ledger: Followed, indexed: tuple[str, int, bytes] | None) -> list[Row] | None:
    """The events that follow what is indexed; None if that is not what the ledger begins with."""
    if indexed is None:
        return ledger.following(0, BATCH)
    origin, number, leaf = indexed
    return ledger.following(number, BATCH) if (origin, leaf) == (ledger.origin(), ledger.leaf(number)) else None


def _opened(path: Path) -> sqlite3.Connection:
    """The index, made at first: private, in WAL mode. After a loss of power it may lack the last steps, no more.
    One of another format is made anew."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
