"""What a shared store's socket meets that is no client or store of this release: each denies, and holds nobody up."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from tests.backends.store_kit import ASKED, IDENTITY, chunks, point, vector

from usher.backends import store_edge_line, store_socket
from usher.backends.store_edge import EdgeStore
from usher.backends.store_edge_line import message
from usher.backends.store_edge_wire import HEADER, READY, Reply, WirePoint, WriteCall, frame, reply_from
from usher.backends.store_socket import PROTOCOL, Hello, SocketStore
from usher.backends.store_socket_server import serving
from usher.ports import StoreBatch, StoreUnavailable

OTHER_USER = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.bind(sys.argv[1])
    os.setuid(65534)  # whoever listens is whom a client sees
    sock.listen()
    print("ready", flush=True)
    with sock.accept()[0] as connection:
        sys.stdout.buffer.write(connection.recv(4096))
"""


@pytest.mark.slow
def test_an_access_class_that_no_search_could_name_is_not_written(tmp_path: Path) -> None:
    """Neither with a point nor by a move: everybody's next search would fail by it, also after a restart."""

    async def story() -> None:
        edge = await EdgeStore.open(tmp_path / "edge", IDENTITY)
        await edge.write(StoreBatch(upsert=[point(1, 1)]))
        async with serving(edge, IDENTITY, tmp_path / "socket"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
            body = msgspec.msgpack.encode(Hello(PROTOCOL, IDENTITY.record()))
            writer.write(HEADER.pack(len(body)) + body)
            assert reply_from(await message(reader)).error is None
            one = WirePoint.of(point(1, 1))
            for wrong in (-1, 2**32, 2**62):
                added = msgspec.structs.replace(one, chunk=uuid4(), access_class=wrong)
                for call in (WriteCall(1, [], [added], [], True), WriteCall(1, [], [], [([one.chunk], wrong)], True)):
                    writer.write(frame(call))
                    assert (reply_from(await message(reader)).error or ("",))[0] == "ValueError"
            good = await SocketStore.open(tmp_path / "socket", IDENTITY)
            assert chunks(await good.search([1], vector(1), ASKED, 20)) == {1}
            await good.close()
            writer.close()
        await edge.close()

    asyncio.run(story())


async def _welcome(reader: StreamReader, writer: StreamWriter) -> None:
    await message(reader)
    writer.write(frame(Reply(READY)))


def test_an_answer_that_is_none_denies_at_once(tmp_path: Path) -> None:
    """Whoever asked, and whoever waits beside them; the next one is answered by a new connection."""

    async def garbage(reader: StreamReader, writer: StreamWriter) -> None:
        await _welcome(reader, writer)
        await message(reader)
        writer.write(HEADER.pack(3) + b"\xc1\xc1\xc1")
        writer.close()

    async def story() -> None:
        async with await asyncio.start_unix_server(garbage, str(tmp_path / "socket")):
            store = await SocketStore.open(tmp_path / "socket", IDENTITY)
            for _ in range(2):
                async with asyncio.timeout(2):
                    with pytest.raises(StoreUnavailable):
                        await store.count()
            await store.close()

    asyncio.run(story())


def test_a_store_that_stands_still_keeps_nobody_from_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much was on its way to it: given up, it is left, and what serves there by then is asked."""
    monkeypatch.setattr(store_edge_line, "CALL_TIMEOUT_S", 0.2)
    held: list[StreamWriter] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await _welcome(reader, writer)
        if not held:
            reader._transport.pause_reading()  # type: ignore[attr-defined]  # as a process that is stopped
            held.append(writer)  # collected, it would be closed
            return
        await message(reader)
        writer.write(frame(Reply(2)))
        writer.close()

    async def story() -> None:
        async with await asyncio.start_unix_server(serve, str(tmp_path / "socket")):
            store = await SocketStore.open(tmp_path / "socket", IDENTITY)
            with pytest.raises(StoreUnavailable, match="did not answer"):
                await store.write(StoreBatch(move=[([uuid4() for _ in range(100_000)], 1)]))
            async with asyncio.timeout(2):
                assert await store.count() == 0
            await store.close()
            held[0].transport.abort()
            await asyncio.sleep(0.01)  # until its socket is closed

    asyncio.run(story())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process another user's")
def test_another_users_store_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was faster, where others may write to the folder."""
    monkeypatch.setattr(store_socket, "CONNECT_S", 2.0)
    place = tmp_path / "socket"
    command = (sys.executable, "-I", "-S", "-c", OTHER_USER, str(place))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with pytest.raises(StoreUnavailable, match="another user's"):
            asyncio.run(SocketStore.open(place, IDENTITY, patience=0))
        assert other.stdout.read() == b""
