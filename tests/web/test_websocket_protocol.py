"""What a client of a WebSocket may send, leave unread and keep open; over a socket, with a small app behind it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from usher import connections, send_limit, websocket_protocol
from usher.server import Listener, public_config
from usher.settings import read_settings
from usher.websocket_protocol import LARGEST_MESSAGE, MOST_FRAGMENTS

CONT, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10
HEAD = (
    b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
Asgi = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Echo:
    """Says again what it is told; `hello` proves who it is, `flood` is answered without end."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.got: list[str] = []

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self.got.append(message["text"])
                if message["text"] == "hello":
                    scope["state"]["grant"] = "anybody's"
                while message["text"] == "flood":
                    await send({"type": "websocket.send", "text": "a" * 32_768})
                await send({"type": "websocket.send", "text": message["text"]})
        except OSError:
            self.ends.append("cut off")
        else:
            self.ends.append(str(message.get("code")))


class Client:
    """The other end, which does only what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, opcode: int, payload: bytes = b"", fin: bool = True) -> None:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack("!H", size)
        if size > 65_535:
            length = bytes([0x80 | 127]) + struct.pack("!Q", size)
        self.writer.write(bytes([opcode | (0x80 if fin else 0)]) + length + bytes(4) + payload)

    async def receive(self) -> tuple[int, bytes]:
        """The next frame; `CLOSE` without a code where the connection just ends."""
        try:
            first, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            return first & 15, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return CLOSE, b""

    async def closed(self) -> int:
        """The code that it is closed with, whatever comes before; 0 without one."""
        while (frame := await self.receive())[0] != CLOSE:
            pass
        return struct.unpack("!H", frame[1][:2])[0] if frame[1] else 0

    async def says(self, text: str) -> str:
        self.send(TEXT, text.encode())
        return (await self.receive())[1].decode()


class Place:
    """A listener, and clients of it."""

    def __init__(self, path: str, app: Echo, listener: Listener) -> None:
        self.path, self.app, self.listener = path, app, listener
        self.clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(self.path))
        self.clients.append(client)
        client.writer.write(HEAD)
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return client

    @property
    def connections(self) -> list[Any]:
        return list(self.listener.server_state.connections)


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Place]:
    app = Echo()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "s"))
        listener = Listener(public_config(cast(Any, app), read_settings(home=folder)))
        serving = await listener.begin(sock)
        place = Place(str(folder / "s"), app, listener)
        async with asyncio.timeout(20):
            yield place
            for client in place.clients:
                client.writer.transport.abort()
            listener.should_exit = True
            await serving


def test_a_message_has_a_largest_size(tmp_path: Path) -> None:
    """Refused from its length on, before it is there; also in fragments."""

    async def work() -> None:
        async with listening(tmp_path) as place:
            client = await place.client()
            assert await client.says("a" * 1_000) == "a" * 1_000
            client.writer.write(bytes([0x81, 0xFF]) + struct.pack("!Q", LARGEST_MESSAGE + 1))
            assert await client.closed() == 1009
            client = await place.client()
            client.send(TEXT, b"a" * 40_000, fin=False)
            client.send(CONT, b"a" * 40_000)
            assert await client.closed() == 1009
            assert place.app.got == ["a" * 1_000]

    asyncio.run(work())


def test_fragments_have_a_number(tmp_path: Path) -> None:
    """Empty ones take memory too."""

    async def work() -> None:
        async with listening(tmp_path) as place:
            client = await place.client()
            client.send(TEXT, b"", fin=False)
            for _ in range(MOST_FRAGMENTS):
                client.send(CONT, b"", fin=False)
            assert await client.closed() == 1009

    asyncio.run(work())


@pytest.mark.parametrize(("opcode", "payload"), [(PING, b""), (TEXT, b"x"), (PONG, b"")], ids=["ping", "text", "pong"])
def test_frames_have_a_rate(tmp_path: Path, opcode: int, payload: bytes) -> None:
    """A burst is fine; a flood is closed with 1008, and little of it was taken in."""

    async def work() -> None:
        async with listening(tmp_path) as place:
            client, other = await place.client(), await place.client()
            for _ in range(90):
                client.send(opcode, payload)
            await client.writer.drain()
            assert await other.says("one") == "one"
            for _ in range(20_000):
                client.send(opcode, payload)
            assert await client.closed() in (1008, 0)  # 0: cut off while it still sent
            assert await other.says("two") == "two"
            assert len(place.app.got) <= 102

    asyncio.run(work())


def test_who_pings_and_does_not_read_gets_no_pongs(tmp_path: Path) -> None:
    """They would pile up beside what it does not read already."""

    async def work() -> None:
        async with listening(tmp_path) as place:
            client = await place.client()
            client.send(TEXT, b"flood")
            await blocked(place)
            (connection,) = place.connections
            before = connection.transport.get_write_buffer_size()
            for _ in range(90):
                client.send(PING, b"a" * 125)
            await asyncio.sleep(0.05)
            assert connection.transport.get_write_buffer_size() == before

    asyncio.run(work())


async def blocked(place: Place) -> None:
    """Until the app waits for a client to read."""
    while all(c.writable.is_set() for c in place.connections):  # noqa: ASYNC110  # only an event for the opposite
        await asyncio.sleep(0.005)


def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time without progress; what waits for it is bounded, and others are served meanwhile."""
    monkeypatch.setattr(send_limit, "SEND_SECONDS", 0.2)

    async def work() -> None:
        async with listening(tmp_path) as place:
            stalled, other = await place.client(), await place.client()
            stalled.send(TEXT, b"flood")
            await blocked(place)
            assert max(c.transport.get_write_buffer_size() for c in place.connections) < 200_000
            assert await other.says("still here") == "still here"
            while len(place.connections) > 1:  # noqa: ASYNC110  # a set without an event
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            assert place.app.ends == ["cut off"]
            assert await other.says("and now") == "and now"

    asyncio.run(work())


def test_the_oldest_socket_that_has_not_shown_whose_it_is_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told so, when others come; one that has stays."""
    monkeypatch.setattr(connections, "MOST_STRANGERS", 2)

    async def work() -> None:
        async with listening(tmp_path) as place:
            known, silent = await place.client(), await place.client()
            assert await known.says("hello") == "hello"
            later = [await place.client() for _ in range(2)]
            assert await silent.closed() == 1013
            assert await known.says("still") == "still"
            assert await later[1].says("new") == "new"

    asyncio.run(work())


def test_a_silent_client_is_pinged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pong keeps it; without one it ends."""
    quick = {**websocket_protocol.OPTIONS, "ws_ping_interval": 0.05, "ws_ping_timeout": 0.1}
    monkeypatch.setattr("usher.server.OPTIONS", quick)

    async def work() -> None:
        async with listening(tmp_path) as place:
            client = await place.client()
            opcode, payload = await client.receive()
            assert opcode == PING
            client.send(PONG, payload)
            assert (await client.receive())[0] == PING
            assert await client.closed() == 1011

    asyncio.run(work())
