"""A real process over the real embedded store, killed with SIGKILL while it takes documents in."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.ingest.edge_house import everything, rooms_of, take_in
from tests.ingest.ingest_kit import House, Seen, run

pytestmark = pytest.mark.crash


def _lay_out(house: House, count: int, after: bool) -> None:
    """So many documents; afterwards a third has another text, a third other readers, some are gone and some are new."""
    lines: dict[str, list[str]] = {}
    for n in range(count + count // 5 if after else count):
        file = house.docs / f"{n}.md"
        file.unlink(missing_ok=True)
        if after and n % 8 == 7:
            continue
        edition = 2 if after and n % 3 == 0 else 1
        text = f"word {n} edition {edition}. " * 40
        house.write(f"{n}.md", "".join(f"# Part {part}\n\n{text}\n\n" for part in range(4)))
        wide = (n % 3 == 1) if after else (n % 3 == 2)
        lines[f"{n}.md"] = ["role:all"] if wide else ["user:ann", "user:eve"]
    house.acl(lines)


def _whole(house: House) -> Seen:
    """What is found once a whole run has been made."""

    async def story() -> Seen:
        async with rooms_of(house.folder) as rooms:
            await rooms.ingest.recover()
            await take_in(rooms, house.folder)
            assert await rooms.store.count() == len(house.should_be_in_store())
            return await everything(rooms, house.keys)

    return run(story())


def _around_recovery(house: House) -> tuple[Seen, Seen]:
    """What the next process finds at first, and once it has recovered."""

    async def story() -> tuple[Seen, Seen]:
        async with rooms_of(house.folder) as rooms:
            at_first = await everything(rooms, house.keys)
            await rooms.ingest.recover()
            return at_first, await everything(rooms, house.keys)

    return run(story())


def _killed(house: House, after: float) -> bool:
    """Run the ingest in a process of its own, killed that many seconds after it is ready; False if it was done."""
    command = [sys.executable, "-m", "tests.ingest.edge_house", str(house.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        process.kill()
        return "done" not in process.stdout.read()


def _check_whole(seen: Seen, before: Seen, after: Seen) -> None:
    for user, documents in seen.items():
        for path, texts in documents.items():
            possible: tuple[Mapping[str, frozenset[str]], ...] = (before[user], after[user])
            assert texts in [state.get(path) for state in possible], (user, path)


@pytest.mark.parametrize(("count", "kills"), [(30, 2), (150, 12)])
def test_an_ingest_killed_again_and_again_ends_as_one_that_was_left_alone(
    settled: House, tmp_path: Path, count: int, kills: int
) -> None:
    """At no moment is anything found but documents whole, old or new, by those who may read that."""
    house = settled.copied(tmp_path / "house")
    _lay_out(house, count, after=False)
    before = _whole(house)
    found = {"ann": count, "bob": count // 3, "eve": count - count // 3}
    assert {user: len(documents) for user, documents in before.items()} == found
    calm = house.copied(tmp_path / "calm")
    _lay_out(calm, count, after=True)
    begun = time.monotonic()
    after = _whole(calm)
    took = time.monotonic() - begun
    _lay_out(house, count, after=True)
    moments = random.Random(7)  # noqa: S311  # no secret: the same moments in every run
    cut = 0
    for _ in range(kills):
        cut += _killed(house, moments.uniform(0.0, took * 0.4))
        for seen in _around_recovery(house):
            _check_whole(seen, before, after)
    assert cut
    assert _whole(house) == after
    house_events = [event["outbox"] for event in house.events("document", "label")]
    assert len(house_events) == len(set(house_events))
