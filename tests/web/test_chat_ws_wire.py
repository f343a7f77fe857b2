"""`/ws/chat` on real connections, with a client that other people wrote."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from tests.web.chat_kit import QUESTION, ScriptedModel
from tests.web.world import OPERATOR, World, world
from tests.web.ws_kit import Frame, validator
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed

from usher.server import Listener, public_config
from usher.web import ws_line

MODEL = ScriptedModel()
PATIENCE = 30
PIECE = ("A" + "h" * 1000 + ". ") * 64
"""64 KB: a few of them fill what a connection holds for a client that does not read."""


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("wire"), model=MODEL) as made:
        yield made


@asynccontextmanager
async def serving(usher: World) -> AsyncIterator[Path]:
    """The path of the socket that a listener has, with the app of this world behind it."""
    path = usher.folder / "ws.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listener = Listener(public_config(usher.app, usher.services.settings))
        task = await listener.begin(listening)
        try:
            yield path
        finally:
            listener.should_exit = True
            await task


@asynccontextmanager
async def chatting(path: Path, key: str) -> AsyncIterator[ClientConnection]:
    async with unix_connect(str(path), "ws://usher/ws/chat", compression=None, max_queue=1) as connection:
        await say(connection, "auth", key=key)
        assert (await heard(connection))["type"] == "ready"
        yield connection


async def say(connection: ClientConnection, type: str, **members: Any) -> None:
    await connection.send(json.dumps({"type": type, **members}))


async def heard(connection: ClientConnection, *types: str) -> Frame:
    """The next frame, of one of these types if there are any."""
    async with asyncio.timeout(PATIENCE):
        while True:
            frame = cast(Frame, json.loads(await connection.recv()))
            validator("server").validate(frame)
            if not types or frame["type"] in types:
                return frame


async def outcome(usher: World) -> str:
    """Of the newest exchange, once it has one."""
    async with asyncio.timeout(PATIENCE):
        while (event := usher.newest()[-1])["type"] != "answer":  # noqa: ASYNC110  # it is a file that is watched
            await asyncio.sleep(0.01)
    return str(event["outcome"])


def test_a_reader_that_does_not_read_is_told_why_it_was_cut_off(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close with its reason stands behind what it had not taken; its answer is cancelled meanwhile."""
    monkeypatch.setattr(ws_line, "SEND_SECONDS", 0.3)
    MODEL.steps = [step for _ in range(100) for step in (PIECE, 0.06)]

    async def work() -> None:
        async with serving(usher) as path, chatting(path, usher.keys["bob"]) as slow:
            await say(slow, "ask", id="q", question=QUESTION)
            await heard(slow, "delta")
            assert await outcome(usher) == "cancelled"
            with pytest.raises(ConnectionClosed) as closed:
                await heard(slow, "done")
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4408, "slow_reader")

    usher.run(work())


def test_a_lost_connection_and_a_closed_one_are_told_apart(usher: World) -> None:
    """What broke is taken up again; what was closed, with a code or without one, has ended."""

    async def work() -> None:
        go = asyncio.Event()
        MODEL.steps = ["The first words are here. ", go.wait, "The rest."]
        async with serving(usher) as path:
            async with chatting(path, usher.keys["bob"]) as broken:
                await say(broken, "ask", id="q", question=QUESTION)
                first = await heard(broken, "delta")
                broken.transport.abort()
            async with chatting(path, usher.keys["bob"]) as again:
                await say(again, "resume", id="again", audit_id=first["audit_id"], after=1)
                go.set()
                assert (await heard(again, "done", "error"))["outcome"] == "answered"
            for code in (1000, 1001, 1005):
                MODEL.steps = ["The first words are here. ", 30.0]
                async with chatting(path, usher.keys["bob"]) as left:
                    await say(left, "ask", id="q", question=QUESTION)
                    await heard(left, "delta")
                    if code == 1005:
                        left.protocol.send_close()
                        left.transport.write(b"".join(left.protocol.data_to_send()))
                    else:
                        await left.close(code)
                    assert await outcome(usher) == "cancelled"

    usher.run(work())


def test_a_revoked_key_closes_a_real_socket(usher: World) -> None:
    """With the code and the reason."""

    async def work() -> None:
        await usher.add("jo", ["staff"])
        async with serving(usher) as path, chatting(path, usher.keys["jo"]) as connection:
            await usher.services.people.revoke_key(usher.key_ids["jo"], OPERATOR)
            assert (await heard(connection))["code"] == "key_revoked"
            with pytest.raises(ConnectionClosed) as closed:
                await heard(connection)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4401, "key_revoked")

    usher.run(work())
