"""People and keys, with their events: each act recorded once, by pseudonym, whatever fails on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.faults import How, Killed, Plan
from tests.ingest.ingest_kit import OPERATOR, House, Rooms, new_house

from usher.errors import UserError
from usher.ports import Person

FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> House:
    return new_house(tmp_path_factory.mktemp("made") / "house")


@pytest.fixture
def house(made: House, tmp_path: Path) -> House:
    return made.copied(tmp_path / "house")


def _acts(house: House) -> list[tuple[str, Any]]:
    """What was recorded since the house was made."""
    return [(event["type"], event.get("act", event.get("active"))) for event in house.events("person", "key")[6:]]


async def _bob(rooms: Rooms) -> Person:
    return next(person for person in await rooms.people.list(None, 100) if person.user == "bob")


def test_acts_are_recorded_by_pseudonym(house: House) -> None:
    """Neither a name nor a group stands in the ledger, nor a digest by which one could be guessed."""

    async def story(rooms: Rooms) -> None:
        await rooms.people.add("zanzibar", ["tanganyika"], OPERATOR)
        key = await rooms.people.create_key("zanzibar", FUTURE, "audit", OPERATOR)
        await rooms.people.set_groups("zanzibar", [], OPERATOR)
        await rooms.people.revoke_key(key.id, OPERATOR)
        await rooms.people.deactivate("zanzibar", OPERATOR)
        pseudonym = await rooms.ledger.pseudonym("zanzibar")
        assert {event["subject"] for event in house.events("person", "key")[6:]} == {pseudonym}

    house.using(story)
    assert _acts(house) == [
        ("person", True),
        ("key", "issue"),
        ("person", True),
        ("key", "revoke"),
        ("person", False),
    ]
    for row in house.query("SELECT event FROM events", "ledger.sqlite"):
        for name in ("zanzibar", "tanganyika"):
            assert name not in str(row[0])
            assert sha256(name.encode()).hexdigest() not in str(row[0])
    added = house.events("person")[-3]
    assert added["groups"] == 1
    assert not [name for name in added if "digest" in name]


@pytest.mark.slow
def test_repeating_an_end_changes_and_records_nothing(house: House) -> None:
    """A second revocation or deactivation is answered as the first."""

    async def story(rooms: Rooms) -> None:
        key = await rooms.people.create_key("new", None, None, OPERATOR)
        for _ in range(3):
            assert (await rooms.people.revoke_key(key.id, OPERATOR)).revoked_at is not None
            assert not (await rooms.people.deactivate("user:new", OPERATOR)).active

    house.using(story)
    assert _acts(house) == [("person", True), ("key", "issue"), ("key", "revoke"), ("person", False)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [How.ERROR_BEFORE, How.ERROR_AFTER, How.DEAD_BEFORE, How.DEAD_AFTER])
@pytest.mark.parametrize("call", ["ledger.append", "outbox.finish"])
@pytest.mark.parametrize("act", ["groups", "deactivate", "issue", "revoke"])
def test_an_act_cut_off_on_its_way_is_finished_once(house: House, act: str, call: str, how: How) -> None:
    """By the next act of the same process, or by the next process."""
    plan = Plan(None, how)

    async def story(rooms: Rooms) -> None:
        key = (await rooms.people.create_key("ann", None, None, OPERATOR)).id
        plan.only = call
        acting: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "groups": lambda: rooms.people.set_groups("bob", ["new"], OPERATOR),
            "deactivate": lambda: rooms.people.deactivate("bob", OPERATOR),
            "issue": lambda: rooms.people.create_key("bob", None, None, OPERATOR),
            "revoke": lambda: rooms.people.revoke_key(key, OPERATOR),
        }
        with pytest.raises(Killed):
            await acting[act]()
        if not how.dead:
            await rooms.people.add("next", [], OPERATOR)

    house.using(story, wrap=plan.wrap)
    house.using(lambda rooms: rooms.people.add("last", [], OPERATOR))
    expected = {"groups": ("person", True), "deactivate": ("person", False), "issue": ("key", "issue")}
    acts = _acts(house)
    assert acts[:2] == [("key", "issue"), expected.get(act, ("key", "revoke"))]
    assert len(acts) == (3 if how.dead else 4)
    assert house.query("SELECT * FROM outbox") == []
    assert len(house.query("SELECT id FROM api_key WHERE NOT active")) == 0


@pytest.mark.slow
def test_acts_at_once_on_one_person_leave_the_last_in_force_and_each_at_most_once(house: House) -> None:
    """An overtaken change of groups is not recorded after the one that replaced it."""

    async def story(rooms: Rooms) -> None:
        people = await asyncio.gather(*(rooms.people.add("bob", [f"g{n}"], OPERATOR) for n in range(8)))
        assert people
        person = await _bob(rooms)
        assert len(person.groups) == 1
        assert person.active

    house.using(story)
    house.check_whole()


def test_a_deactivation_beside_a_change_of_groups_wins(house: House) -> None:
    """Whatever their order, if it was made last; made first, the person is brought back by name."""

    async def story(rooms: Rooms) -> None:
        for _ in range(5):
            await rooms.people.add("bob", ["a"], OPERATOR)
            adding = asyncio.create_task(rooms.people.add("bob", ["b"], OPERATOR))
            while not adding.done() and not await rooms.outbox.pending():  # noqa: ASYNC110  # a row in a database wakes nobody
                await asyncio.sleep(0)
            assert not (await rooms.people.deactivate("bob", OPERATOR)).active
            await adding
            assert not (await _bob(rooms)).active

    house.using(story)
    house.check_whole()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["", " ", " bob", "bob\n", "a\x00b", "a\u200bb", "e\u0301", "x" * 201, "user:", "\ud800", "a\u202eb"]
)
def test_a_name_that_would_deceive_is_refused(house: House, name: str) -> None:
    """Of a person, of a group, of a purpose."""

    async def story(rooms: Rooms) -> None:
        with pytest.raises(UserError):
            await rooms.people.add(name, [], OPERATOR)
        with pytest.raises(UserError):
            await rooms.people.add("new", [name.replace("user:", "group:")], OPERATOR)
        with pytest.raises(UserError):
            await rooms.people.create_key("new", None, name.replace("user:", "purpose:"), OPERATOR)
        assert await rooms.outbox.pending() == []

    house.using(story)


@pytest.mark.slow
def test_what_cannot_be_done_is_said(house: House) -> None:
    """Somebody absent or inactive, a past expiry, an unknown key."""

    async def story(rooms: Rooms) -> None:
        await rooms.people.deactivate("bob", OPERATOR)
        with pytest.raises(UserError, match="not in the directory"):
            await rooms.people.set_groups("ghost", [], OPERATOR)
        with pytest.raises(UserError, match="not in the directory"):
            await rooms.people.deactivate("ghost", OPERATOR)
        with pytest.raises(UserError, match="is deactivated"):
            await rooms.people.set_groups("bob", [], OPERATOR)
        with pytest.raises(UserError, match="is deactivated"):
            await rooms.people.create_key("bob", None, None, OPERATOR)
        with pytest.raises(UserError, match="in the past"):
            await rooms.people.create_key("ann", FUTURE - timedelta(days=40_000), None, OPERATOR)
        with pytest.raises(UserError, match="not a known key"):
            await rooms.people.revoke_key("0" * 16, OPERATOR)
        assert (await rooms.people.add("bob", ["back"], OPERATOR)).active

    house.using(story)
