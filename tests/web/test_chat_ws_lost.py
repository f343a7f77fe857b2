"""A lost connection: the answer goes on for a while, and is taken up again where it may still be shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.web.chat_kit import ScriptedModel
from tests.web.world import World, world
from tests.web.ws_kit import LOST, chatting, ended, lost, resumed

from usher import live

SILENCE = 30.0
FIRST = "The first words are here. "
MODEL = ScriptedModel()


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ws"), model=MODEL) as made:
        yield made


def test_an_answer_in_flight_is_taken_up_again(usher: World) -> None:
    """What was missed first, then the rest as it comes; together it is what the record has."""
    more, rest = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        MODEL.steps = [FIRST, more.wait, "More of them. ", rest.wait, "The rest [1]."]
        before, audit_id = await lost(usher)
        more.set()
        async with chatting(usher) as client:
            client.say("resume", id="again", audit_id=audit_id, after=1)
            assert (await client.until("delta"))["seq"] == 2
            rest.set()
            done = await client.end("again")
            assert done["outcome"] == "answered"
            assert [citation["n"] for citation in done["citations"]] == [1]
            assert [frame["audit_id"] for frame in client.got[1:]] == [audit_id] * (len(client.got) - 1)
        assert before.said() + client.said("again") == usher.recorded(audit_id)

    usher.run(work())


def test_an_answer_that_ended_meanwhile_waits_whole(usher: World) -> None:
    """With its citations; taken up again a second time it comes from the record, in the same parts, without them."""

    async def work() -> None:
        MODEL.steps = [FIRST, 0.1, "The rest [1]."]
        _, audit_id = await lost(usher)
        assert await ended(usher, audit_id) == "answered"
        waiting = await resumed(usher, audit_id)
        stored = await resumed(usher, audit_id)
        assert waiting.said("again") == stored.said("again") == usher.recorded(audit_id)
        assert waiting.deltas("again") == stored.deltas("again")
        assert waiting.got[-1]["citations"]
        assert (stored.got[-1]["outcome"], stored.got[-1]["citations"], stored.got[-1]["usage"]) == (
            "answered",
            None,
            None,
        )
        assert (await resumed(usher, audit_id, after=1)).deltas("again") == stored.deltas("again")[1:]
        assert (await resumed(usher, audit_id, after=99)).deltas("again") == []

    usher.run(work())


def test_nobody_comes_and_it_ends(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, recorded as cancelled, and its model is told."""
    monkeypatch.setattr(live, "RESUME_SECONDS", 0.05)

    async def work() -> None:
        MODEL.steps = [FIRST, SILENCE]
        _, audit_id = await lost(usher)
        assert usher.events(audit_id)[-1]["type"] == "generation"
        assert await ended(usher, audit_id) == "cancelled"
        again = await resumed(usher, audit_id)
        assert (again.said("again"), again.got[-1]["outcome"]) == (usher.recorded(audit_id), "cancelled")
        assert MODEL.aborted

    usher.run(work())
    assert not usher.services.live._flows
    assert not usher.services.live._unread


def test_it_is_lost_again_and_taken_up_again(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time its time begins anew."""
    monkeypatch.setattr(live, "RESUME_SECONDS", 0.3)
    go = asyncio.Event()

    async def work() -> None:
        MODEL.steps = [FIRST, go.wait, "The rest."]
        _, audit_id = await lost(usher)
        for _ in range(3):
            await asyncio.sleep(0.15)
            async with chatting(usher) as client:
                client.say("resume", id="again", audit_id=audit_id, after=0)
                await client.until("delta")
                await client.leave(LOST)
        go.set()
        assert (await resumed(usher, audit_id)).got[-1]["outcome"] == "answered"

    usher.run(work())


def test_only_so_many_wait_for_a_reader(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """For more, the oldest ends."""
    monkeypatch.setattr(live, "MOST_UNREAD", 2)

    async def work() -> None:
        MODEL.steps = [FIRST, SILENCE]
        waiting = [(await lost(usher))[1] for _ in range(3)]
        assert await ended(usher, waiting[0]) == "cancelled"
        assert [usher.events(each)[-1]["type"] for each in waiting[1:]] == ["generation"] * 2
        assert set(usher.services.live._unread) == set(waiting[1:])
        for each in waiting[1:]:
            usher.services.live._let_go(each)
            await ended(usher, each)

    usher.run(work())


def test_an_answer_has_one_reader(usher: World) -> None:
    """Whoever takes it up again; the other socket is told, and goes on with what else it has."""
    go = asyncio.Event()

    async def work() -> None:
        MODEL.steps = [FIRST, go.wait, "The rest."]
        async with chatting(usher) as old, chatting(usher) as new:
            old.ask()
            route = await old.until("route")
            await old.until("delta")
            new.say("resume", id="again", audit_id=route["audit_id"], after=0)
            await new.until("delta")
            told = await old.end()
            assert (told["code"], told["audit_id"]) == ("resumed_elsewhere", route["audit_id"])
            await old.leave()
            go.set()
            assert (await new.end("again"))["outcome"] == "answered"
            assert new.said("again") == usher.recorded(route["audit_id"])

    usher.run(work())


@pytest.mark.parametrize("code", [1000, LOST])
def test_a_socket_that_hangs_does_not_end_what_was_taken_from_it(
    usher: World, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """When it is closed at last, or found to be lost, its answer is another's, and flows on."""
    monkeypatch.setattr(live, "RESUME_SECONDS", 0.02)
    go = asyncio.Event()

    async def work() -> None:
        MODEL.steps = [FIRST, 0.1, "More of them. ", go.wait, "The rest."]
        async with chatting(usher) as hanging, chatting(usher) as new:
            hanging.ask()
            audit_id = (await hanging.until("route"))["audit_id"]
            await hanging.until("delta")
            hanging.reading.clear()
            await asyncio.sleep(0.2)
            new.say("resume", id="again", audit_id=audit_id, after=1)
            await new.until("delta")
            await hanging.leave(code)
            await asyncio.sleep(0.05)
            go.set()
            assert (await new.end("again"))["outcome"] == "answered"

    usher.run(work())


def test_nothing_of_a_person_stays_held(usher: World) -> None:
    """An answer that goes on alone counts until it ends, and no longer."""

    async def work() -> None:
        go = asyncio.Event()
        MODEL.steps = [FIRST, go.wait]
        _, audit_id = await lost(usher)
        used = usher.services.limits._people["bob"].open
        assert used == {"streams": 1, "sockets": 0}
        go.set()
        await ended(usher, audit_id)
        await asyncio.sleep(0.05)
        assert used == {"streams": 0, "sockets": 0}

    usher.run(work())
