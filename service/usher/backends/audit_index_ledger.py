"""The ledger as the reviewers' index reads it: in short reads on connections of its own, which no writer waits for."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

from usher.backends.ledger_reads import LedgerReads
from usher.ledger.log import LogFailed
from usher.ports.audit_index import IndexUnreadable

Row = tuple[int, bytes, bytes]
"""An event's number, its leaf and its bytes."""


class Followed(Protocol):
    """A ledger, in whatever database. Methods may raise what the context that gave it turns to `IndexUnreadable`."""

    def origin(self) -> str: ...

    def size(self) -> int: ...

    def leaf(self, number: int) -> bytes | None: ...

    def following(self, number: int, limit: int) -> list[Row]:
        """The first events after this one."""

    def events(self, numbers: Sequence[int]) -> list[bytes]:
        """Those of these events that there are, in the order of their numbers."""


Following = Callable[[], AbstractContextManager[Followed]]
"""Opens a ledger for some reads. Raises `IndexUnreadable`, also while it is open."""


def in_file(path: Path) -> Following:
    """A ledger's file, which can only be read here."""

    @contextmanager
    def reading() -> Iterator[Followed]:
        try:
            uri = f"{path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as opened:
                yield _File(opened)
        except sqlite3.Error as error:
            raise IndexUnreadable(f"the ledger cannot be read ({type(error).__name__})") from error

    return reading


def in_log(log: LedgerReads) -> Following:
    """A ledger in PostgreSQL."""

    @contextmanager
    def reading() -> Iterator[Followed]:
        try:
            yield _Log(log)
        except LogFailed as error:
            raise IndexUnreadable(f"the ledger cannot be read ({error})") from error

    return reading


class _File:
    def __init__(self, ledger: sqlite3.Connection) -> None:
        self._ledger = ledger

    def origin(self) -> str:
        return str(self._ledger.execute("SELECT origin FROM log").fetchone()[0])

    def size(self) -> int:
        return int(self._ledger.execute("SELECT size FROM tree").fetchone()[0])

    def leaf(self, number: int) -> bytes | None:
        found = self._ledger.execute("SELECT leaf FROM events WHERE number = ?", (number,)).fetchone()
        return None if found is None else found[0]

    def following(self, number: int, limit: int) -> list[Row]:
        query = "SELECT number, leaf, event FROM events WHERE number > ? ORDER BY number LIMIT ?"
        return self._ledger.execute(query, (number, limit)).fetchall()

    def events(self, numbers: Sequence[int]) -> list[bytes]:
        query = "SELECT event FROM events WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number"
        return [event for (event,) in self._ledger.execute(query, (json.dumps(list(numbers)),))]


class _Log:
    def __init__(self, log: LedgerReads) -> None:
        self._log = log

    def origin(self) -> str:
        return self._log.origin()

    def size(self) -> int:
        return self._log.size()

    def leaf(self, number: int) -> bytes | None:
        return next(iter(self._log.leaves(number, number)), None)

    def following(self, number: int, limit: int) -> list[Row]:
        return [(event.number, event.leaf, event.event) for event in self._log.stored(number + 1, number + limit)]

    def events(self, numbers: Sequence[int]) -> list[bytes]:
        return self._log.chosen(numbers)
