"""What a connection may send before anybody knows whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from usher import protocol, server
from usher.protocol import LARGEST_HEAD, MOST_HEADERS, Protocol
from usher.settings import read_settings

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\n"


class Wire:
    """The transport of one connection, in memory."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> None:
        return None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class App:
    """Reads a request and answers 200; `bodies` are the lengths of what it read."""

    def __init__(self) -> None:
        self.bodies: list[int] = []

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        read = 0
        while True:
            message = await receive()
            read += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        self.bodies.append(read)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def told(*parts: bytes, wait: float = 0, app: App | None = None) -> Wire:
    """What becomes of a connection that sends these parts."""

    async def converse() -> Wire:
        config = uvicorn.Config(app or App(), http=Protocol, lifespan="off", ws="none", log_config=None)
        config.load()
        wire, connection = Wire(), Protocol(config, ServerState(), {})
        connection.connection_made(cast(asyncio.Transport, wire))
        for part in parts:
            connection.data_received(part)
            await asyncio.sleep(0)
        await asyncio.sleep(wait)
        for _ in range(10):
            await asyncio.sleep(0)
        return copy(wire)  # the end of the loop closes it too

    return asyncio.run(converse())


@pytest.mark.parametrize(
    "head",
    [
        [GET, *[b"x-%d: %s\r\n" % (n, b"a" * 1_000) for n in range(100)]],
        [GET + b"x: ", *[b"a" * 1_000] * 100],
        [b"GET /?q=", *[b"a" * 1_000] * 100],
        [GET + b"x: " + b"a" * LARGEST_HEAD + b"\r\n\r\n"],
    ],
    ids=["many headers", "one header", "the address", "at once"],
)
def test_a_head_has_a_largest_size(head: list[bytes]) -> None:
    """Whatever it is made of, and however it comes, it is refused and the connection closed."""
    wire = told(*head)
    assert wire.sent.startswith(b"HTTP/1.1 431 ")
    assert wire.closed


def test_headers_have_a_largest_number() -> None:
    """Short ones cost more memory than they have bytes."""
    wire = told(GET + b"x:\r\n" * MOST_HEADERS + b"\r\n")
    assert wire.sent.startswith(b"HTTP/1.1 400 ")
    assert wire.closed


def test_a_trailer_has_a_largest_size() -> None:
    """What comes after the chunks of a body is kept as headers are."""
    head = POST + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    assert told(head, *[b"x-trailer: " + b"a" * 1_000 + b"\r\n"] * 100).closed


def test_a_large_body_is_no_head() -> None:
    """Neither at once nor in small parts, nor do many small requests on one connection add up."""
    body = b"a" * 3 * LARGEST_HEAD
    head = POST + b"content-length: %d\r\n\r\n" % len(body)
    for parts in ([head + body], [head, *[body[at : at + 999] for at in range(0, len(body), 999)]]):
        app = App()
        wire = told(*parts, app=app)
        assert wire.sent.startswith(b"HTTP/1.1 200 ")
        assert app.bodies == [len(body)]
    many = told(*[GET + b"x: " + b"a" * 10_000 + b"\r\n\r\n"] * 10)
    assert many.sent.count(b"HTTP/1.1 200 ") == 10
    assert not many.closed


def test_a_head_has_a_longest_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the second of a connection, and one that never begins."""
    monkeypatch.setattr(protocol, "SLOWEST_HEAD", 0.01)
    assert told(GET, wait=0.05).sent.startswith(b"HTTP/1.1 408 ")
    assert told(wait=0.05).closed
    assert b"HTTP/1.1 408 " in told(GET + b"\r\n", b"", GET, wait=0.05).sent
    assert not told(GET + b"\r\n", wait=0.05).closed


def test_the_public_port_has_a_limit_of_connections(tmp_path: Path) -> None:
    """Both listeners limit heads; only the public one is open to strangers."""
    app, settings = cast(Any, App()), read_settings(home=tmp_path)
    assert server.public_config(app, settings).limit_concurrency == server.MOST_CONNECTIONS
    assert issubclass(cast(type, server.public_config(app, settings).http), Protocol)
    assert issubclass(cast(type, server.operator_config(app).http), Protocol)
