"""A model's deltas in parts: whatever has come since the last part, at most a window apart."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from usher.ports import Delta

WINDOW = 0.05
"""Seconds that deltas may wait for company, so that a fast model does not cost a barrier for each token."""


class Interrupted(Exception):
    """The server stops: the answer ends here."""


class _End:
    """The model has nothing more to give."""


class Parts:
    """Iterate it once. `stop` ends the iteration with an error; `aclose` aborts the generation.

    The first delta is given at once; later ones are gathered for up to `WINDOW` after the part before. What the model
    raises comes after what it gave.
    """

    def __init__(self, deltas: AsyncIterator[Delta]) -> None:
        self._deltas = deltas
        self._queue: asyncio.Queue[Delta | Exception | _End] = asyncio.Queue()
        self._pump: asyncio.Task[None] | None = None

    def stop(self, why: Exception | None = None) -> None:
        self._queue.put_nowait(why or Interrupted())

    async def aclose(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump

    async def __aiter__(self) -> AsyncIterator[Delta]:
        self._pump = asyncio.create_task(self._run())
        due = 0.0
        while True:
            part, end = await self._gather(await self._queue.get(), due)
            due = time.monotonic() + WINDOW
            if part is not None:
                yield part
            if isinstance(end, Exception):
                raise end
            if end is not None:
                return

    async def _gather(self, item: Delta | Exception | _End, due: float) -> tuple[Delta | None, Exception | _End | None]:
        """One part from `item` and what follows until `due`; and what ends the stream, if it came."""
        gathered: list[Delta] = []
        while isinstance(item, Delta):
            gathered.append(item)
            try:
                async with asyncio.timeout(max(due - time.monotonic(), 0)):
                    item = await self._queue.get()
            except TimeoutError:
                return _merged(gathered), None
        return _merged(gathered), item

    async def _run(self) -> None:
        try:
            async for delta in self._deltas:
                self._queue.put_nowait(delta)
            self._queue.put_nowait(_End())
        except Exception as error:
            self._queue.put_nowait(error)
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
