"""Answers in flight: each runs as its reader takes it, and goes on for a while after its reader was lost.

A reader that comes again gets what it has missed, if it still may: everything that is read again is judged by what
holds now, and recorded as a view before it is given.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import anyio
import structlog

from usher.authority import Grant
from usher.chat import Chat
from usher.chat_exchange import tokens_of
from usher.core.history import Asked
from usher.limits import Limits
from usher.live_again import Again, Replay
from usher.live_flow import Flow
from usher.threads import Place

RESUME_SECONDS = 30.0
"""How long an answer goes on without a reader, and how long what it said waits for one."""
MOST_UNREAD = 8
"""Answers of one person that wait for a reader; for more, the oldest ends."""
STOP_SECONDS = 1.0
"""How long readers get to be told that the server stops."""

_log = structlog.stdlib.get_logger("usher.live")


class Reader(Protocol):
    """A connection that answers are read over."""

    async def stop(self) -> None:
        """The server stops: tell whoever is there, and end."""


class Live:
    """The answers in flight of one process, and the connections that read them."""

    def __init__(self, chat: Chat, replay: Replay, limits: Limits) -> None:
        self._chat = chat
        self._replay = replay
        self._limits = limits
        self._flows: dict[str, Flow] = {}
        self._unread: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._readers: set[Reader] = set()
        self._draining = False

    async def begin(self, grant: Grant, asked: Asked, max_tokens: int, temperature: float, place: Place) -> Flow:
        """As `Chat.begin`, whose errors it raises, and `LimitExceeded`. Whoever gets it reads it to its end and calls
        `forget`, or else calls `unread` or `cancel`."""
        user = grant.credential.user
        self._limits.tokens(user)
        held = self._limits.stream(user)
        try:
            exchange = await self._chat.begin(grant, asked, max_tokens, temperature, place)
        except BaseException:
            held.release()
            raise

        def over() -> None:
            held.release()
            self._limits.spent(user, tokens_of(exchange))

        self._flows[exchange.audit_id] = flow = Flow(self._chat, exchange, over)
        return flow

    def forget(self, flow: Flow) -> None:
        """Its end has been read."""
        self._flows.pop(flow.exchange.audit_id, None)
        self._found(flow.exchange.audit_id)

    def unread(self, flow: Flow) -> None:
        """Its reader was lost: it goes on for `RESUME_SECONDS`, and can be taken up again that long."""
        audit_id, user = flow.exchange.audit_id, flow.exchange.grant.credential.user
        if audit_id not in self._flows:
            return
        self._found(audit_id)
        flow.start()
        mine = [id for id in self._unread if self._flows[id].exchange.grant.credential.user == user]
        for oldest in mine[: max(len(mine) + 1 - MOST_UNREAD, 0)]:
            self._let_go(oldest)
        loop = asyncio.get_running_loop()
        self._unread[audit_id] = loop.call_later(RESUME_SECONDS, self._let_go, audit_id)

    async def cancel(self, flow: Flow) -> None:
        """End it, recorded: for the reason why it may not go on if there is one, else as cancelled."""
        self.forget(flow)
        try:
            if flow.end is None:
                await self._chat.recheck(flow.exchange)
        except Exception as error:  # it ends all the same
            _log.error("recheck_failed", error=type(error).__name__)
        await flow.cancel()

    async def resume(self, grant: Grant, audit_id: str) -> Again:
        """One's own answer, from memory while it is in flight, else from the record. Raises as `Replay`."""
        row = await self._replay.viewed(grant, audit_id)
        flow = self._flows.get(str(row.id))
        if flow is None:
            return await self._replay.stored(grant, row)
        self._found(str(row.id))
        return Again(row, flow.exchange.grant.documents.link_hosts, flow)

    async def judge(self, grant: Grant, flow: Flow | None, again: Again | None = None) -> None:
        """Asked before each part is given, also of one that is read `again`. Raises `ChatRefused`, and as `Replay`."""
        if again is not None:
            await self._replay.still_permitted(grant, again)
        elif flow is not None:
            await self._chat.still_permitted(flow.exchange)

    def join(self, reader: Reader) -> bool:
        """False if the server stops, and the reader must."""
        if not self._draining:
            self._readers.add(reader)
        return not self._draining

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)

    async def drain(self) -> None:
        """End every answer, recorded; then every connection."""
        self._draining = True
        await self._chat.drain()
        with anyio.move_on_after(STOP_SECONDS):
            await asyncio.gather(*(reader.stop() for reader in tuple(self._readers)))
        for audit_id in tuple(self._unread):
            self._let_go(audit_id)
        await asyncio.gather(*self._ending)

    def _found(self, audit_id: str) -> None:
        """It has a reader again, or needs none."""
        if (timer := self._unread.pop(audit_id, None)) is not None:
            timer.cancel()

    def _let_go(self, audit_id: str) -> None:
        """Nobody came for it."""
        self._unread.pop(audit_id).cancel()
        ending = asyncio.create_task(self._flows.pop(audit_id).cancel())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
