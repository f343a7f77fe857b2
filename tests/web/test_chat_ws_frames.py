"""What frames may hold, and what comes of those that are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.chat_kit import ScriptedModel
from tests.web.world import World, world
from tests.web.ws_kit import Client, chatting, connected, talk

from usher.web import ws_frames
from usher.web.ws_socket import MAX_BAD_FRAMES

SILENCE = 30.0
ANSWER = "Twenty-eight of them [1]."


@pytest.fixture(scope="module")
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ws"), model=model) as made:
        yield made


@pytest.fixture(autouse=True)
def _says(model: ScriptedModel) -> None:
    model.steps = ["Twenty-eight ", 0.06, "of them [1]."]


@pytest.mark.parametrize("question", ["", " \n", None, "x" * 8001])
def test_a_question_that_is_none_is_refused(usher: World, question: str | None) -> None:
    """By its field and its remedy, under its own id."""

    async def refused(client: Client) -> None:
        client.ask(question=question)
        error = await client.end()
        assert error["code"] == "invalid_value"
        assert error["message"].startswith("question")

    talk(usher, refused)


@pytest.mark.parametrize(
    ("frame", "named", "id"),
    [
        ({"type": "tell"}, "type: none of", None),
        ({}, "type: none of", None),
        ({"type": "ask", "id": "a", "user": "alice", "question": "x"}, "user: not a field", "a"),
        ({"type": "ask", "question": "x"}, "id", None),
        ({"type": "ask", "id": "", "question": "x"}, "id", None),
        ({"type": "ask", "id": "a" * 65, "question": "x"}, "id", None),
        ({"type": "ask", "id": "a", "max_tokens": 0, "question": "x"}, "max_tokens", "a"),
        ({"type": "ask", "id": "a", "temperature": 3, "question": "x"}, "temperature", "a"),
        ({"type": "ask", "id": "a", "question": ["x"]}, "question", "a"),
        ({"type": "resume", "id": "a", "audit_id": "x", "after": -1}, "after", "a"),
        ({"type": "auth", "key": "x"}, "type: auth again", None),
    ],
)
def test_a_bad_frame_names_its_field(usher: World, frame: dict[str, Any], named: str, id: str | None) -> None:
    """And the socket stays open."""

    async def bad(client: Client) -> None:
        client.text(json.dumps(frame))
        error = await client.next()
        assert (error["code"], error["id"]) == ("bad_frame", id)
        assert named in error["message"]
        client.ask()
        assert (await client.end())["outcome"] == "answered"

    talk(usher, bad)


def test_a_bad_frame_is_not_the_end_of_a_question(usher: World, model: ScriptedModel) -> None:
    """Although it has the id of one in flight."""
    model.steps = ["It goes silent. ", SILENCE]

    async def bad(client: Client) -> None:
        client.ask()
        await client.until("delta")
        client.text('{"type": "cancel", "id": "q", "now": true}')
        assert (await client.next())["id"] is None

    talk(usher, bad)


def test_only_so_many_bad_frames_are_borne(usher: World) -> None:
    """Then the socket is closed."""

    async def bad(client: Client) -> None:
        for _ in range(MAX_BAD_FRAMES):
            client.text("{}")
        assert await client.over() == 1007
        assert client.got[-1]["code"] == "too_many_bad_frames"

    talk(usher, bad)


@pytest.mark.parametrize("text", ["", "hello", "[]", '"ask"', "{", "[" * 60_000, '{"type":"ask","id":"\\ud800"}'])
def test_what_is_no_json_object_closes_the_socket(usher: World, text: str) -> None:
    """Whoever sends it speaks something else."""

    async def other(client: Client) -> None:
        client.text(text)
        assert await client.over() == 1007

    talk(usher, other)


def test_a_binary_frame_closes_the_socket(usher: World) -> None:
    """Also one that holds JSON."""

    async def binary(client: Client) -> None:
        client.to_app.put_nowait({"type": "websocket.receive", "bytes": b'{"type": "cancel", "id": "q"}'})
        assert await client.over() == 1007

    talk(usher, binary)


def test_the_frames_have_a_schema_that_is_served(usher: World) -> None:
    """To everybody; and `ready` tells its version."""
    served = usher.ask("GET", "/schema/ws-chat-v1.json", None)
    assert served.json() == ws_frames.schema()
    assert served.headers["content-type"].startswith("application/schema+json")
    frames = served.json()["$defs"]
    assert set(frames["client"]["discriminator"]["mapping"]) == {"auth", "ask", "cancel", "resume"}
    assert set(frames["server"]["discriminator"]["mapping"]) == {"ready", "route", "sources", "delta", "done", "error"}

    async def ready(client: Client) -> None:
        assert client.got[0]["version"] == ws_frames.VERSION

    talk(usher, ready)


def test_limits_of_a_person_are_told_in_frames(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers at once, over all their sockets; requests a minute; and sockets."""

    async def full() -> None:
        limits = usher.services.limits
        held = [limits.stream("bob") for _ in range(usher.services.settings.streams)]
        async with chatting(usher) as client:
            client.ask()
            refused = await client.end()
            assert (refused["code"], refused["retry_after"]) == ("streams_exceeded", 5)
        for one in held:
            one.release()
        held = [limits.socket("bob") for _ in range(usher.services.settings.sockets)]
        async with connected(usher) as client:
            client.say("auth", key=usher.keys["bob"])
            assert await client.over() == 4429
            assert client.got[-1]["code"] == "sockets_exceeded"
        for one in held:
            one.release()

    usher.run(full())
