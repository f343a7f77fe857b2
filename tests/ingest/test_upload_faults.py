"""A person's change under failure: at every call of every port it is there whole, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.faults import How, Killed, Plan
from tests.ingest.ingest_kit import OPERATOR, POLICY, House, Rooms, Seen, run

from usher.ledger.verify import verify
from usher.policy_admin import PolicySource
from usher.uploads import Outcome, Upload, Uploads

OLD = "# Old\n\nword before\n"
NEW = "# New\n\nword after\n\n" + "\n\n".join(f"# Part {n}\n\n" + f"word sentence {n}. " * 60 for n in range(3))
RIGHTS = POLICY + "".join(f"p, user:ann, coll:{name}, document.ingest, allow, always\n" for name in ("open", "hr"))
AT = "usher:uploads/paper.md"


@dataclass(frozen=True)
class Text:
    """The `Files` port over one text."""

    text: str

    def read(self, path: str, limit: int) -> bytes:
        return self.text.encode()


Change = Callable[[Rooms, House, Plan], Awaitable[Outcome]]


async def _put(rooms: Rooms, house: House, plan: Plan, collection: str, text: str | None) -> Outcome:
    grant = await rooms.grant("ann", house.keys)
    placed = await rooms.intake.placed_at("usher:uploads", "paper.md")
    document = placed[0].shelved.document if placed else None
    file = None if text is None else Text(text)
    return await _uploads(rooms, plan).put(grant, Upload(collection, "paper.md", document, file, len(text or "")))


async def _delete(rooms: Rooms, house: House, plan: Plan) -> Outcome:
    placed = await rooms.intake.placed_at("usher:uploads", "paper.md")
    grant = await rooms.grant("ann", house.keys)
    return await _uploads(rooms, plan).delete(grant, placed[0].shelved.document)


def _uploads(rooms: Rooms, plan: Plan) -> Uploads:
    intake: Any = plan.wrap("intake", rooms.intake)
    return Uploads(rooms.authority, rooms.ledger, intake, rooms.ingest, {".md"}, 10_000)


CHANGES: dict[str, Change] = {
    "another text elsewhere": lambda rooms, house, plan: _put(rooms, house, plan, "hr", NEW),
    "elsewhere as it is": lambda rooms, house, plan: _put(rooms, house, plan, "hr", None),
    "gone": _delete,
}
CALLS = {"another text elsewhere": 18, "elsewhere as it is": 14, "gone": 10}
"""As many as an undisturbed change makes of the ports."""
WRITES = (10, 11, 12, 13, 14, 15, 16, 17, 18)
"""Those of the first one from staging on."""


@pytest.fixture(scope="module")
def old(settled: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with one uploaded paper in the open collection."""
    house = settled.copied(tmp_path_factory.mktemp("uploads") / "old")

    async def story(rooms: Rooms) -> None:
        await rooms.policy.apply(PolicySource(RIGHTS), OPERATOR)
        assert (await _put(rooms, house, Plan(None), "open", OLD)).outcome == "added"

    house.using(story)
    return house


@pytest.fixture(scope="module")
def ends(old: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """What people find after each change, undisturbed."""
    found = {"": old.seen()}
    for name, change in CHANGES.items():
        house, plan = old.copied(tmp_path_factory.mktemp("end") / "house"), Plan(None)
        house.using(
            lambda rooms, change=change, house=house, plan=plan: _counted(rooms, house, plan, change), wrap=plan.wrap
        )
        assert len(plan.calls) == CALLS[name]
        assert "intake.stage" not in plan.calls or plan.calls.index("intake.stage") + 1 == WRITES[0]
        house.check_whole()
        found[name] = house.seen()
    return found


async def _counted(rooms: Rooms, house: House, plan: Plan, change: Change) -> Outcome:
    plan.calls.clear()
    return await change(rooms, house, plan)


def test_the_undisturbed_changes_are_what_they_say(ends: dict[str, Seen]) -> None:
    """The measure for what follows."""
    assert ends[""]["ann"][AT] == ends[""]["bob"][AT] == {OLD.strip()}
    assert AT not in ends["elsewhere as it is"]["bob"]
    assert ends["elsewhere as it is"]["ann"][AT] == {OLD.strip()}
    assert AT not in ends["another text elsewhere"]["bob"]
    assert len(ends["another text elsewhere"]["ann"][AT]) > 1
    assert not any(AT in documents for documents in ends["gone"].values())


def _points() -> list[Any]:
    """A kill after every write of the richest change, and each other way to fail once; all the rest in the long run."""
    others = [how for how in How if how is not How.DEAD_AFTER]
    points = [(name, at) for name, calls in CALLS.items() for at in range(1, calls + 1)]
    every = [(name, at, How.DEAD_AFTER) for name, at in points]
    every += [(name, at, others[at % len(others)]) for name, at in points]
    name = "another text elsewhere"
    short = {(name, at, How.DEAD_AFTER) for at in WRITES} | {(name, at, others[at % len(others)]) for at in WRITES[2:6]}
    return [
        pytest.param(*point, id=f"{point[0]}-{point[1]}-{point[2].name}", marks=_marks(point in short))
        for point in every
    ]


def _marks(short: bool) -> list[Any]:
    return [pytest.mark.slow] if short else [pytest.mark.slow, pytest.mark.crash]


@pytest.mark.parametrize(("name", "at", "how"), _points())
def test_a_failure_anywhere_leaves_the_old_or_the_new_and_nothing_half(
    old: House, ends: dict[str, Seen], tmp_path: Path, name: str, at: int, how: How
) -> None:
    """During it, after it, and once the next process has recovered; done again it is as if nothing had been."""
    house, before, after = old.copied(tmp_path / "house"), ends[""], ends[name]

    def check(seen: Seen, *more: Seen) -> None:
        for user, documents in seen.items():
            assert documents in ({}, *(whole[user] for whole in (before, after, *more)))

    async def cut_off() -> None:
        plan = Plan(None, how)
        async with house.open(wrap=plan.wrap) as rooms:
            await rooms.ingest.recover()
            plan.calls.clear()
            plan.at = at
            task = asyncio.create_task(CHANGES[name](rooms, house, plan))
            cancelled = asyncio.create_task(plan.cancelled.wait())
            await asyncio.wait({task, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            if not cancelled.cancel():
                task.cancel()
            with contextlib.suppress(Killed, asyncio.CancelledError):
                await task
            plan.at = None
            check(await rooms.seen(house.keys))

    async def next_process() -> None:
        async with house.open() as rooms:
            check(await rooms.seen(house.keys))
            await rooms.ingest.recover()
            seen = await rooms.seen(house.keys)
            assert seen in (before, after)
            house.check_whole()
            if seen == before:
                await CHANGES[name](rooms, house, Plan(None))
            assert await rooms.seen(house.keys) == after

    run(cut_off())
    run(next_process())
    house.check_whole()
    assert verify(house.folder / "ledger.sqlite").problems == ()
