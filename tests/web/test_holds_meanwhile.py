"""Legal holds that come while something is being taken away, or were cut off; and what they keep from being erased."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from tests.web.holds_kit import (
    HOLDS,
    LEGAL,
    PROPOSALS,
    Talk,
    bob,
    counted,
    held,
    kept_of,
    let_go,
    proposed,
    released,
    start_over,
)
from tests.web.world import World, world

from usher.audit import kept
from usher.backends.sql_proposal_tables import proposal
from usher.core.holds import Hold, On
from usher.ledger.record import ContentRow, is_dropped

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("holds")) as made:
        yield made


@pytest.fixture
def usher(house: World) -> World:
    return start_over(house)


def gone_now(rows: Sequence[ContentRow]) -> bool:
    return any(is_dropped(row.ciphertext) for row in rows)


def test_a_hold_that_comes_while_a_run_goes_on_binds_from_the_next_step(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the latest: whatever the run had still to do when it was placed stays."""
    said = Talk(usher)
    monkeypatch.setattr(kept, "PAGE", 5)

    async def walked() -> None:
        steps = usher.services.audit.retention.run("operator:uid:0")
        while not gone_now(await usher.services.ledger.content(said.first)):
            await anext(steps)
        await usher.services.audit.holds._store.place(Hold(str(uuid4()), On.PERSON, pseudonym), {"on": "person"}, NOW)
        async for _ in steps:
            pass

    pseudonym = bob(usher)
    usher.run(walked())
    assert kept_of(usher, said) == [False, True, True, False]


def test_a_step_judges_again_where_no_hold_can_come_between(usher: World) -> None:
    """One that was placed after a first look, while the step waited for its turn, keeps what it covers."""
    said, holds = Talk(usher), usher.services.audit.holds
    pseudonym = bob(usher)

    async def story() -> None:
        await holds._own.acquire()
        run = asyncio.create_task(_walk(usher))
        await _until(lambda: bool(holds._own._waiters))  # it has looked, and waits
        await holds._store.place(Hold(str(uuid4()), On.PERSON, pseudonym), {"on": "person"}, NOW)
        holds._own.release()
        await run

    usher.run(story())
    assert kept_of(usher, said) == [True, True, True, False]


def test_nobody_places_a_hold_while_something_is_taken_away(usher: World) -> None:
    """Between the last look and the commit: it waits until that is over, and binds then."""
    holds, item = usher.services.audit.holds, proposed(usher, on="exchange", target=str(uuid4()))
    path = f"{PROPOSALS}/{item['id']}/approve"

    async def story() -> None:
        await holds._own.acquire()
        placing = asyncio.create_task(usher.asked("POST", path, "erin", json={"digest": item["digest"]}))
        await _until(lambda: bool(holds._own._waiters))  # it waits
        assert await holds._store.get(UUID(item["id"])) is None
        holds._own.release()
        assert (await placing).status_code == 200
        assert await holds._store.get(UUID(item["id"])) is not None

    usher.run(story())


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def _walk(usher: World) -> None:
    async for _ in usher.services.audit.retention.run("operator:uid:0"):
        pass


def test_a_hold_that_was_granted_and_cut_off_binds(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is placed, which the next run does."""
    said, holds = Talk(usher), usher.services.audit.holds
    held(usher, on="exchange", target=str(uuid4()))
    item = proposed(usher, on="exchange", target=said.first)

    async def killed(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(holds._store, "place", killed)
        path = f"{PROPOSALS}/{item['id']}/approve"
        assert usher.ask("POST", path, "erin", json={"digest": item["digest"]}).status_code == 500
        assert item["id"] in [hold.id for hold in usher.run(holds.binding())]
    assert counted(let_go(usher)) == {("all", "chat"): 2, ("all", "search"): 1}
    assert kept_of(usher, said) == [True, False, False, False]
    assert usher.ask("GET", HOLDS, "erin").json()["holds"][0]["id"] == item["id"]


def test_holds_stop_the_erasure_of_what_they_cover(usher: World) -> None:
    """Of a person also by way of what they asked and were shown; of a document by way of its collection."""
    said, holds = Talk(usher), usher.services.audit.holds
    alice = usher.run(usher.services.ledger.pseudonym("alice"))

    def stopped() -> list[bool]:
        over = [holds.over_person(bob(usher)), holds.over_person(alice), holds.over_document(UUID(said.document))]
        return [bool(usher.run(one)) for one in over]

    assert stopped() == [False, False, False]
    for on, target, wanted in (
        ("exchange", said.second, [True, False, False]),
        ("collection", "coll:finance", [False, True, False]),
        ("document", said.document, [True, stopped_alice(usher, said), True]),
        ("person", alice, [False, True, False]),
    ):
        hold = held(usher, on=on, target=target)
        assert stopped() == wanted, on
        released(usher, hold)


def stopped_alice(usher: World, said: Talk) -> bool:
    """Whether the document was among what was found for alice."""
    return any(p["document"] == said.document for e in usher.events(said.other) for p in e.get("passages", ()))


def test_what_is_stored_otherwise_than_it_was_granted_is_not_done(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes a granted release in the database, before it is done, releases no other hold by it."""
    hold, other = (held(usher, on="exchange", target=str(uuid4())) for _ in range(2))
    release = usher.ask("POST", f"{HOLDS}/{hold}/release", "dave", json={"reason": "Over."}).json()
    holds = usher.services.audit.holds

    async def cut_off(item: object) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(holds, "_do", cut_off)
        usher.ask("POST", f"{PROPOSALS}/{release['id']}/approve", "erin", json={"digest": release["digest"]})
    with holds._store._database.engine.begin() as connection:  # type: ignore[attr-defined]  # SQL's
        stored = proposal.c.id == UUID(release["id"])
        connection.execute(proposal.update().where(stored).values(parts=[other]))
    usher.run(holds.settle())
    assert {one.id for one in usher.run(holds.binding())} >= {hold, other}
    with holds._store._database.engine.begin() as connection:  # type: ignore[attr-defined]  # SQL's
        connection.execute(proposal.update().where(stored).values(parts=[hold]))
    usher.run(holds.settle())
    assert hold not in {one.id for one in usher.run(holds.binding())}


def test_what_the_record_does_not_grant_is_not_done(usher: World) -> None:
    """Whoever writes a granted proposal into the database, even one like another that was granted, has nothing done."""
    hold = held(usher, on="exchange", target=str(uuid4()))
    holds, forged = usher.services.audit.holds, uuid4()
    with holds._store._database.engine.begin() as connection:  # type: ignore[attr-defined]  # SQL's
        row = connection.execute(proposal.select().where(proposal.c.id == UUID(hold))).mappings().one()
        connection.execute(proposal.insert().values({**row, "id": forged, "done_at": None}))
    usher.run(holds.settle())
    assert str(forged) not in {one.id for one in usher.run(holds.binding())}


@pytest.mark.parametrize("on", ["exchange", "conversation"])
def test_nobody_decides_on_a_hold_over_what_is_their_own(usher: World, on: str) -> None:
    """Nor on its release: what they said themselves would be kept, or let go, by their word."""
    usher.run(usher.apply(LEGAL + "g, user:bob, role:legal\n"))
    said = Talk(usher)
    item = proposed(usher, on=on, target=said.second if on == "exchange" else said.talk)
    assert item["subject"] == bob(usher)
    path, body = f"{PROPOSALS}/{item['id']}/approve", {"digest": item["digest"]}
    assert usher.ask("POST", path, "bob", json=body).status_code == 403
    assert usher.ask("POST", path, "erin", json=body).status_code == 200
    release = usher.ask("POST", f"{HOLDS}/{item['id']}/release", "erin", json={"reason": "It is settled."}).json()
    path, body = f"{PROPOSALS}/{release['id']}/approve", {"digest": release["digest"]}
    assert usher.ask("POST", path, "bob", json=body).status_code == 403
    assert usher.ask("POST", path, "dave", json=body).status_code == 200
    assert proposed(usher, on=on, target=str(uuid4()))["subject"] is None
