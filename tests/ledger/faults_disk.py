"""What a ledger goes through when its disk or its clock fails; run as a program with the faulting library under it."""

from __future__ import annotations

import asyncio
import errno
import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.ledger.faults_kit import HANGS, Page, tell
from tests.ledger.ledger_kit import exchange, ledger_in, query

from usher.ledger import sequencer
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger

DEADLINE = 0.25
HOUR = 3600.0


async def noted(ledger: Ledger, number: int) -> int | str:
    """Append an event; its number, or why it was refused."""
    try:
        return (await ledger.append([Entry(EventType.OPERATOR, body={"n": number})])).numbers[0]
    except LedgerUnavailable as refused:
        return refused.reason


async def until_healthy(ledger: Ledger) -> None:
    async with asyncio.timeout(10):
        while ledger.healthy() is not None:  # noqa: ASYNC110  # health is a value to look at, not an event
            await asyncio.sleep(0.01)


def stored(folder: Path) -> list[int]:
    found = query(folder / "ledger.sqlite", "SELECT json_extract(event, '$.n') FROM events ORDER BY number")
    return [n for (n,) in found if n is not None]


async def _failing(folder: Path, on: Any, off: Any) -> dict[str, Any]:
    """Refusals while something fails, and what is there in the end."""
    async with ledger_in(folder) as ledger:
        await exchange(ledger)
        acknowledged = [n for n in range(5) if isinstance(await noted(ledger, n), int)]
        on()
        refused = [await noted(ledger, n) for n in range(5, 15)]
        unwell = ledger.healthy()
        off()
        await until_healthy(ledger)
        acknowledged += [n for n in range(15, 20) if isinstance(await noted(ledger, n), int)]
    return {"refused": refused, "unwell": unwell, "acknowledged": acknowledged, "stored": stored(folder)}


async def failing_fsync(folder: Path, page: Page) -> dict[str, Any]:
    return await _failing(folder, lambda: page.sync_fails(errno.EIO), lambda: page.sync_fails(0))


async def failing_write(folder: Path, page: Page) -> dict[str, Any]:
    return await _failing(folder, lambda: page.write_fails(errno.EIO), lambda: page.write_fails(0))


async def disk_that_turns_read_only(folder: Path, page: Page) -> dict[str, Any]:
    return await _failing(folder, lambda: page.write_fails(errno.EROFS), lambda: page.write_fails(0))


async def hanging_fsync(folder: Path, page: Page) -> dict[str, Any]:
    """Ten callers at once while the disk hangs, a loop that must go on meanwhile, and the disk coming back."""
    async with ledger_in(folder, deadline=DEADLINE) as ledger:
        await exchange(ledger)
        beat = asyncio.create_task(_longest_pause())
        page.sync_fails(HANGS)
        began = time.monotonic()
        refused = await asyncio.gather(*[noted(ledger, n) for n in range(10)])
        took, hung, unwell = time.monotonic() - began, page.hanging(), ledger.healthy()
        refused.append(await noted(ledger, 10))
        beat.cancel()
        page.sync_fails(0)
        await until_healthy(ledger)
        after = await noted(ledger, 11)
        pause = max(_PAUSES)
    found = stored(folder)
    return {"refused": refused, "unwell": unwell, "took": took, "hung": hung, "pause": pause, "after": after} | {
        "stored": found
    }


_PAUSES = [0.0]


async def _longest_pause() -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.005)
        _PAUSES.append(time.monotonic() - began)


async def stop_while_fsync_hangs(folder: Path, page: Page) -> dict[str, Any]:
    """A stop does not wait for a disk that never answers; the next start closes what was left."""
    async with ledger_in(folder, deadline=DEADLINE) as ledger:
        await exchange(ledger)
        page.sync_fails(HANGS)
        refused = await noted(ledger, 0)
        began = time.monotonic()
    took = time.monotonic() - began
    page.sync_fails(0)
    await asyncio.to_thread(ledger._thread.join, 10)
    async with ledger_in(folder) as ledger:
        after = await noted(ledger, 1)
    return {"refused": refused, "took": took, "after": after, "stored": stored(folder)}


async def clock_that_goes_back(folder: Path, page: Page) -> dict[str, Any]:
    """An hour back in the middle, a start an hour back, and the clock coming right again."""
    async with ledger_in(folder) as ledger:
        await noted(ledger, 0)
        page.shift_clock(-HOUR)
        await noted(ledger, 1)
        await noted(ledger, 2)
    async with ledger_in(folder) as ledger:
        await noted(ledger, 3)
        page.shift_clock(0)
        await noted(ledger, 4)
        page.shift_clock(-0.5)
        await noted(ledger, 5)
    page.shift_clock(0)
    found = query(folder / "ledger.sqlite", "SELECT event FROM events ORDER BY number")
    return {"events": [json.loads(raw) for (raw,) in found]}


STORIES = {
    story.__name__: story
    for story in (
        failing_fsync,
        failing_write,
        disk_that_turns_read_only,
        hanging_fsync,
        stop_while_fsync_hangs,
        clock_that_goes_back,
    )
}

if __name__ == "__main__":
    sequencer.PROBE_SECONDS = 0.05
    tell(STORIES, Path(sys.argv[1]))
