"""Events of one type, each read once, for what holds rows of the database against the record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from usher.audit.review import Event, EventLog, every_after
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.record import EventType


class GrowingLog(EventLog, Protocol):
    """The log's own reads."""

    def size(self) -> int: ...


class RecordedEvents:
    """Gives `take` each event of a type, in their order and outside the event loop; the first time all of the log."""

    def __init__(self, log: GrowingLog, type: EventType, take: Callable[[Event], None]) -> None:
        """`take` may get the newest ones once more."""
        self._log, self._type, self._take = log, type, take
        self._seen = 0
        self._turn = asyncio.Lock()

    async def read(self) -> None:
        """Return once all that had come was taken. Raises `LedgerUnavailable`."""
        async with self._turn:
            try:
                await asyncio.to_thread(self._read_on)
            except LogFailed as error:
                raise LedgerUnavailable(str(error)) from error

    def _read_on(self) -> None:
        size = self._log.size()
        for event in every_after(self._log, self._type, self._seen):
            self._take(event)
        self._seen = size
