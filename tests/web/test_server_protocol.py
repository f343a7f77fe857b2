"""What a connection may send before anybody knows whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn

from usher import connections, protocol, server
from usher.connections import Connections
from usher.protocol import LARGEST_HEAD, LEAST_BODY, MOST_HEADERS, Protocol
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

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> None:
        return None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class App:
    """Reads a request and answers 200; `bodies` are the lengths of what it read."""

    def __init__(self, admit: bool = False) -> None:
        self.bodies: list[int] = []
        self.admit = admit

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if self.admit:
            scope["state"]["grant"] = "anybody's"
        read = 0
        while True:
            message = await receive()
            read += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        self.bodies.append(read)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


class Stuck(App):
    """Takes nothing of the body."""

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await asyncio.sleep(10)


class Hasty(App):
    """Answers before it has read the body."""

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def connected(app: App, among: Connections | None = None) -> tuple[Wire, Protocol]:
    """A connection and its transport."""
    config = uvicorn.Config(app, http=Protocol, lifespan="off", ws="none", log_config=None)
    config.load()
    wire, connection = Wire(), Protocol(config, among or Connections(), {})
    connection.connection_made(cast(asyncio.Transport, wire))
    return wire, connection


def told(*parts: bytes, wait: float = 0, app: App | None = None) -> Wire:
    """What becomes of a connection that sends these parts."""

    async def converse() -> Wire:
        wire, connection = connected(app or App())
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


def test_bytes_that_begin_no_request_win_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line ends between requests are no sign of life."""
    monkeypatch.setattr(protocol, "SLOWEST_HEAD", 0.01)
    assert b"HTTP/1.1 408 " in told(GET + b"\r\n", b"\r\n", wait=0.05).sent


def test_a_body_has_a_least_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes too slowly is answered 408, and the app reads no more of it."""
    monkeypatch.setattr(protocol, "SLOWEST_BODY", 0.01)
    app = App()
    wire = told(POST + b"content-length: 200000\r\n\r\n", b"a" * 1_000, wait=0.05, app=app)
    assert wire.sent.startswith(b"HTTP/1.1 408 ")
    assert wire.closed
    assert not app.bodies
    whole = told(POST + b"content-length: 3\r\n\r\nabc", wait=0.05)
    assert whole.sent.startswith(b"HTTP/1.1 200 ")
    assert not whole.closed


def looked_at(*parts: bytes, app: App) -> Wire:
    """What becomes of a connection whose pace is looked at after each of these parts of a long body."""

    async def converse() -> Wire:
        wire, connection = connected(app)
        connection.data_received(POST + b"content-length: 10000000\r\n\r\n")
        for part in parts:
            connection.data_received(part)
            await asyncio.sleep(0.01)
            connection._look_at_pace()
        return copy(wire)

    return asyncio.run(converse())


def test_a_body_at_a_fair_pace_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that is; each stretch of time must bring its part."""
    monkeypatch.setattr(protocol, "LEAST_BODY", 100)
    assert not looked_at(*[b"a" * 100] * 20, app=App()).closed
    assert looked_at(*[b"a" * 100] * 20, b"a" * 99, app=App()).closed


def test_a_body_that_the_app_does_not_take_may_wait() -> None:
    """The client is not to blame."""
    assert not looked_at(b"a" * 100_000, b"", b"", app=Stuck()).closed


def test_a_body_after_its_answer_is_cut() -> None:
    """Nobody reads it, whatever its pace; and its client is answered once."""
    wire = looked_at(b"a" * LEAST_BODY, app=Hasty())
    assert wire.closed
    assert wire.sent.count(b"HTTP/1.1 ") == 1


def test_the_oldest_stranger_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has had a request admitted stays; a body that never ends is no request yet."""
    monkeypatch.setattr(connections, "MOST_STRANGERS", 3)

    async def converse() -> list[bool]:
        among, app = Connections(), App(admit=True)
        guests = []
        for sends in (GET + b"\r\n", POST + b"content-length: 9\r\n\r\nabc", GET, b""):
            guests.append(connected(app, among))
            guests[-1][1].data_received(sends)
            await asyncio.sleep(0.01)
        for _ in range(2):
            connected(app, among)
        return [wire.closed for wire, _ in guests]

    assert asyncio.run(converse()) == [False, True, True, False]


def test_a_full_house_takes_no_more() -> None:
    """Where all are known, it is the newest that is turned away; a stranger goes before that."""

    async def converse() -> list[bool]:
        among, app = Connections(), App(admit=True)
        among.most = 2
        guests = [connected(app, among)]
        guests[0][1].data_received(GET + b"\r\n")
        await asyncio.sleep(0.01)
        guests += [connected(app, among) for _ in range(2)]
        first = [wire.closed for wire, _ in guests]
        guests[1][1].connection_lost(None)
        guests[2][1].data_received(GET + b"\r\n")
        await asyncio.sleep(0.01)
        guests.append(connected(app, among))
        return first + [wire.closed for wire, _ in guests[2:]]

    assert asyncio.run(converse()) == [False, True, False, False, True]


def test_both_listeners_have_the_limits(tmp_path: Path) -> None:
    """Of heads and bodies, and of connections."""
    app, settings = cast(Any, App()), read_settings(home=tmp_path)
    assert isinstance(server.Listener(server.public_config(app, settings)).server_state, Connections)
    assert issubclass(cast(type, server.public_config(app, settings).http), Protocol)
    assert issubclass(cast(type, server.operator_config(app).http), Protocol)
