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

pytestmark = pytest.mark.slow

KILLS = 5


def _lay_out(house: House, after: bool) -> None:
    """150 documents; afterwards a third has another text, a third other readers, some are gone and some are new."""
    lines: dict[str, list[str]] = {}
    for n in range(180 if after else 150):
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


def _seen(house: House, *, recovered: bool, whole_run: bool = False) -> Seen:
    async def story() -> Seen:
        async with rooms_of(house.folder) as rooms:
            if recovered:
                await rooms.ingest.recover()
            if whole_run:
                await take_in(rooms, house.folder)
                assert await rooms.store.count() == len(house.should_be_in_store())
            return await everything(rooms, house.keys)

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


def test_an_ingest_killed_again_and_again_ends_as_one_that_was_left_alone(settled: House, tmp_path: Path) -> None:
    """At no moment is anything found but documents whole, old or new, by those who may read that."""
    house = settled.copied(tmp_path / "house")
    _lay_out(house, after=False)
    before = _seen(house, recovered=True, whole_run=True)
    assert {user: len(documents) for user, documents in before.items()} == {"ann": 150, "bob": 50, "eve": 100}
    calm = house.copied(tmp_path / "calm")
    _lay_out(calm, after=True)
    begun = time.monotonic()
    after = _seen(calm, recovered=True, whole_run=True)
    took = time.monotonic() - begun
    _lay_out(house, after=True)
    moments = random.Random(7)  # noqa: S311  # no secret: the same moments in every run
    cut = 0
    for _ in range(KILLS):
        cut += _killed(house, moments.uniform(0.0, took * 0.4))
        _check_whole(_seen(house, recovered=False), before, after)
        _check_whole(_seen(house, recovered=True), before, after)
    assert cut
    assert _seen(house, recovered=True, whole_run=True) == after
    house_events = [event["outbox"] for event in house.events("document", "label")]
    assert len(house_events) == len(set(house_events))
