"""What a ledger goes through on a small disk of its own that fills up or is mounted read-only; run as a program that
may mount (`unshare -rm`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ledger.faults_disk import noted, stored, until_healthy
from tests.ledger.faults_kit import Page, tell
from tests.ledger.ledger_kit import event, exchange, opening, query, ring_in, rows

from usher.backends.ledger_sql import SqlLog
from usher.ledger import sequencer
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.record import EventType, uuid7
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import verify

DISK, RESERVE = 8 << 20, 2 << 20


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of `DISK` bytes, gone at the end."""
    at = folder / "disk"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=True)


def fill(disk: Path, free: int) -> None:
    """Leave so many bytes free."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    room = os.statvfs(disk)
    with filler.open("wb") as file:
        file.write(bytes(max(room.f_bavail * room.f_frsize - free, 0)))


async def opened(disk: Path) -> Ledger:
    return await Ledger.open(SqlLog(disk / "ledger.sqlite", RESERVE), ring_in(disk.parent))


async def asked(ledger: Ledger, ident: str) -> str | None:
    """Begin an exchange; why it was refused, if it was."""
    try:
        subject = await ledger.subject("alice")
        await ledger.append(opening(ident), rows(subject, ident)[:1])
    except LedgerUnavailable as refused:
        return refused.reason
    return None


def types(disk: Path, ident: str) -> list[str]:
    of = "SELECT json_extract(event, '$.type') FROM events WHERE json_extract(event, '$.audit_id') = '{}'"
    return [type for (type,) in query(disk / "ledger.sqlite", of.format(ident))]


async def full_disk(folder: Path, _page: Page) -> dict[str, Any]:
    """Down to the reserve, to half of it, to the last byte, and up again."""
    told: dict[str, Any] = {}
    with small_disk(folder) as disk:
        ledger, begun, more = await opened(disk), uuid7(), uuid7()
        await exchange(ledger)
        await asked(ledger, begun)
        await asked(ledger, more)
        for state, free in (("short", RESERVE - 65_536), ("scarce", RESERVE // 4)):
            fill(disk, free)
            ident = uuid7()
            told[state] = {"asked": await asked(ledger, ident), "unwell": ledger.healthy()}
            told[state] |= {"recorded": types(disk, ident), "administration": await noted(ledger, free)}
            ended = begun if state == "short" else more
            await ledger.append([event(EventType.ANSWER, ended, outcome="unrecorded")])
        fill(disk, 0)
        kept = []
        while isinstance(last := await noted(ledger, len(kept)), int):  # until what SQLite has set aside is used up
            kept.append(len(kept))
        told["full"] = {"asked": await asked(ledger, uuid7()), "last": last, "unwell": ledger.healthy()}
        told["full"]["verified"] = verify(disk / "ledger.sqlite", ring=ring_in(folder)).ok
        fill(disk, RESERVE * 2)
        await until_healthy(ledger)
        told["again"] = {"asked": await asked(ledger, uuid7())}
        await ledger.close()
        told["lost"] = sorted(set(kept) - set(stored(disk)))
        told["verified"] = verify(disk / "ledger.sqlite", ring=ring_in(folder)).ok
    return told


async def start_on_a_full_disk(folder: Path, _page: Page) -> dict[str, Any]:
    """A start on what is left of the reserve closes what was cut off; a start without any space does not."""
    told: dict[str, Any] = {}
    with small_disk(folder) as disk:
        ledger, ident = await opened(disk), uuid7()
        await asked(ledger, ident)
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):  # as a kill leaves it
            shutil.copy(disk / name, folder / name)
        await ledger.close()
        for path in disk.glob("ledger*"):
            path.unlink()
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):
            shutil.copy(folder / name, disk / name)
        fill(disk, 0)
        told["full"] = await _start(disk)
        fill(disk, RESERVE // 4)
        told["scarce"] = await _start(disk)
        told["closed"] = types(disk, ident)
    return told


async def _start(disk: Path) -> str | None:
    """Start and stop; why it did not."""
    try:
        ledger = await opened(disk)
    except LogFailed as failed:
        return str(failed)
    await ledger.close()
    return None


async def read_only_disk(folder: Path, _page: Page) -> dict[str, Any]:
    """A start, a check and a start after the disk is writable again."""
    told: dict[str, Any] = {}
    with small_disk(folder) as disk:
        ledger = await opened(disk)
        await exchange(ledger)
        await ledger.close()
        remount(disk, "ro")
        told["start"] = await _start(disk)
        told["verified"] = verify(disk / "ledger.sqlite", ring=ring_in(folder)).ok
        remount(disk, "rw")
        told["again"] = await _start(disk)
    return told


STORIES = {story.__name__: story for story in (full_disk, start_on_a_full_disk, read_only_disk)}

if __name__ == "__main__":
    sequencer.PROBE_SECONDS = 0.05
    tell(STORIES, Path(sys.argv[1]))
