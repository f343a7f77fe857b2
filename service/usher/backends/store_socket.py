"""The vector store of another process on this host (`usher store`), over a Unix socket that several servers share."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any, Self

import msgspec

from usher.backends.index_identity import IndexIdentity
from usher.backends.store_edge_calls import StoreCalls
from usher.backends.store_edge_line import Line
from usher.backends.store_edge_wire import HEADER, Call, Reply
from usher.data_folder import socket_address
from usher.ports import StoreUnavailable

PROTOCOL = 1
"""Raised whenever the messages change: both sides must be of releases that agree."""
LONGEST = 64 * 1024**2
"""Bytes of one message: three million ids to move, or fifty times the points of one call."""
CONNECT_S = 5.0
START_S = 15.0
"""How long a starting server waits for a store that is starting too."""
_AGAIN_S = 0.2
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group."""


class Hello(msgspec.Struct, array_like=True, frozen=True, tag="hello"):
    """A client's first message; the store's first reply says that it serves, or why not."""

    protocol: int
    identity: dict[str, Any]


class SocketStore(StoreCalls):
    """The `Store` port over a socket. Belongs to the event loop that opened it.

    If the store's process is gone, calls in flight raise `StoreUnavailable`, and so does each next one until the
    process is there again: it is connected to anew by whoever asks first.
    """

    def __init__(self, path: Path, identity: IndexIdentity) -> None:
        super().__init__(identity)
        self._path = path
        self._line: Line | None = None
        self._connecting: asyncio.Task[Line] | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path, identity: IndexIdentity, patience: float = START_S) -> Self:
        """Connected, within `patience` seconds.

        Raises `StoreUnavailable` if nobody serves there, `IndexRefused` if the store's index is of another model,
        precision or size, or its release speaks another protocol.
        """
        store, until = cls(path, identity), time.monotonic() + patience
        while True:
            try:
                await store._connected()
            except StoreUnavailable:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                return store

    async def ask(self, call: Call) -> Reply:
        return await (await self._connected()).ask(call)

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._line is not None:
            await self._line.close()

    async def _connected(self) -> Line:
        """The line there is, or a new one. Those who ask meanwhile share one attempt, and its failure."""
        if self._closed:
            raise StoreUnavailable("The vector store is closed.")
        if self._line is not None and self._line.alive:
            return self._line
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._attempted)
        return await asyncio.shield(self._connecting)

    def _attempted(self, attempt: asyncio.Task[Line]) -> None:
        self._connecting = None
        if not attempt.cancelled() and attempt.exception() is None:
            self._line = attempt.result()

    async def _connect(self) -> Line:
        old, self._line = self._line, None
        if old is not None:
            await old.close()
        try:
            with socket_address(self._path) as address:
                async with asyncio.timeout(CONNECT_S):
                    answers, calls = await asyncio.open_unix_connection(address)
        except (OSError, TimeoutError) as error:
            remedy = f"Start it with `usher store --socket {self._path}`, or correct USHER_QDRANT_URL."
            raise StoreUnavailable(f"The vector store does not answer at {self._path}. {remedy}") from error
        try:
            _check_owner(calls, self._path)
        except StoreUnavailable:
            calls.close()
            raise
        line = Line(answers, calls, "The vector store's process has ended, or closed the connection.")
        try:
            body = msgspec.msgpack.encode(Hello(PROTOCOL, self._identity.record()))
            calls.write(HEADER.pack(len(body)) + body)
            await line.ready(CONNECT_S)
        except BaseException:
            await asyncio.shield(line.close())
            raise
        return line


def _check_owner(calls: asyncio.StreamWriter, path: Path) -> None:
    """Whoever serves there is this user, or root: where others may write to the folder, one of them might have been
    faster, and would be told what is asked and stored. Raises `StoreUnavailable`."""
    if not hasattr(socket, "SO_PEERCRED"):  # Linux only
        return
    peer: socket.socket = calls.get_extra_info("socket")
    _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid not in (os.geteuid(), 0):
        raise StoreUnavailable(f"What serves at {path} is another user's ({uid}). Name a path in a folder of your own.")
