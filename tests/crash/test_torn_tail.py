"""The end of SQLite's write-ahead log is torn off or garbled at any byte: what was acknowledged before it is there."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.ledger.ledger_kit import exchange, ledger_in, query, ring_in, run

from usher.backends.ledger_sql import SqlLog
from usher.ledger.recovery import check_tail
from usher.ledger.verify import verify

WAL, FRAME_HEADER = "ledger.sqlite-wal", 24
OPENED_EVERY = 16
"""Of the torn logs, one in so many is opened as a server does, gone on with, and verified as a whole."""


class Left(NamedTuple):
    """The files of a killed ledger; for each append the length of its log, and how many events were acknowledged."""

    folder: Path
    database: bytes
    wal: bytes
    appends: list[tuple[int, int]]
    frame: int

    def acknowledged(self, length: int) -> int:
        """Events whose append ended within that much of the log."""
        return max(size for at, size in self.appends if at <= length)


@contextmanager
def fast_folder(other: Path) -> Iterator[Path]:
    """A folder where a sync costs nothing, if there is one: the bytes are what is tested here."""
    memory = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
    folder = memory / f"usher-torn-{os.getpid()}" if os.access(memory, os.W_OK) else other / "torn"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def killed(folder: Path) -> Left:
    """Some exchanges, one append after the other, and the files as they are then."""
    appends: list[tuple[int, int]] = []
    path = folder / "ledger.sqlite"

    async def story() -> tuple[bytes, bytes]:
        async with ledger_in(folder, every=3600) as ledger:
            append = ledger.append

            async def followed(*args: object) -> object:
                receipt = await append(*args)  # type: ignore[arg-type]  # whatever `exchange` gives
                appends.append(((folder / WAL).stat().st_size, query(path, "SELECT size FROM tree")[0][0]))
                return receipt

            ledger.append = followed  # type: ignore[assignment, method-assign]  # to see each append's end
            for _ in range(4):
                await exchange(ledger)
            return path.read_bytes(), (folder / WAL).read_bytes()

    database, wal = run(story())
    return Left(folder, database, wal, appends, query(path, "PRAGMA page_size")[0][0] + FRAME_HEADER)


def events_in(left: Left, wal: bytes) -> int:
    """How many events the ledger has with this log; its end is whole."""
    with (left.folder / WAL).open("wb") as file:
        file.write(wal)
    (left.folder / "ledger.sqlite").write_bytes(left.database)
    (left.folder / "ledger.sqlite-shm").unlink(missing_ok=True)
    with closing(SqlLog(left.folder / "ledger.sqlite")) as log:
        return check_tail(log.load(), ring_in(left.folder))[0].size


def started(left: Left, wal: bytes) -> int:
    """The same, started as a server does, gone on with, and verified; how many of the events were there before."""
    before = events_in(left, wal)

    async def story() -> None:
        async with ledger_in(left.folder) as ledger:
            await exchange(ledger)

    asyncio.run(story())
    verdict = verify(left.folder / "ledger.sqlite", ring=ring_in(left.folder))
    assert verdict.ok, verdict
    return before


def broken(left: Left, at: int) -> Iterable[bytes]:
    """The log that ends at a byte, and the log with that byte changed."""
    return left.wal[:at], left.wal[:at] + bytes([left.wal[at] ^ 0x55]) + left.wal[at + 1 :]


def torn(folder: Path, step: int) -> int:
    """Tear and garble the last two frames at every `step`-th byte, and those of the last two appends at every 61st of
    them; how often that was."""
    left = killed(folder)
    last_frames = range(len(left.wal) - 2 * left.frame, len(left.wal), step)
    before = left.appends[-3][0]
    done = 0
    for at in [*range(before, len(left.wal), 61 * step), *last_frames]:
        for wal in broken(left, at):
            act = started if done % OPENED_EVERY == 0 else events_in
            assert act(left, wal) == left.acknowledged(at), f"byte {at}"
            done += 1
    return done


@pytest.mark.slow
def test_some_torn_tails(tmp_path: Path) -> None:
    """At some bytes of the last frames: exactly what was acknowledged before is there, and the record verifies."""
    with fast_folder(tmp_path) as folder:
        assert torn(folder, 331) > 50


@pytest.mark.crash
def test_every_torn_tail(tmp_path: Path) -> None:
    """The same at each byte of the last two frames."""
    with fast_folder(tmp_path) as folder:
        assert torn(folder, 1) >= 4 * 4096
