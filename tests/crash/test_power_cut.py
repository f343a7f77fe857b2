"""The power goes while the ledger is written: what was not synced is gone, or half there, in any order."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.crash.how_often import TIMES
from tests.crash.power_writer import EXCHANGES, RECORD
from tests.ledger import faults_kit as kit
from tests.ledger.ledger_kit import ledger_in, query, ring_in

from usher.ledger.verify import verify

pytestmark = pytest.mark.crash

SECTOR = 512
CUTS = 300 * TIMES


class Step(NamedTuple):
    """What happened: a write, truncation, sync, sync that failed or removal of a file, by the first letter; or an
    acknowledgement, by the exchange's id."""

    kind: str
    name: str
    offset: int
    data: bytes


def steps(journal: Path) -> Iterator[Step]:
    data = journal.read_bytes()
    at = 0
    while at < len(data):
        kind, name, offset, length = RECORD.unpack_from(data, at)
        at += RECORD.size
        body = data[at : at + length] if kind == b"W" else b""
        at += len(body)
        step = Step(kind.decode(), name.rstrip(b"\0").decode(), offset, body)
        if not step.name.endswith("-shm"):  # SQLite makes it anew
            yield step


def apply(content: bytearray, step: Step) -> None:
    if step.kind == "T":
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
        return
    content.extend(bytes(max(step.offset - len(content), 0)))
    content[step.offset : step.offset + len(step.data)] = step.data


class Disk:
    """What is surely on the disk, and what is on its way there."""

    def __init__(self) -> None:
        self.durable: dict[str, bytearray] = {}
        self.pending: dict[str, list[Step]] = {}
        self.acknowledged: set[str] = set()

    def take(self, step: Step) -> None:
        if step.kind == "A":
            self.acknowledged.add(step.name)
        elif step.kind == "F":  # the kernel holds them as written from here on, though they never were
            self.pending.pop(step.name, None)
        elif step.kind == "U":
            self.durable.pop(step.name, None)
            self.pending.pop(step.name, None)
        elif step.kind == "S":
            for pending in self.pending.pop(step.name, []):
                apply(self.durable.setdefault(step.name, bytearray()), pending)
        else:
            self.pending.setdefault(step.name, []).append(step)

    def left(self, keep: float, chance: random.Random) -> dict[str, bytes]:
        """The files after a power cut: of what was on its way each sector arrived with the probability `keep`."""
        files = {name: bytearray(content) for name, content in self.durable.items()}
        for name, pending in self.pending.items():
            for step in pending:
                for part in sectors(step):
                    if chance.random() < keep:
                        apply(files.setdefault(name, bytearray()), part)
        return {name: bytes(content) for name, content in files.items()}


def sectors(step: Step) -> list[Step]:
    if step.kind == "T":
        return [step]
    cuts = range(0, len(step.data), SECTOR)
    return [Step("W", step.name, step.offset + at, step.data[at : at + SECTOR]) for at in cuts]


def lost_after(folder: Path, disk: Disk, files: dict[str, bytes]) -> set[str]:
    """Start on what is left; the acknowledged exchanges that are not there. The record verifies."""
    for path in folder.glob("ledger.sqlite*"):
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)

    async def start() -> None:
        async with ledger_in(folder):
            pass

    asyncio.run(start())
    verdict = verify(folder / "ledger.sqlite", ring=ring_in(folder))
    assert verdict.ok, verdict
    ended = "SELECT json_extract(event, '$.audit_id') FROM events WHERE json_extract(event, '$.outcome') = 'answered'"
    return disk.acknowledged - {ident for (ident,) in query(folder / "ledger.sqlite", ended)}


def written(folder: Path, *acts: str) -> list[Step]:
    """Runs of the writer, one after the other, as the disk saw them."""
    if why := kit.missing_compiler():
        pytest.skip(f"no disk can be watched here: {why}")
    journal = folder / "journal"
    journal.touch()
    environment = kit.faulty(kit.build(folder), folder, FAULTS_JOURNAL=journal)
    environment["PYTHONPATH"] = os.pathsep.join(["service", "policies", "adapters", "."])
    for act in acts:
        command = [sys.executable, "-m", "tests.crash.power_writer", str(folder), act]
        subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=120)
    return list(steps(journal))


def test_the_power_goes_at_random_moments(tmp_path: Path) -> None:
    """At each, with none, half or all of what was on its way having arrived: nothing acknowledged is lost, and the
    record verifies."""
    happened = written(tmp_path, "many")
    whole = Disk()
    for step in happened:
        whole.take(step)
    assert len(whole.acknowledged) == EXCHANGES
    assert sum(step.kind == "S" and step.name == "ledger.sqlite" for step in happened) >= 2, "SQLite's own checkpoints"
    for name, content in whole.left(1, random.Random(0)).items():  # noqa: S311  # keeps all
        assert content == (tmp_path / name).read_bytes(), "the journal has all that happened"
    fast = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path  # noqa: S108  # syncs cost nothing there
    after = fast / f"usher-power-{os.getpid()}"
    after.mkdir()
    try:
        shutil.copy(tmp_path / "home.keys", after)
        assert cuts(happened, after) == CUTS
    finally:
        shutil.rmtree(after)


def test_the_power_goes_after_a_sync_that_failed(tmp_path: Path) -> None:
    """What a failed sync left behind looks as if it were on the disk, and never will be: the next start does not build
    on it, and what is acknowledged then is not lost with it."""
    happened = written(tmp_path, "sync_that_fails_once", "went_on")
    assert sum(step.kind == "F" for step in happened) == 1
    after = tmp_path / "after"
    after.mkdir()
    shutil.copy(tmp_path / "home.keys", after)
    disk = Disk()
    for step in happened:
        disk.take(step)
        if step.kind == "A":
            assert lost_after(after, disk, disk.left(0, random.Random(0))) == set()  # noqa: S311  # keeps nothing
    assert len(disk.acknowledged) == 6


def cuts(happened: list[Step], folder: Path) -> int:
    """Cut the power so many times; how often."""
    chance = random.Random()  # noqa: S311  # moments, no secret
    first = next(at for at, step in enumerate(happened) if step.kind == "A")
    moments = sorted(chance.sample(range(first, len(happened)), CUTS))
    disk, done = Disk(), 0
    for at, step in enumerate(happened):
        disk.take(step)
        if moments and at == moments[0]:
            moments.pop(0)
            files = disk.left((0.0, 0.5, 1.0)[done % 3], chance)
            assert lost_after(folder, disk, files) == set(), f"lost at step {at}"
            done += 1
    return done
