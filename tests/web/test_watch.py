"""A change ends what it must end, also where nothing flows: told by one watcher, within a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.web.chat_kit import ScriptedModel, Streamed, streamed
from tests.web.world import DOCUMENTS, OPERATOR, POLICY, World, world

from usher import watch
from usher.authority import Grant
from usher.backends.sql import Database
from usher.backends.sql_people import SqlDirectory
from usher.watch import Watch

FIRST = "The first words are here. "
MODEL = ScriptedModel()
BOUND = 1.0
"""Seconds: far above the bound that the bench measures, far below the model's silence."""

Change = Callable[[World], Awaitable[object]]


async def _policy(usher: World) -> None:
    await usher.apply(POLICY.replace("p, role:employee, coll:handbook, document.read, allow, always\n", ""))


async def _revoked(usher: World) -> None:
    await usher.services.people.revoke_key(usher.key_ids["bob"], OPERATOR)


async def _deactivated(usher: World) -> None:
    await usher.services.people.deactivate("bob", OPERATOR)


async def _groups(usher: World) -> None:
    await usher.services.people.set_groups("bob", [], OPERATOR)


async def _deleted(usher: World) -> None:
    await usher.ingest({path: text for path, text in DOCUMENTS.items() if "holidays" not in path})


async def _elsewhere(usher: World) -> None:
    """By another process on the same database, as another replica would."""
    database = Database(f"sqlite:///{usher.folder / 'home' / 'usher.sqlite'}")
    await SqlDirectory(database).deactivate("bob", "operator:uid:0", datetime.now(UTC))
    database.close()


CHANGES: dict[str, tuple[Change, str]] = {
    "policy": (_policy, "access_changed"),
    "key revoked": (_revoked, "key_revoked"),
    "person deactivated": (_deactivated, "person_inactive"),
    "person deactivated elsewhere": (_elsewhere, "person_inactive"),
    "groups": (_groups, "chat_not_allowed"),
    "document deleted": (_deleted, "access_changed"),
}


@pytest.fixture
def usher(tmp_path: Any) -> Iterator[World]:
    with world(tmp_path, model=MODEL) as made:
        yield made


def ended_by(usher: World, change: Change, *silence: float) -> tuple[Streamed, float]:
    """What a client got whose model is silent, and the seconds from the change to the end of the stream."""
    done = 0.0

    async def change_now() -> None:
        nonlocal done
        done = time.monotonic()
        await change(usher)

    async def work() -> Streamed:
        return await streamed(usher)

    MODEL.steps = [FIRST, 0.1, change_now, *silence, "Never shown."]
    got = usher.run(work())
    return got, time.monotonic() - done


@pytest.mark.parametrize("name", CHANGES)
def test_a_silent_stream_is_told_and_closed(usher: World, name: str) -> None:
    """Within the bound, recorded with the reason, and the model is aborted."""
    change, outcome = CHANGES[name]
    got, took = ended_by(usher, change, 30.0)
    assert FIRST.startswith(got.text or "?")
    assert got.error is not None
    assert got.error["code"] == outcome
    assert not got.done
    assert took < BOUND
    assert usher.newest()[-1]["outcome"] == outcome
    assert MODEL.aborted


def test_a_watcher_that_is_told_looks_at_once(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it would have waited by itself."""
    monkeypatch.setattr(watch, "EVERY", 30.0)

    async def change(usher: World) -> None:
        await _elsewhere(usher)
        await asyncio.sleep(0.1)  # its pause of before is over
        usher.services.watch.heard()

    got, took = ended_by(usher, change, 10.0)
    assert got.error is not None
    assert got.error["code"] == "person_inactive"
    assert took < BOUND


def test_a_key_that_expires_ends_its_stream(usher: World) -> None:
    """By the clock: nothing changes in the database."""

    async def nothing(_: World) -> None: ...

    async def work() -> None:
        soon = datetime.now(UTC) + timedelta(seconds=0.6)
        made = await usher.services.people.create_key("bob", soon, None, OPERATOR)
        usher.keys["bob"] = made.key

    usher.run(work())
    got, took = ended_by(usher, nothing, 30.0)
    assert got.error is not None
    assert got.error["code"] == "key_expired"
    assert took < 0.6 + BOUND


def test_a_time_window_that_closes_ends_its_stream(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At `valid_until`, by the clock."""
    noon = datetime(2026, 3, 4, 11, 59, 59, 700_000, tzinfo=UTC)
    began = time.monotonic()

    def clock() -> datetime:
        return noon + timedelta(seconds=time.monotonic() - began)

    window = "time:days=mon-fri;from=09:00;to=12:00;zone=UTC"
    rules = POLICY.replace(
        "coll:handbook, document.read, allow, always", f"coll:handbook, document.read, allow, {window}"
    )
    usher.run(usher.apply(rules))
    monkeypatch.setattr(usher.services.authority, "_clock", clock)
    monkeypatch.setattr(usher.services.watch, "_clock", clock)
    began = time.monotonic()

    async def nothing(_: World) -> None: ...

    got, took = ended_by(usher, nothing, 30.0)
    assert FIRST.startswith(got.text or "?")
    assert got.error is not None
    assert got.error["code"] == "access_changed"
    assert took < 0.5 + BOUND


def test_a_change_that_takes_nothing_away_ends_nothing(usher: World) -> None:
    """Somebody else's key, another collection's rule."""

    async def change(usher: World) -> None:
        await usher.services.people.revoke_key(usher.key_ids["alice"], OPERATOR)
        await usher.apply(POLICY.replace("p, role:finance, coll:finance, document.read, allow, always\n", ""))

    got, _ = ended_by(usher, change, 0.3)
    assert got.done
    assert got.text == FIRST + "Never shown."


def test_one_that_cannot_be_judged_does_not_keep_the_others_from_it(usher: World) -> None:
    """Each recheck stands for itself, and one that failed is made again."""
    told: list[str] = []

    class Open:
        def __init__(self, name: str, grant: Grant) -> None:
            self.name, self.grant = name, grant

        async def recheck(self) -> None:
            told.append(self.name)
            if self.name == "broken":
                raise RuntimeError

    async def work() -> None:
        grant = await usher.services.authority.admit(usher.keys["bob"])
        assert grant is not None
        watch: Watch = usher.services.watch
        for each in (Open("broken", grant), Open("whole", grant)):
            watch.add(each)
        await asyncio.sleep(0.3)
        assert told[:2] == ["broken", "whole"]
        assert told.count("broken") > 1, "asked again until it can be judged"

    usher.run(work())
