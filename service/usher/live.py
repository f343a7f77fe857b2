"""Answers in flight: each runs as its reader takes it, and goes on for a while after its reader was lost.

A reader that comes again gets what it has missed, if it still may: everything that is read again is judged by what
holds now, and recorded as a view before it is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import anyio
import structlog

from usher.authority import Authority, Grant
from usher.chat import SETTLE, Chat
from usher.chat_answer import Ended
from usher.chat_barrier import denial
from usher.chat_exchange import CANCELLED, INTERRUPTED, Exchange, tokens_of
from usher.core.evidence import scope_digest
from usher.core.history import Asked
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger
from usher.limits import Limits
from usher.ports import ConversationIndex, ExchangeRow
from usher.retrieve import who
from usher.threads import NoSuchExchange, Place, Threads

RESUME_SECONDS = 30.0
"""How long an answer goes on without a reader, and how long what it said waits for one."""
MOST_UNREAD = 8
"""Answers of one person that wait for a reader; for more, the oldest ends."""
STOP_SECONDS = 1.0
"""How long readers get to be told that the server stops."""

_log = structlog.stdlib.get_logger("usher.live")


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
                    else:
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


@dataclass(frozen=True, slots=True)
class Again:
    """An answer that is read once more: its `flow` while that is in memory, else its parts and its outcome from the
    record. Ask `Live.still_permitted` before each part is given."""

    row: ExchangeRow
    flow: Flow | None
    parts: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        return self.row.outcome or INTERRUPTED


class Reader(Protocol):
    """A connection that answers are read over."""

    async def stop(self) -> None:
        """The server stops: tell whoever is there, and end."""


class Live:
    """The answers in flight of one process, and the connections that read them."""

    def __init__(
        self,
        authority: Authority,
        ledger: Ledger,
        chat: Chat,
        index: ConversationIndex,
        threads: Threads,
        limits: Limits,
    ) -> None:
        self._authority = authority
        self._ledger = ledger
        self._chat = chat
        self._index = index
        self._threads = threads
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

    def unread(self, flow: Flow) -> None:
        """Its reader was lost: it goes on for `RESUME_SECONDS`, and can be taken up again that long."""
        audit_id, user = flow.exchange.audit_id, flow.exchange.grant.credential.user
        if audit_id not in self._flows:
            return
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
        """One's own answer, from memory while it is in flight, else from the record. Recorded as a view.

        Raises `NoSuchExchange` for one that is foreign, absent or not to be shown now; `LedgerUnavailable`.
        """
        row = await self._own(grant, audit_id)
        now = await self.still_permitted(grant, row)
        subject = await self._ledger.subject(grant.credential.user)
        entry = Entry(EventType.VIEW, who=who(now, subject.pseudonym), body=_view(now, row))
        await self._ledger.append([entry])
        if (flow := self._flows.get(str(row.id))) is not None:
            self._found(flow)
            return Again(row, flow)
        row = await self._own(grant, audit_id)  # its end may have come meanwhile
        return Again(row, None, (await self._threads.texts(subject, [row]))[row.id].parts)

    def _found(self, flow: Flow) -> None:
        if (timer := self._unread.pop(flow.exchange.audit_id, None)) is not None:
            timer.cancel()

    async def still_permitted(self, grant: Grant, row: ExchangeRow) -> Grant:
        """The grant of now. Raises `NoSuchExchange` if the exchange may not be shown to its holder any more."""
        now = await self._authority.again(grant)
        if denial(now) is not None or row.id not in await self._threads.visible(now.scope, [row]):
            raise NoSuchExchange("audit_id")
        return now

    async def _own(self, grant: Grant, audit_id: str) -> ExchangeRow:
        try:
            row = await self._index.exchange(grant.credential.user, UUID(audit_id))
        except ValueError:
            row = None
        if row is None:
            raise NoSuchExchange("audit_id")
        return row

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

    def _let_go(self, audit_id: str) -> None:
        """Nobody came for it."""
        self._unread.pop(audit_id).cancel()
        ending = asyncio.create_task(self._flows.pop(audit_id).cancel())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


def _view(grant: Grant, row: ExchangeRow) -> dict[str, object]:
    return {
        "credential_id": grant.credential.id,
        "policy_version": grant.scope.policy_version,
        "label_version": grant.scope.label_version,
        "scope_digest": scope_digest(grant.scope.classes),
        "exchanges": [str(row.id)],
    }
