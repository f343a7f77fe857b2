"""Calls to the process of an embedded store and the answers to them, over a pair of streams."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter

import msgspec

from usher.backends.index_identity import IndexRefused
from usher.backends.store_edge_wire import HEADER, READY, Call, Reply, frame, reply_from
from usher.core.scope import ScopeTooWide
from usher.ports import StoreUnavailable

CALL_TIMEOUT_S = 60.0
"""A process that has not answered by then is given up."""

_ERRORS = {"IndexRefused": IndexRefused, "ScopeTooWide": ScopeTooWide, "ValueError": ValueError}


class TooLong(Exception):
    """A message has more bytes than its reader takes."""


class Line:
    """One line to a process and the calls that wait on it. `gone` says what became of it when it has ended."""

    def __init__(self, answers: StreamReader, calls: StreamWriter, gone: str) -> None:
        self._answers, self._calls, self._gone = answers, calls, gone
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._ready = self._expect(READY)
        self._reader = asyncio.create_task(self._read())
        self._given_up = False

    @property
    def alive(self) -> bool:
        return not (self._given_up or self._reader.done())

    @property
    def ended(self) -> bool:
        """True if the other side has closed it."""
        return self._reader.done()

    async def ready(self, within_s: float | None = None) -> Reply:
        """The process's first reply."""
        return await self._answered(READY, self._ready, within_s)

    async def ask(self, call: Call) -> Reply:
        if not self.alive:
            raise StoreUnavailable(self._gone)
        message, answer = frame(call), self._expect(call.id)
        self._calls.write(message)
        return await self._answered(call.id, answer)

    async def _answered(self, call: int, answer: asyncio.Future[Reply], within_s: float | None = None) -> Reply:
        """The reply, or its error raised. A caller that is cancelled leaves its answer to be dropped: the next answer
        is matched by its own id."""
        patience = CALL_TIMEOUT_S if within_s is None else within_s
        try:
            async with asyncio.timeout(patience):
                reply = await answer
        except TimeoutError as error:
            self._given_up = True
            raise StoreUnavailable(f"The vector store did not answer within {patience:.0f} s.") from error
        finally:
            self._waiting.pop(call, None)
        if reply.error is not None:
            kind, message = reply.error
            raise _ERRORS.get(kind, StoreUnavailable)(message)
        return reply

    def give_up(self) -> None:
        """Take no more calls."""
        self._given_up = True

    async def close(self) -> None:
        """Those who still wait get `StoreUnavailable`. What was not sent yet is dropped: a process that stands still
        would never take it."""
        self._given_up = True
        if not self._calls.is_closing():
            self._calls.transport.abort()
        await self._reader

    def _expect(self, call: int) -> asyncio.Future[Reply]:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[call] = answer
        return answer

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, msgspec.DecodeError):
            while True:
                reply = reply_from(await message(self._answers))
                waiting = self._waiting.pop(reply.id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(StoreUnavailable(self._gone))


async def message(stream: StreamReader, longest: int | None = None) -> bytes:
    """The next message's body. Raises `TooLong` before it reads one of more bytes, `IncompleteReadError` at the end."""
    (length,) = HEADER.unpack(await stream.readexactly(HEADER.size))
    if longest is not None and length > longest:
        raise TooLong(f"a message of {length} bytes, more than {longest}")
    return await stream.readexactly(length)
