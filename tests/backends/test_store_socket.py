"""One embedded store for several servers over a Unix socket: what clients may do to each other, and its end and return.
The contract of the port is in `test_store_contract`."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.backends.store_kit import ASKED, IDENTITY, chunks, point, vector

from usher.backends import store_socket, store_socket_server
from usher.backends.index_identity import IndexRefused
from usher.backends.store_edge import EdgeStore
from usher.backends.store_edge_line import message
from usher.backends.store_edge_wire import HEADER, CountCall, frame, reply_from
from usher.backends.store_socket import LONGEST, PROTOCOL, Hello, SocketStore
from usher.backends.store_socket_server import StoreServer, serving
from usher.errors import UserError
from usher.ports import StoreBatch, StoreUnavailable

pytestmark = pytest.mark.slow

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def edge(loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeStore]:
    """One open index with one point, whoever serves it."""
    store = loop.run(EdgeStore.open(tmp_path_factory.mktemp("edge"), IDENTITY))
    loop.run(store.write(StoreBatch(upsert=[point(1, 1)])))
    yield store
    loop.run(store.close())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "socket"


Served = Callable[[Callable[[StoreServer], Awaitable[None]]], None]


@pytest.fixture
def served(loop: asyncio.Runner, edge: EdgeStore, place: Path) -> Served:
    """Runs a story while the index is served at `place`."""

    def run(story: Callable[[StoreServer], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with serving(edge, IDENTITY, place) as server:
                await story(server)

        loop.run(whole())

    return run


async def said_hello(place: Path, protocol: int = PROTOCOL) -> Streams:
    """Connected by hand, the store's first answer read."""
    reader, writer = await asyncio.open_unix_connection(str(place))
    body = msgspec.msgpack.encode(Hello(protocol, IDENTITY.record()))
    writer.write(HEADER.pack(len(body)) + body)
    assert reply_from(await message(reader)).error is None
    return reader, writer


async def closed(streams: Streams) -> bool:
    """The store has closed the connection."""
    reader, writer = streams
    async with asyncio.timeout(5):
        while await reader.read(65536):
            pass
    writer.close()
    return True


def test_what_one_client_writes_the_others_find(served: Served, place: Path) -> None:
    """At once, and each gets the answers to its own calls, though they number them alike."""

    async def story(_: StoreServer) -> None:
        one, other = await SocketStore.open(place, IDENTITY), await SocketStore.open(place, IDENTITY)
        await one.write(StoreBatch(upsert=[point(n, 2) for n in range(100, 110)]))
        asked = [store.search([cls], vector(1), ASKED, 20) for cls in (1, 2) for store in (one, other)]
        found = [chunks(each) for each in await asyncio.gather(*asked)]
        assert found == [{1}, {1}, set(range(100, 110)), set(range(100, 110))]
        await other.write(StoreBatch(delete=[point(n, 2).chunk for n in range(100, 110)]))
        assert await one.count() == 1
        await one.close()
        await other.close()

    served(story)


def test_the_socket_is_its_users_alone_and_gone_at_the_end(served: Served, place: Path) -> None:
    """Whoever may connect may read and write everything."""

    modes = []

    async def story(_: StoreServer) -> None:
        modes.append(os.stat(place).st_mode)  # noqa: PTH116 - one call, of a local socket

    served(story)
    assert stat.S_IMODE(modes[0]) == 0o600
    assert not place.exists()


def test_a_message_that_is_too_long_or_no_message_ends_its_own_connection_only(served: Served, place: Path) -> None:
    """It is not read, so it takes no memory; the index and the other clients go on."""

    async def story(_: StoreServer) -> None:
        good = await SocketStore.open(place, IDENTITY)
        too_long = HEADER.pack(LONGEST + 1)
        for bytes_ in (too_long, HEADER.pack(3) + b"\xc1\xc1\xc1", frame(CountCall(1))[:5]):
            streams = await said_hello(place)
            streams[1].write(bytes_)
            if bytes_ != too_long:  # for which it does not wait
                streams[1].write_eof()
            assert await closed(streams)
        reader, writer = await asyncio.open_unix_connection(str(place))
        writer.write(frame(CountCall(1)))  # without a word of who it is
        assert await closed((reader, writer))
        assert await good.count() == 1
        await good.close()

    served(story)


def test_a_client_that_does_not_read_is_asked_for_no_more(served: Served, place: Path) -> None:
    """As one that is stopped in the middle: its calls under way are bounded, and the others are answered."""

    async def story(server: StoreServer) -> None:
        streams = await said_hello(place)
        streams[1].transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        for n in range(1, 200_001):
            streams[1].write(frame(CountCall(n)))
        good = await SocketStore.open(place, IDENTITY)
        for _ in range(20):
            assert await good.count() == 1
            assert server.under_way <= store_socket_server.OUTSTANDING
        await good.close()
        streams[1].transport.abort()

    served(story)


def test_a_client_of_another_model_or_release_is_refused_with_the_reason(
    served: Served, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its start, and as often as it tries."""

    async def story(_: StoreServer) -> None:
        with pytest.raises(IndexRefused, match="model-b"):
            await SocketStore.open(place, dataclasses.replace(IDENTITY, model="model-b"))
        monkeypatch.setattr(store_socket, "PROTOCOL", PROTOCOL + 1)
        with pytest.raises(IndexRefused, match="same release"):
            await SocketStore.open(place, IDENTITY)

    served(story)


def test_a_store_that_went_away_denies_until_it_is_back(
    loop: asyncio.Runner, edge: EdgeStore, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls raise `StoreUnavailable`, many at once after one attempt; then the same client is served again."""
    attempts = 0
    connect = asyncio.open_unix_connection

    async def counted(address: str) -> Streams:
        nonlocal attempts
        attempts += 1
        return await connect(address)

    monkeypatch.setattr(asyncio, "open_unix_connection", counted)

    async def story() -> None:
        async with serving(edge, IDENTITY, place):
            store = await SocketStore.open(place, IDENTITY)
            assert await store.count() == 1
        with pytest.raises(StoreUnavailable):
            await store.count()
        asked = [asyncio.create_task(store.count()) for _ in range(5)]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(outcome, StoreUnavailable)
            assert "usher store" in str(outcome)
        assert attempts <= 3
        async with serving(edge, IDENTITY, place):
            assert await store.count() == 1
        await store.close()
        with pytest.raises(StoreUnavailable, match="is closed"):
            await store.count()

    loop.run(story())


def test_a_server_that_starts_before_its_store_waits_for_it(loop: asyncio.Runner, edge: EdgeStore, place: Path) -> None:
    """For a bounded time."""

    async def story() -> None:
        with pytest.raises(StoreUnavailable):
            await SocketStore.open(place, IDENTITY, patience=0)
        starting = asyncio.create_task(SocketStore.open(place, IDENTITY))
        await asyncio.sleep(0.05)
        async with serving(edge, IDENTITY, place):
            store = await starting
            assert await store.count() == 1
            await store.close()

    loop.run(story())


def test_what_is_under_way_when_the_store_stops_is_answered(served: Served, place: Path) -> None:
    """A write that was sent is durable and acknowledged."""
    opened: list[SocketStore] = []
    writing: list[asyncio.Task[None]] = []

    async def story(server: StoreServer) -> None:
        opened.append(await SocketStore.open(place, IDENTITY))
        writing.append(asyncio.create_task(opened[0].write(StoreBatch(upsert=[point(1, 1)]))))
        async with asyncio.timeout(5):
            while not server.under_way:  # noqa: ASYNC110 - the server tells nobody when a call comes in
                await asyncio.sleep(0)

    async def then() -> None:
        await writing[0]
        await opened[0].close()

    served(story)
    served(lambda _: then())


def test_a_place_that_is_taken_is_refused_and_a_dead_ones_is_not(
    loop: asyncio.Runner, edge: EdgeStore, served: Served, place: Path
) -> None:
    """A file that is no socket is never removed."""

    async def story(_: StoreServer) -> None:
        with pytest.raises(UserError, match="served by another process"):
            async with serving(edge, IDENTITY, place):
                pass

    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(place))
    served(story)
    place.write_text("mine")
    with pytest.raises(UserError, match="no socket"):
        served(story)
    assert place.read_text() == "mine"
