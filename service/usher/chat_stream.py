"""A model's deltas in parts: whatever has come since the last part, at most a window apart."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from usher.ports import Delta, Window

WINDOW = 0.05
"""Seconds that deltas may wait for company, so that a fast model does not cost a barrier for each token. The windows of
all answers end at the same instants, so that one commit makes the parts of all of them durable."""
SILENCE = 15.0
"""Seconds without anything after which a sign of life is given."""
GRAIN = 0.001
"""Seconds that a timer may be early."""


class Interrupted(Exception):
    """The server stops: the answer ends here."""


class _End:
    """The model has nothing more to give."""


class Parts:
    """Iterate it once. `stop` ends the iteration with an error; `aclose` aborts the generation. None is a sign of life
    while nothing comes.

    What comes is given at once until the first `given`; after that it is gathered until the end of the window in which
    the part before was shown. What the model raises comes after what it gave. Gathering wakes nobody for each delta.
    """

    def __init__(self, deltas: AsyncIterator[Delta], window: Window | None = None) -> None:
        """`window` is the one that the deltas were asked for with."""
        self._deltas, self._window = deltas, window or Window()
        self._come: list[Delta] = []
        self._end: Exception | _End | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._any_will_do = False
        self._pump: asyncio.Task[None] | None = None

    def given(self) -> None:
        """Something of it was shown: what comes now may wait for company."""
        self._window.due = (time.monotonic() // WINDOW + 1) * WINDOW

    def stop(self, why: Exception | None = None) -> None:
        self._ended(why or Interrupted())

    async def aclose(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump

    async def __aiter__(self) -> AsyncIterator[Delta | None]:
        self._pump = asyncio.create_task(self._run())
        while True:
            if not self._come and self._end is None:
                await self._wait(SILENCE, any_will_do=True)
            if not self._come and self._end is None:
                yield None
                continue
            if self._end is None and (pause := self._window.due - time.monotonic()) > GRAIN:
                await self._wait(pause)
            end, part = self._end, _merged(self._come)
            self._come = []
            if part is not None:
                yield part
            if isinstance(end, Exception):
                raise end
            if end is not None:
                return

    async def _wait(self, seconds: float, *, any_will_do: bool = False) -> None:
        """For the end, or for whatever comes next, at most so long."""
        loop = asyncio.get_running_loop()
        self._waiter, self._any_will_do = loop.create_future(), any_will_do
        alarm = loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            alarm.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _ended(self, end: Exception | _End) -> None:
        """The first end is the end."""
        if self._end is None:
            self._end = end
            self._wake()

    async def _run(self) -> None:
        try:
            async for delta in self._deltas:
                if self._end is not None:
                    return
                self._come.append(delta)
                if self._any_will_do:
                    self._wake()
            self._ended(_End())
        except Exception as error:
            self._ended(error)
        finally:
            if (close := getattr(self._deltas, "aclose", None)) is not None:
                await close()


def _merged(deltas: list[Delta]) -> Delta | None:
    """The deltas as one: their texts joined, the last one's end and counts."""
    if not deltas:
        return None
    last = deltas[-1]
    text = "".join(delta.text for delta in deltas)
    return Delta(text, last.finish_reason, last.prompt_tokens, last.completion_tokens)
