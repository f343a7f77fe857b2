"""A process that records exchanges, with a journal of its disk under it to which it adds what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import struct
import sys
from pathlib import Path

from tests.ledger.faults_kit import Page
from tests.ledger.ledger_kit import exchange, ledger_in

from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger

RECORD = struct.Struct("=c63sqq")
"""As in `faults.c`: kind, file's name, offset, length; a `W` is followed by its bytes. `A` is ours: acknowledged."""
EXCHANGES, CALLERS = 240, 8


class Recorder:
    """Records exchanges, and says in the journal that each was acknowledged."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._journal = os.open(os.environ["FAULTS_JOURNAL"], os.O_WRONLY | os.O_APPEND)

    async def record(self, times: int) -> None:
        for _ in range(times):
            ident = await exchange(self._ledger)
            os.write(self._journal, RECORD.pack(b"A", ident.encode(), 0, 0))


async def many(folder: Path, _page: Page) -> None:
    """Many callers at once, with checkpoints in between."""
    async with ledger_in(folder, every=0.05) as ledger:
        recorder = Recorder(ledger)
        await asyncio.gather(*[recorder.record(EXCHANGES // CALLERS) for _ in range(CALLERS)])
        os._exit(0)


async def sync_that_fails_once(folder: Path, page: Page) -> None:
    """Some exchanges, then a commit whose sync fails, and the end."""
    async with ledger_in(folder, every=3600) as ledger:
        await Recorder(ledger).record(3)
        page.sync_fails(errno.EIO)
        with contextlib.suppress(LedgerUnavailable):
            await ledger.append([Entry(EventType.OPERATOR)])
        page.sync_fails(0)
        os._exit(0)


async def went_on(folder: Path, _page: Page) -> None:
    """The next start, which has a reader beside it, and some exchanges more."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        async with ledger_in(folder, every=3600) as ledger:
            await Recorder(ledger).record(3)
            os._exit(0)


ACTS = {act.__name__: act for act in (many, sync_that_fails_once, went_on)}

if __name__ == "__main__":
    asyncio.run(ACTS[sys.argv[2]](Path(sys.argv[1]), Page(Path(os.environ["FAULTS_PAGE"]))))
