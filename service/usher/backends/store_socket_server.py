"""One embedded store for several servers on this host: what they ask over a Unix socket is asked of its process.

The socket is its user's alone (0600), and that is the whole of its access control: whoever may connect may search and
write. One client can hurt no other: a message that is too long or cannot be read ends its own connection, and one that
does not read its answers is asked for no more calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import structlog

from usher.backends.index_identity import IndexIdentity, IndexRefused
from usher.backends.store_edge import EdgeStore
from usher.backends.store_edge_line import TooLong, message
from usher.backends.store_edge_wire import READY, Call, CloseCall, Reply, call_from, frame
from usher.backends.store_socket import LONGEST, PROTOCOL, Hello
from usher.data_folder import socket_address
from usher.errors import UserError

OUTSTANDING = 64
"""Calls of one client that are under way; its next one is read when one of them is answered."""
STOP_S = 5.0
"""Seconds that calls under way get to end when the store stops."""

_log = structlog.stdlib.get_logger("usher.store")
_hello = msgspec.msgpack.Decoder(Hello)


class StoreServer:
    """Answers the clients of one open store."""

    def __init__(self, store: EdgeStore, identity: IndexIdentity) -> None:
        self._store, self._identity = store, identity
        self._clients: set[StreamWriter] = set()
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        return len(self._calls)

    async def client(self, calls: StreamReader, answers: StreamWriter) -> None:
        """Serve one connection to its end."""
        self._clients.add(answers)
        try:
            if await self._welcomed(calls, answers):
                await self._answer_all(calls, answers)
        except (TooLong, msgspec.DecodeError) as error:
            _log.warning("client_refused", reason=str(error))
        except (asyncio.IncompleteReadError, OSError):  # it has left
            pass
        finally:
            self._clients.discard(answers)
            answers.close()

    async def stop(self) -> None:
        """What is under way is answered, then every connection closed."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=STOP_S)
        for client in tuple(self._clients):
            client.close()

    async def _welcomed(self, calls: StreamReader, answers: StreamWriter) -> bool:
        hello = _hello.decode(await message(calls, LONGEST))
        try:
            _same_protocol(hello.protocol)
            self._identity.check(hello.identity, "that the connecting server would search")
        except IndexRefused as error:
            _log.warning("client_refused", reason=str(error))
            answers.write(frame(Reply(READY, error=("IndexRefused", str(error)))))
            return False
        answers.write(frame(Reply(READY)))
        return True

    async def _answer_all(self, calls: StreamReader, answers: StreamWriter) -> None:
        free = asyncio.Semaphore(OUTSTANDING)
        while True:
            call = call_from(await message(calls, LONGEST))
            if isinstance(call, CloseCall):  # the process is this one's to end
                return
            await free.acquire()
            task = asyncio.create_task(self._answer(call, answers))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            task.add_done_callback(lambda _: free.release())

    async def _answer(self, call: Call, answers: StreamWriter) -> None:
        try:
            reply = msgspec.structs.replace(await self._store.ask_for(call), id=call.id)
        except Exception as error:  # the caller raises it again; no client's call may end the others'
            reply = Reply(call.id, error=(type(error).__name__, str(error)))
        with contextlib.suppress(OSError):  # the client is gone: there is nobody to tell
            answers.write(frame(reply))
            await answers.drain()


def _same_protocol(theirs: int) -> None:
    if theirs != PROTOCOL:
        raise IndexRefused(
            f"The vector store speaks protocol {PROTOCOL}, and the server {theirs}. Run both of the same release."
        )


@asynccontextmanager
async def serving(store: EdgeStore, identity: IndexIdentity, path: Path) -> AsyncIterator[StoreServer]:
    """Clients are served at `path` meanwhile. Raises `UserError` if the socket cannot be made there."""
    server = StoreServer(store, identity)
    with _listening(path) as sock:
        listener = await asyncio.start_unix_server(server.client, sock=sock)
        try:
            yield server
        finally:
            listener.close()
            await server.stop()


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket with mode 0600 from its first moment, gone at the end; a dead process's is replaced."""
    _make_way(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        before = os.umask(0o177)
        try:
            with socket_address(path) as address:
                sock.bind(address)
        except OSError as error:
            problem = f"({path}) cannot be made ({error.strerror})"
            raise UserError("--socket", problem, "name a path in a folder that this user may write to") from None
        finally:
            os.umask(before)
        try:
            yield sock
        finally:
            path.unlink(missing_ok=True)


def _make_way(path: Path) -> None:
    """Remove what a dead process left. Raises `UserError` if it is another's, or no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UserError("--socket", f"({path}) is a file that is no socket", "name another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, socket_address(path) as address:
        try:
            sock.connect(address)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        else:
            raise UserError("--socket", f"({path}) is served by another process", "stop that one, or name another path")
