"""The embedded vector store: Qdrant's engine in a process of its own, owned by this one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, cast

from usher.backends.index_identity import IndexIdentity, IndexRefused
from usher.backends.store_edge_wire import (
    HEADER,
    READY,
    Call,
    CloseCall,
    CountCall,
    Reply,
    SearchCall,
    WirePoint,
    WriteCall,
    frame,
    pack_classes,
    pack_dense,
    pack_sparse,
    reply_from,
)
from usher.core.scope import ScopeTooWide, check_classes
from usher.ports import Found, SparseVector, StoreBatch, StoreUnavailable, Vector

CALL_TIMEOUT_S = 60.0
"""A process that has not answered by then is ended; the next call starts another."""
CLOSE_TIMEOUT_S = 2.0
_SCOPES = 64
POINTS_PER_CALL = 200
"""A large write is sent in parts, so that a search waits for one part and not for all."""

_ERRORS = {"IndexRefused": IndexRefused, "ScopeTooWide": ScopeTooWide, "ValueError": ValueError}


class EdgeStore:
    """The `Store` port over one folder. Belongs to the event loop that opened it.

    If the process is gone, calls in flight raise `StoreUnavailable`, and the next call starts another.
    """

    def __init__(self, folder: Path, identity: IndexIdentity) -> None:
        self._folder, self._identity = folder, identity
        self._ids = itertools.count(READY + 1)
        self._starting = asyncio.Lock()
        self._child: _Child | None = None
        self._closed = False
        self._scopes: dict[int, tuple[Sequence[int], bytes]] = {}

    @classmethod
    async def open(cls, folder: Path, identity: IndexIdentity) -> Self:
        """The index in `folder`, made if there is none.

        Raises `IndexRefused` if another process has the folder, or its index is of another model, precision or size.
        """
        store = cls(folder, identity)
        await store._running()
        return store

    async def search(self, classes: Sequence[int], dense: Vector, sparse: SparseVector, k: int) -> Found:
        if k < 1:
            raise ValueError(f"k: must be at least 1, and is {k}")
        if not classes:
            return Found((), (), {})
        terms, weights = pack_sparse(sparse)
        call = SearchCall(next(self._ids), self._packed(classes), pack_dense(dense), terms, weights, k)
        return (await self._ask(call)).found

    def _packed(self, classes: Sequence[int]) -> bytes:
        """Checked and packed once, while it is asked for again and again: a scope may have 50,000 classes, and those
        who have the same are given the same tuple."""
        known = self._scopes.get(id(classes))
        if known is not None and known[0] is classes:
            return known[1]
        check_classes(classes)
        packed = pack_classes(classes)
        if isinstance(classes, tuple):  # another kind could be changed
            if len(self._scopes) >= _SCOPES:
                self._scopes.clear()
            self._scopes[id(classes)] = (classes, packed)
        return packed

    async def write(self, batch: StoreBatch) -> None:
        self._identity.check_points(batch.upsert)
        for part in self._parts(batch):
            await self._ask(part)

    async def count(self) -> int:
        """Chunks in the index, those of class 0 too."""
        return (await self._ask(CountCall(next(self._ids)))).count

    async def close(self) -> None:
        """Flushed and gone within two seconds; a process that does not end by itself is ended."""
        self._closed = True
        async with self._starting:
            child, self._child = self._child, None
            if child is None:
                return
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await child.ask(CloseCall(next(self._ids)))
            await child.end()

    async def _ask(self, call: Call) -> Reply:
        return await (await self._running()).ask(call)

    async def _running(self) -> _Child:
        async with self._starting:
            if self._closed:
                raise StoreUnavailable("The vector store is closed.")
            if self._child is None or not self._child.alive:
                if self._child is not None:
                    await self._child.end()
                self._child = await _start(self._folder, self._identity)
            return self._child

    def _parts(self, batch: StoreBatch) -> Iterator[WriteCall]:
        """All deletes, then the points in parts, then all moves: the order that the port promises."""
        upsert = [batch.upsert[i : i + POINTS_PER_CALL] for i in range(0, len(batch.upsert), POINTS_PER_CALL)] or [()]
        last = len(upsert) - 1
        for n, points in enumerate(upsert):
            yield WriteCall(
                next(self._ids),
                delete=list(batch.delete) if n == 0 else [],
                upsert=[WirePoint.of(point) for point in points],
                move=[(list(chunks), access_class) for chunks, access_class in batch.move] if n == last else [],
                flush=n == last,
            )


class _Child:
    """One running process and the calls that wait for it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._calls, self._answers = cast(StreamWriter, process.stdin), cast(StreamReader, process.stdout)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self.ready = self._expect(READY)
        self._reader = asyncio.create_task(self._read())
        self._given_up = False

    @property
    def alive(self) -> bool:
        return not (self._given_up or self._reader.done())

    async def ask(self, call: Call) -> Reply:
        if not self.alive:
            raise StoreUnavailable("The vector store's process has ended.")
        message, answer = frame(call), self._expect(call.id)
        self._calls.write(message)
        return await self.answered(call.id, answer)

    async def answered(self, call: int, answer: asyncio.Future[Reply]) -> Reply:
        """The reply, or its error raised. A caller that is cancelled leaves its answer to be dropped: the next answer
        is matched by its own id."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                reply = await answer
        except TimeoutError as error:
            self._given_up = True
            raise StoreUnavailable(f"The vector store did not answer within {CALL_TIMEOUT_S:.0f} s.") from error
        finally:
            self._waiting.pop(call, None)
        if reply.error is not None:
            kind, message = reply.error
            raise _ERRORS.get(kind, StoreUnavailable)(message)
        return reply

    async def end(self) -> None:
        """Gone when this returns. What was not acknowledged is lost."""
        self._given_up = True
        if not self._reader.done():  # one that closed its pipe is ending; a signal would race with its exit status
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        self._calls.close()
        await self._reader

    def _expect(self, call: int) -> asyncio.Future[Reply]:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[call] = answer
        return answer

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = HEADER.unpack(await self._answers.readexactly(HEADER.size))
                reply = reply_from(await self._answers.readexactly(length))
                waiting = self._waiting.pop(reply.id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(StoreUnavailable("The vector store's process has ended."))


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
        await child.answered(READY, child.ready)
    except BaseException:  # cancelled or refused: no process may stay behind
        await asyncio.shield(child.end())
        raise
    return child
