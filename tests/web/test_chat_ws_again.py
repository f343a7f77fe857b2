"""What may be seen of an answer that is read once more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.web.chat_kit import ScriptedModel
from tests.web.world import HOST, OPERATOR, POLICY, World, world
from tests.web.ws_kit import LOST, Client, Frame, chatting, ended, lost, resumed

SILENCE = 30.0
FIRST = "The first words are here. "
MODEL = ScriptedModel()


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ws"), model=MODEL) as made:
        yield made


def views(usher: World, audit_id: str) -> list[dict[str, Any]]:
    return [event for event in usher.events() if audit_id in event.get("exchanges", ())]


def told(client: Client) -> Frame:
    return {**client.got[-1], "audit_id": None}


def test_every_look_at_an_answer_is_recorded_before_it_is_given(usher: World) -> None:
    """As a view, by whoever looks."""

    async def work() -> None:
        MODEL.steps = [FIRST]
        _, audit_id = await lost(usher)
        await ended(usher, audit_id)
        for count in (1, 2):
            await resumed(usher, audit_id)
            seen = views(usher, audit_id)
            assert len(seen) == count
            assert seen[-1]["type"] == "view"
            assert seen[-1]["who"]["pseudonym"] == await usher.services.ledger.pseudonym("bob")

    usher.run(work())


def test_a_foreign_answer_an_absent_one_and_a_hidden_one_are_told_alike(usher: World) -> None:
    """In flight or ended: nothing of it comes, and nothing is recorded of it. The right comes back, and so does it."""

    async def work() -> None:
        MODEL.steps = [FIRST]
        _, audit_id = await lost(usher)
        await ended(usher, audit_id)
        MODEL.steps = [FIRST, SILENCE]
        _, flowing = await lost(usher)
        absent = told(await resumed(usher, str(uuid4())))
        assert absent["code"] == "not_found"
        for id in ("no id", "", audit_id[:-1], audit_id + "0"):
            assert told(await resumed(usher, id)) == absent
        for id in (audit_id, flowing, audit_id.upper()):
            assert told(await resumed(usher, id, who="alice")) == absent
        await usher.apply(POLICY.replace("p, role:employee, coll:handbook, document.read, allow, always\n", ""))
        assert await ended(usher, flowing) == "access_changed"
        for id in (audit_id, flowing):
            assert told(await resumed(usher, id)) == absent
        assert views(usher, audit_id) == views(usher, flowing) == []
        await usher.apply(POLICY)
        assert (await resumed(usher, audit_id)).said("again") == usher.recorded(audit_id)

    usher.run(work())


def test_a_change_while_it_is_replayed_stops_it(usher: World) -> None:
    """Each part is judged when it is given."""

    async def work() -> None:
        MODEL.steps = [step for n in range(6) for step in (f"This is part {n}. ", 0.06)]
        _, audit_id = await lost(usher)
        await ended(usher, audit_id)
        for source in ("memory", "record"):
            async with chatting(usher) as client:
                client.one_by_one = True
                client.say("resume", id="again", audit_id=audit_id, after=0)
                await client.until("delta")
                await usher.apply(POLICY.replace("p, role:employee, coll:handbook, document.read, allow, always\n", ""))
                client.one_by_one = False
                client.reading.set()
                assert (await client.end("again")).get("code") == "not_found", source
                assert len(client.deltas("again")) <= 2  # one had been judged, and waited for the client
            await usher.apply(POLICY)

    usher.run(work())


@pytest.mark.parametrize("source", ["memory", "record"])
def test_a_link_that_is_allowed_no_more_is_not_given_again(usher: World, source: str) -> None:
    """The answer is not repeated as it was; its conversation shows it without the link."""

    async def work() -> None:
        await usher.apply(POLICY, **{"links.yaml": f"hosts: [{HOST}]"})
        MODEL.steps = [f"See [the page](https://{HOST}/zebra) for it [1]."]
        async with chatting(usher) as client:
            client.ask()
            route, _ = await client.until("route"), await client.until("delta")
            await (client.leave(LOST) if source == "memory" else client.end())
        audit_id = route["audit_id"]
        await ended(usher, audit_id)
        assert f"https://{HOST}/zebra" in usher.recorded(audit_id)
        await usher.apply(POLICY)
        again = await resumed(usher, audit_id)
        assert (again.got[-1]["code"], again.got[-1]["audit_id"]) == ("access_changed", audit_id)
        assert not again.deltas("again")
        stored = await usher.asked("GET", f"/api/conversations/{route['conversation_id']}")
        assert "the page" in stored.text
        assert HOST not in stored.text

    usher.run(work())


def test_a_deactivated_person_takes_nothing_up_again(tmp_path: Any) -> None:
    """What goes on without them ends at once."""
    with world(tmp_path, model=MODEL) as usher:

        async def work() -> None:
            MODEL.steps = [FIRST, SILENCE]
            _, audit_id = await lost(usher)
            await usher.services.people.deactivate("bob", OPERATOR)
            assert await ended(usher, audit_id) == "person_inactive"

        usher.run(work())
