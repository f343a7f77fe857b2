"""Frames that had to wait, and readers that come and go: judged when it is their turn, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.web.chat_kit import ScriptedModel
from tests.web.world import POLICY, World, world
from tests.web.ws_kit import LOST, Client, chatting, talk

from usher import live
from usher.ports import Delta, ModelRequest

NOTHING_READABLE = POLICY.replace("p, role:employee, coll:handbook, document.read, allow, always\n", "")


class Slow(ScriptedModel):
    """A word now and then."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        for number in range(12):
            await asyncio.sleep(0.06)
            yield Delta(f"word{number} ")
        yield Delta(finish_reason="stop", prompt_tokens=1, completion_tokens=1)


@pytest.fixture
def usher(tmp_path: Any) -> Iterator[World]:
    with world(tmp_path, model=Slow()) as made:
        yield made


def test_sources_that_waited_for_a_slow_client_are_judged_again(usher: World) -> None:
    """The right went while the client did not read: no title, no path."""

    async def what(client: Client) -> None:
        client.reading.clear()
        client.ask()
        await asyncio.sleep(0.3)
        await usher.apply(NOTHING_READABLE)
        client.reading.set()
        error = await client.end()
        assert error["code"] == "access_changed"
        assert [frame["type"] for frame in client.got if frame["type"] not in ("ready", "route")] == ["error"]

    talk(usher, what)
    assert usher.newest()[-1]["outcome"] == "access_changed"


def test_an_answer_that_was_taken_up_and_lost_again_leaves_no_timer(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first reader leaves for good while the second one's loss is still borne."""
    monkeypatch.setattr(live, "RESUME_SECONDS", 0.3)
    services = usher.services
    troubles: list[str] = []

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(str(context)))
        async with chatting(usher) as first:
            first.ask()
            audit_id = (await first.until("route"))["audit_id"]
            await first.until("delta")
            first.reading.clear()
            async with chatting(usher) as second:
                second.say("resume", id="again", audit_id=audit_id, after=0)
                await second.until("delta")
                await second.leave(LOST)
            await first.leave(1000)
            async with chatting(usher) as third:
                third.ask()
                await third.until("delta")
                await third.leave(LOST)
            first.reading.set()
        await asyncio.sleep(0.8)
        assert (services.live._flows, services.live._unread, services.chat._open) == ({}, {}, {})

    usher.run(story())
    assert troubles == []
