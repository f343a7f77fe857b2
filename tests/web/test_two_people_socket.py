"""Two people on `/ws/chat`: whatever Mallory's frames name of Alice's gets what an absent thing gets.

The tries are held against the frames' own models: a field that nobody has tried to abuse fails the suite.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args
from uuid import uuid4

import pytest
from tests.web.chat_kit import ScriptedModel
from tests.web.hostile import ALICE, MALLORY, SPELLINGS, House, house
from tests.web.world import OPERATOR
from tests.web.ws_kit import Client, Frame, chatting, connected

from usher.web.ws_frames import ClientFrame

MODEL = ScriptedModel()
Field = tuple[str, str]


@dataclass(frozen=True)
class Hostile:
    """A frame with somebody else's id of this kind in one field; `own` are further fields, with one's own ids."""

    of: str
    more: Mapping[str, Any]
    own: Mapping[str, str]


def tried(of: str, own: Mapping[str, str] | None = None, **more: Any) -> Hostile:
    return Hostile(of, more, own or {})


ASKS = {"question": "And the one before?"}
FRAMES: Mapping[Field, Sequence[Hostile]] = {
    ("ask", "conversation"): [tried("conversation", **ASKS), tried("conversation", {"after": "exchange"}, **ASKS)],
    ("ask", "after"): [tried("exchange", **ASKS), tried("exchange", {"conversation": "conversation"}, **ASKS)],
    ("ask", "instead_of"): [
        tried("exchange"),
        tried("exchange", **ASKS),
        tried("exchange", {"conversation": "conversation"}),
        tried("exchange", {"after": "exchange"}, **ASKS),
    ],
    ("resume", "audit_id"): [tried("exchange"), tried("exchange", after=1), tried("exchange", after=10**6)],
}
"""Fields that take an id, with what is tried in them."""

HARMLESS: Mapping[Field, str] = {
    ("auth", "key"): "a credential: what is none gets the one answer of all that are none",
    ("ask", "id"): "a name on one's own socket",
    ("cancel", "id"): "a name on one's own socket: another socket's is tried below",
    ("resume", "id"): "a name on one's own socket",
    ("ask", "question"): "a text",
    ("ask", "max_tokens"): "a number",
    ("ask", "temperature"): "a number",
    ("resume", "after"): "a number",
}
"""Fields that can name nothing of anybody's, and why."""


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("frames"), MODEL) as made:
        yield made


@pytest.fixture(autouse=True)
def _answers() -> None:
    MODEL.steps = ("An answer [1].",)


def test_every_field_of_every_frame_has_a_hostile_try_or_a_reason_why_not() -> None:
    """By the models that read the frames."""
    models = get_args(get_args(ClientFrame)[0])
    fields = {(get_args(m.model_fields["type"].annotation)[0], name) for m in models for name in m.model_fields}
    assert {field for field in fields if field[1] != "type"} == {*FRAMES, *HARMLESS}


def seen(frames: Sequence[Frame]) -> list[str]:
    """Frames as one can tell them apart: the question's name and what is new each time left out."""
    return [re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "U", repr({**frame, "id": None})) for frame in frames]


async def said(
    client: Client, id: str, field: Field, hostile: Hostile, ident: str, own: Mapping[str, str]
) -> list[Frame]:
    """Every frame that comes of one."""
    begun, more = len(client.got), {name: own[kind] for name, kind in hostile.own.items()}
    client.say(field[0], **{"id": id, field[1]: ident, **hostile.more, **more})
    await client.end(id)
    return client.got[begun:]


TRIES = [
    pytest.param(field, one, id=f"{' '.join(field)} {n}")
    for field, some in FRAMES.items()
    for n, one in enumerate(some)
]


@pytest.mark.parametrize(("field", "one"), TRIES)
def test_a_foreign_id_gets_what_an_absent_one_gets(lives: House, field: Field, one: Hostile) -> None:
    """In every spelling: one error, to the letter; no model is asked and nothing is recorded."""
    told = len(lives.world.events())
    MODEL.requests.clear()

    async def talk() -> None:
        async with chatting(lives.world, MALLORY) as client:
            for n, spell in enumerate(SPELLINGS.values()):
                pair = spell(lives.ids[one.of]), spell(str(uuid4()))
                got = [await said(client, f"{n}.{i}", field, one, ident, lives.mine) for i, ident in enumerate(pair)]
                assert seen(got[0]) == seen(got[1])
                assert [frame["code"] for frame in got[0]] == ["not_found"]
                assert not lives.leaks_in(repr(got))

    lives.world.run(talk())
    assert (MODEL.requests, len(lives.world.events())) == ([], told)


def test_alices_things_are_as_they_were(lives: House) -> None:
    """After all that was tried above."""
    assert lives.alices() == lives.before


def test_a_socket_does_not_reach_into_another(lives: House) -> None:
    """What is in flight over Alice's can be neither cancelled nor taken up over Mallory's, also when it was lost."""
    go_on = asyncio.Event()
    MODEL.steps = ("The quetzal waits here. ", 0.06, "It waits long. ", go_on.wait, "And it goes on [1].")

    async def talk() -> None:
        async with chatting(lives.world, MALLORY) as client:
            async with chatting(lives.world, ALICE) as alice:
                alice.ask("q", "Where is the quetzal?")
                ident = (await alice.until("delta", id="q"))["audit_id"]
                await _reach(lives, client, ident)
                await alice.leave(1006)
            await _reach(lives, client, ident)
            assert not lives.leaks_in(repr(client.got))
        async with chatting(lives.world, ALICE) as again:
            again.say("resume", id="r", audit_id=ident)
            await again.until("delta", id="r")
            go_on.set()
            assert (await again.end("r"))["outcome"] == "answered"
            assert again.said("r").endswith("And it goes on [1].")

    lives.world.run(talk())


async def _reach(lives: House, client: Client, ident: str) -> None:
    answers = []
    for name in ("q", "nothing"):
        client.say("cancel", id=name)
        answers.append(await client.next())
    assert seen(answers[:1]) == seen(answers[1:])
    assert answers[0]["code"] == "not_in_flight"
    one, field = tried("exchange"), ("resume", "audit_id")
    got = [await said(client, f"r{n}", field, one, which, lives.mine) for n, which in enumerate((ident, str(uuid4())))]
    assert seen(got[0]) == seen(got[1])
    assert got[0][-1]["code"] == "not_found"


def test_a_ticket_that_is_none_any_more_opens_nothing(lives: House) -> None:
    """Used, cut, in other letters, of a key that was revoked, never made: one close, and nothing before it."""
    world = lives.world
    world.run(world.add("wanda", ["staff"]))
    used, gone, cut = (world.ask("POST", "/api/ws-ticket", who).json()["ticket"] for who in (ALICE, "wanda", ALICE))
    world.run(world.services.people.revoke_key(world.key_ids["wanda"], OPERATOR))

    async def opened(ticket: str) -> Client:
        async with connected(world, f"ticket={ticket}") as client:
            if (await _first(client)) is None:
                return client
            assert client.got[0]["type"] == "ready"
            return client

    async def talk() -> None:
        assert (await opened(used)).closed is None
        tried = [await opened(ticket) for ticket in (used, gone, cut[:-1], cut.swapcase(), "", "x" * 5000, "%00")]
        assert {client.closed for client in tried} == {4401}
        assert len({(repr(client.got), client.reason) for client in tried}) == 1
        assert not any(frame["type"] == "ready" for client in tried for frame in client.got)

    world.run(talk())


async def _first(client: Client) -> Frame | None:
    """The first frame, if the socket is not closed."""
    first = await client.next()
    if first["type"] == "ready":
        return first
    await client.over()
    return None


def test_a_socket_that_is_nobodys_asks_nothing(lives: House) -> None:
    """A key that is none any more, none at all, a question before the key: one close, and no model is asked."""
    keys = lives.world.keys
    MODEL.requests.clear()
    frames: list[Frame] = [{"type": "auth", "key": keys[who]} for who in ("gone", "left")]
    frames += [{"type": "auth", "key": key} for key in ("", "x", keys[ALICE][:-1], keys[ALICE] + "x")]
    frames += [{"type": "ask", "id": "q", "question": "Who am I?"}]
    frames += [{"type": "resume", "id": "q", "audit_id": lives.ids["exchange"]}, {"type": "cancel", "id": "q"}]

    async def talk() -> None:
        tried = []
        for frame in frames:
            async with connected(lives.world, authorization=f"Bearer {keys[ALICE]}") as client:
                client.say(**frame)
                client.ask("next", "And now?")
                assert await client.over() == 4401
                tried.append((repr(client.got), client.reason))
        assert len(set(tried)) == 1
        assert not lives.leaks_in(repr(tried))

    lives.world.run(talk())
    assert MODEL.requests == []


@pytest.mark.parametrize(("field", "one"), TRIES)
def test_alice_herself_gets_her_own(lives: House, field: Field, one: Hostile) -> None:
    """By the same frames: a try that can hit nothing shows nothing."""

    async def talk() -> None:
        async with chatting(lives.world, ALICE) as client:
            got = await said(client, "q", field, one, lives.ids[one.of], lives.ids)
            assert (got[-1]["type"], got[-1].get("outcome")) == ("done", "answered")

    lives.world.run(talk())
