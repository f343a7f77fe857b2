"""One answer in flight, and its reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio

from usher.chat import SETTLE, Chat
from usher.chat_answer import Ended
from usher.chat_exchange import CANCELLED, Exchange


class Flow:
    """An answer as one reader at a time takes it. With a reader it runs as fast as that one reads, without one freely;
    it begins with its first one, or by `start`. `end` says how it ended: an exception where nothing more could be
    recorded."""

    def __init__(self, chat: Chat, exchange: Exchange, over: Callable[[], None]) -> None:
        """`over` is called once, when it has ended."""
        self.exchange = exchange
        self.end: Ended | Exception | None = None
        self._chat = chat
        self._over: Callable[[], None] | None = over
        self._parts: list[str] = []
        self._reader: object | None = None
        self._stopped = False
        self._news = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def read(self, after: int) -> AsyncGenerator[tuple[int, str], None]:
        """(number, text) of each part after the first `after`; ends with the answer, or when somebody else reads."""
        self._reader = reader = object()
        self._news.set()
        self.start()
        try:
            while self._reader is reader:
                if after < len(self._parts):
                    after += 1
                    yield after, self._parts[after - 1]
                elif self.end is not None:
                    return
                else:
                    self._news.clear()
                    self._caught_up.set()
                    await self._news.wait()
        finally:
            if self._reader is reader:
                self._reader = None
                self._caught_up.set()

    def start(self) -> None:
        if self._task is None and self.end is None:
            self._task = asyncio.create_task(self._run())

    @property
    def is_read(self) -> bool:
        return self._reader is not None

    def stop(self) -> None:
        """Let it end as cancelled. Its reader gets the end."""
        self._stopped = True
        if self.exchange.parts is not None:
            self.exchange.parts.stop()

    async def cancel(self) -> None:
        """End it, recorded as cancelled unless it has ended; returns when it has."""
        self.stop()
        if self._task is not None:
            with anyio.move_on_after(SETTLE):
                await self.exchange.ended.wait()
        await self._chat.abandon(self.exchange)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._ended()

    async def _run(self) -> None:
        try:
            if self._stopped:
                await self._chat.abandon(self.exchange)
                return
            async with aclosing(self._chat.stream(self.exchange)) as parts:
                async for part in parts:
                    if isinstance(part, Ended):
                        self.end = part
                    elif part:
                        self._parts.append(part)
                        await self._offer()
        except Exception as error:
            self.end = error
        finally:
            self._ended()

    async def _offer(self) -> None:
        """What comes next is judged only when this has been taken: nothing waits for a slow reader and goes stale."""
        self._news.set()
        if self._reader is not None:
            self._caught_up.clear()
            await self._caught_up.wait()

    def _ended(self) -> None:
        self.end = self.end or Ended(CANCELLED, CANCELLED)
        self._news.set()
        if self._over is not None:
            over, self._over = self._over, None
            over()
