"""The order of commitment under failure: at every call of every port, and at every way to fail.

After each failure nobody finds anything but documents whole, as they were before or as they shall be; the same process
goes on, or another one recovers; a second run completes the work, and each change is recorded exactly once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.faults import READS, How, Killed, Plan
from tests.ingest.ingest_kit import OPERATOR, House, Rooms, Seen, run

from usher.ingest import IngestOptions
from usher.ledger.verify import verify

LONG = "\n\n".join(f"# Part {n}\n\n" + f"word sentence {n}. " * 60 for n in range(3))
BEFORE = {
    "changed.md": ("word before\n\n" + LONG, ["role:all"]),
    "narrowed.md": ("word narrowed", ["role:all"]),
    "widened.md": ("word widened", ["user:ann"]),
    "both.md": ("word secret", ["user:ann"]),
    "refused.md": ("word refused", ["role:all"]),
    "unlisted.md": ("word unlisted", ["role:all"]),
    "broken.md": ("word to break", ["role:all"]),
    "gone.md": ("word gone", ["role:all"]),
    "same.md": ("word same", ["role:all"]),
}
AFTER = {
    "changed.md": ("word after\n\n" + LONG, ["role:all"]),
    "narrowed.md": ("word narrowed", ["user:ann"]),
    "widened.md": ("word widened", ["user:eve"]),
    "both.md": ("word published", ["role:all"]),
    "refused.md": ("word refused", ["role:unheard-of"]),
    "unlisted.md": ("word unlisted", None),
    "broken.md": ("BROKEN", ["role:all"]),
    "new.md": ("word new\n\n" + LONG, ["role:all"]),
    "same.md": ("word same", ["role:all"]),
    "empty.md": ("", ["role:all"]),
}
State = Mapping[str, tuple[str, list[str] | None]]


def _lay_out(house: House, state: State) -> IngestOptions:
    for file in house.docs.glob("*.md"):
        file.unlink()
    for path, (text, _) in state.items():
        house.write(path, text)
    acl = house.acl({path: readers for path, (_, readers) in state.items() if readers is not None})
    return IngestOptions(house.docs, "docs", sync=True, acl=acl, allow_mass_delete=True)


async def _whole_run(rooms: Rooms, options: IngestOptions) -> dict[str, Any]:
    return [event async for event in rooms.ingest.run(options, OPERATOR)][-1]


async def _cut_run(rooms: Rooms, options: IngestOptions, plan: Plan) -> None:
    """A run that the plan ends; does nothing more once it is at its end."""
    running = asyncio.create_task(_whole_run(rooms, options))
    cancelled = asyncio.create_task(plan.cancelled.wait())
    await asyncio.wait({running, cancelled}, return_when=asyncio.FIRST_COMPLETED)
    if not cancelled.cancel():
        running.cancel()
    with contextlib.suppress(Killed, asyncio.CancelledError):
        await running


class Stage:
    """A house with the old documents in; what people find before and after an undisturbed run."""

    def __init__(self, settled: House, folder: Path) -> None:
        self.old = settled.copied(folder / "old")
        self.old.using(lambda rooms: _whole_run(rooms, _lay_out(self.old, BEFORE)))
        self.before = self.old.seen()
        new = self.old.copied(folder / "new")
        plan = Plan(None)
        self.report = new.using(lambda rooms: _whole_run(rooms, _lay_out(new, AFTER)), wrap=plan.wrap)
        self.after, self.calls = new.seen(), plan.calls
        new.check_whole()

    def check_nothing_half(self, seen: Seen) -> None:
        """Each document that somebody finds is found whole, as that person could before or can after."""
        for user, documents in seen.items():
            for path, texts in documents.items():
                allowed = (self.before[user].get(path), self.after[user].get(path))
                assert texts in allowed, (user, path)


@pytest.fixture(scope="module")
def stage(settled: House, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(settled, tmp_path_factory.mktemp("stage"))


def test_an_undisturbed_run_does_what_the_two_states_say(stage: Stage) -> None:
    """The measure for all that follows: it must itself be right."""
    report = {name: count for name, count in stage.report.items() if count and name not in ("event", "refused")}
    assert report == {
        "added": 2,
        "changed": 2,
        "relabelled": 2,
        "unchanged": 1,
        "deleted": 1,
        "withdrawn": 3,
        "empty": 1,
        "unlisted": 1,
        "chunks": report["chunks"],
    }
    assert {item["path"] for item in stage.report["refused"]} == {"refused.md", "broken.md"}
    assert stage.before["ann"].keys() == {f"docs/{path}" for path in BEFORE}
    names = {"changed.md", "narrowed.md", "both.md", "new.md", "same.md"}
    assert stage.after["ann"].keys() == {f"docs/{path}" for path in names}
    assert stage.after["bob"].keys() == {f"docs/{path}" for path in names - {"narrowed.md"}}
    assert stage.after["eve"].keys() == {"docs/widened.md"}
    assert stage.after["bob"]["docs/both.md"] == {"word published"}


CALLS, WRITES = 72, 34
"""A few more than an undisturbed run makes of the ports, and of those that write."""


def _points() -> list[Any]:
    """A kill after every third call that writes, each other way to fail here and there; one in the unit run.

    The others, a kill after every call whatever it does among them, are in the long run.
    """
    others = [how for how in How if how is not How.DEAD_AFTER]
    kills = [(at, How.DEAD_AFTER, True) for at in range(1, WRITES + 1)]
    ways = [(at, others[at // 3 % len(others)], False) for at in range(3, CALLS + 1, 3)]
    short = [*kills[2::3], *ways[::4]]
    long = [
        *(point for point in (*kills, *ways) if point not in short),
        *((at, How.DEAD_AFTER, False) for at in range(1, CALLS + 1)),
    ]
    unit = kills[20]
    marks = {point: [] if point == unit else [pytest.mark.slow] for point in short}
    marks |= {point: [pytest.mark.slow, pytest.mark.crash] for point in long}
    return [
        pytest.param(*point, marks=marks[point], id=f"{point[0]}{'-writes' if point[2] else ''}-{point[1].name}")
        for point in marks
    ]


@pytest.mark.parametrize(("at", "how", "writes"), _points())
def test_a_failure_anywhere_shows_nothing_half_and_is_made_good(
    stage: Stage, tmp_path: Path, at: int, how: How, writes: bool
) -> None:
    """The `at`-th call fails; then the same process, or the next one, runs again."""
    house = stage.old.copied(tmp_path / "house")
    options = _lay_out(house, AFTER)

    async def cut_off() -> None:
        plan = Plan(None, how, writes=writes)
        async with house.open(wrap=plan.wrap) as rooms:
            await rooms.ingest.recover()
            plan.calls.clear()
            plan.at = at
            await _cut_run(rooms, options, plan)
            plan.at = None
            stage.check_nothing_half(await rooms.seen(house.keys))
            if not how.dead:
                await _whole_run(rooms, options)
                assert await rooms.seen(house.keys) == stage.after
                house.check_whole()

    async def next_process() -> None:
        async with house.open() as rooms:
            stage.check_nothing_half(await rooms.seen(house.keys))
            await rooms.ingest.recover()
            stage.check_nothing_half(await rooms.seen(house.keys))
            house.check_whole()
            await _whole_run(rooms, options)

    run(cut_off())
    run(next_process())
    assert house.seen() == stage.after
    house.check_whole()
    assert verify(house.folder / "ledger.sqlite").problems == ()


def test_every_step_of_commitment_is_among_the_calls(stage: Stage) -> None:
    """Else the failures above would pass by what they are about."""
    steps = ["intake.stage", "store.write", "intake.begin", "ledger.append", "outbox.finish", "intake.carried"]
    places = [stage.calls.index(step, stage.calls.index("intake.stage")) for step in steps]
    assert places == sorted(places)
    assert len(stage.calls) < CALLS
    assert sum(call not in READS for call in stage.calls) < WRITES
    assert set(stage.calls) >= READS
    assert {"folder.read", "converter.convert", "embedder.encode", "intake.remember_source"} <= set(stage.calls)


@pytest.mark.slow
@pytest.mark.parametrize("how", [How.DEAD_BEFORE, How.DEAD_AFTER])
@pytest.mark.parametrize("at", [pytest.param(n, marks=[pytest.mark.crash] if n % 3 else []) for n in range(1, 7)])
def test_a_recovery_that_is_itself_cut_off_is_made_good_by_the_next(
    stage: Stage, tmp_path: Path, at: int, how: How
) -> None:
    """Killed with a batch between ledger and label, then killed again at any call of the recovery."""
    house = stage.old.copied(tmp_path / "house")
    options = _lay_out(house, AFTER)

    async def story() -> None:
        plan = Plan(None, How.DEAD_BEFORE, only="outbox.finish")
        async with house.open(wrap=plan.wrap) as rooms:
            with pytest.raises(Killed):
                await _whole_run(rooms, options)
        again = Plan(at, how)
        async with house.open(wrap=again.wrap) as rooms:
            with pytest.raises(Killed):
                await rooms.ingest.recover()
        async with house.open() as rooms:
            stage.check_nothing_half(await rooms.seen(house.keys))
            await rooms.ingest.recover()
            house.check_whole()
            await _whole_run(rooms, options)

    run(story())
    assert house.seen() == stage.after
    house.check_whole()
