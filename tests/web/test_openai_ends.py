"""How an answer ends that nobody takes to its end: by its own record, at once, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from litestar.exceptions import LitestarException
from tests.web.chat_kit import PATH, QUESTION, ScriptedModel, chat_scope
from tests.web.world import World, world

from usher import send_limit
from usher.core.history import Asked
from usher.ports import Delta, ModelRequest
from usher.server import Listener, operator_config

MODEL = ScriptedModel()
BODY = json.dumps({"model": "assistant", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}).encode()

Send = Callable[[dict[str, Any]], Awaitable[None]]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ends"), model=MODEL) as made:
        yield made


@pytest.fixture(autouse=True)
def no_collector(usher: World) -> Iterator[None]:
    """What only the garbage collector would end stays open here."""
    MODEL.steps = ("Some words that were shown. ", 0.06, "More of them. ", 30.0)
    usher.services.chat._draining = False
    gc.disable()
    yield
    gc.enable()


def ends(usher: World) -> list[str]:
    return [event["outcome"] for event in usher.newest() if event["type"] == "answer"]


async def asked(usher: World, send: Send) -> None:
    """One streamed request, whose client is still there, over ASGI with a `send` of the test's."""
    waiting, whole = [{"type": "http.request", "body": BODY, "more_body": False}], asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not waiting:
            await whole.wait()
            return {"type": "http.disconnect"}
        return waiting.pop()

    async def sending(message: dict[str, Any]) -> None:
        await send(message)
        if message["type"] == "http.response.body" and not message["more_body"]:
            whole.set()

    async with asyncio.timeout(5):
        await cast(Any, usher.app)(chat_scope(usher.bearer("bob")), receive, sending)


@pytest.mark.parametrize("at", ["http.response.start", "http.response.body"])
def test_a_send_that_fails_ends_the_exchange(usher: World, at: str) -> None:
    """Recorded as cancelled when the request is over, and the model is stopped."""

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == at:
            raise OSError("the connection is gone")

    async def work() -> None:
        with pytest.raises((LitestarException, ExceptionGroup)):
            await asked(usher, send)
        assert ends(usher) == ["cancelled"]

    usher.run(work())
    assert MODEL.aborted


def test_a_request_cancelled_while_it_sends_ends_the_exchange(usher: World) -> None:
    """As a server does it to what has not ended some seconds after its stop."""
    stuck = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if b"words" in message.get("body", b""):
            stuck.set()
            await asyncio.Event().wait()

    async def work() -> None:
        request = asyncio.create_task(asked(usher, send))
        await stuck.wait()
        request.cancel()
        await asyncio.wait({request})
        assert request.cancelled()
        assert ends(usher) == ["cancelled"]

    usher.run(work())
    assert MODEL.aborted


def test_a_stop_ends_what_waits_for_its_client(usher: World) -> None:
    """`drain` returns when each exchange's end is recorded, also of one whose client does not read; and nothing more
    is recorded or shown of it after."""
    stuck, go, shown = asyncio.Event(), asyncio.Event(), []

    async def send(message: dict[str, Any]) -> None:
        shown.append(message.get("body", b""))
        if b"words" in shown[-1]:
            stuck.set()
            await go.wait()

    async def work() -> None:
        request = asyncio.create_task(asked(usher, send))
        await stuck.wait()
        await usher.services.chat.drain()
        assert ends(usher) == ["cancelled"]
        go.set()
        await request

    usher.run(work())
    assert ends(usher) == ["cancelled"]
    assert not any(b"More" in body for body in shown)


def test_a_stop_ends_what_nobody_began_to_take(usher: World) -> None:
    """An exchange whose answer was never asked for has its end as well."""

    async def work() -> None:
        chat, authority = usher.services.chat, usher.services.authority
        grant = await authority.admit(usher.keys["bob"])
        assert grant is not None
        await chat.begin(grant, Asked(QUESTION), 100, 0.0)
        assert ends(usher) == []
        await chat.drain()
        assert ends(usher) == ["cancelled"]

    usher.run(work())


class Torrent(ScriptedModel):
    """More than any buffer takes."""

    began = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        self.began.set()
        for _ in range(100):
            yield Delta(("w" * 99 + " ") * 300)
            await asyncio.sleep(0.001)


def test_a_client_that_does_not_read_is_dropped(tmp_path: Path, usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection ends after a time without progress, and the exchange with it."""
    monkeypatch.setattr(send_limit, "SEND_SECONDS", 0.2)
    model = Torrent()
    monkeypatch.setattr(usher.services.chat, "_model", model)

    async def work() -> None:
        with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as client:
            sock.bind(str(tmp_path / "s"))
            listener = Listener(operator_config(usher.app))
            serving = await listener.begin(sock)
            client.connect(str(tmp_path / "s"))
            client.sendall(_request(usher))
            async with asyncio.timeout(10):
                await model.began.wait()
                (exchange,) = usher.services.chat._open.values()
                await exchange.ended.wait()
            assert ends(usher) == ["cancelled"]
            assert not listener.server_state.connections
            listener.should_exit = True
            await serving

    usher.run(work())


def _request(usher: World) -> bytes:
    headers = {"host": "usher", "content-type": "application/json", "content-length": str(len(BODY))}
    lines = [f"{name}: {value}" for name, value in (headers | usher.bearer("bob")).items()]
    return "\r\n".join([f"POST {PATH} HTTP/1.1", *lines, "", ""]).encode() + BODY
