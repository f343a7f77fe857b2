"""The embedded vector store: Qdrant's engine in a process of its own, owned by this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Self, cast

import msgspec

from usher.backends.index_identity import IndexIdentity
from usher.backends.store_edge_calls import StoreCalls
from usher.backends.store_edge_line import Line
from usher.backends.store_edge_wire import Call, CloseCall, Reply
from usher.ports import StoreUnavailable

CLOSE_TIMEOUT_S = 2.0


class EdgeStore(StoreCalls):
    """The `Store` port over one folder. Belongs to the event loop that opened it.

    If the process is gone, calls in flight raise `StoreUnavailable`, and the next call starts another.
    """

    def __init__(self, folder: Path, identity: IndexIdentity) -> None:
        super().__init__(identity)
        self._folder = folder
        self._starting = asyncio.Lock()
        self._child: _Child | None = None
        self._closed = False

    @classmethod
    async def open(cls, folder: Path, identity: IndexIdentity) -> Self:
        """The index in `folder`, made if there is none.

        Raises `IndexRefused` if another process has the folder, or its index is of another model, precision or size.
        """
        store = cls(folder, identity)
        await store._running()
        return store

    async def close(self) -> None:
        """Flushed and gone within two seconds; a process that does not end by itself is ended."""
        self._closed = True
        async with self._starting:
            child, self._child = self._child, None
            if child is None:
                return
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await child.line.ask(CloseCall(next(self._ids)))
            await child.end()

    async def ask(self, call: Call) -> Reply:
        return await (await self._running()).line.ask(call)

    async def ask_for(self, call: Call) -> Reply:
        """A call of somebody else's, under a number of this store's own; so is the answer."""
        return await self.ask(msgspec.structs.replace(call, id=next(self._ids)))

    async def _running(self) -> _Child:
        async with self._starting:
            if self._closed:
                raise StoreUnavailable("The vector store is closed.")
            if self._child is None or not self._child.line.alive:
                if self._child is not None:
                    await self._child.end()
                self._child = await _start(self._folder, self._identity)
            return self._child


class _Child:
    """One running process and the line to it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        answers, calls = cast(StreamReader, process.stdout), cast(StreamWriter, process.stdin)
        self.line = Line(answers, calls, "The vector store's process has ended.")

    async def end(self) -> None:
        """Gone when this returns. What was not acknowledged is lost."""
        self.line.give_up()
        if not self.line.ended:  # one that closed its pipe is ending; a signal would race with its exit status
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        await self.line.close()


async def _start(folder: Path, identity: IndexIdentity) -> _Child:
    """A process with the index open. It gets none of the service's settings, so no secret is in its environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "usher.backends.store_edge_process"),
        *(str(folder), json.dumps(identity.record()), str(os.getpid())),
        stdin=PIPE,
        stdout=PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("USHER_")},
    )
    child = _Child(process)
    try:
        await child.line.ready()
    except BaseException:  # cancelled or refused: no process may stay behind
        await asyncio.shield(child.end())
        raise
    return child
