"""One exchange, from question to recorded answer.

The road: decision recorded -> the exchanges before it that may still be shown -> passages under the scope -> what was
found recorded -> the model -> each part of the answer recorded before it is shown -> the end recorded, whatever the end
is. Between any two of these the credential, the directory, the policy and the labels are asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import anyio
import structlog

from usher.authority import Clock, Grant, utc_now
from usher.chat_answer import Answer, Ended
from usher.chat_barrier import Barrier, denial, refuse_if
from usher.chat_exchange import CANCELLED, INTERRUPTED, ChatRefused, Exchange, end_of, outcome_of
from usher.chat_prepare import Preparation
from usher.chat_road import Roads
from usher.chat_stream import Interrupted, Parts
from usher.core.history import Asked
from usher.core.prompt import NO_ANSWER
from usher.core.routing import RouteKind
from usher.ledger.record import Kind
from usher.ledger.sequencer import Ledger
from usher.limits import Limits
from usher.ports import Delta, Model, ModelUnavailable
from usher.retrieve import CHAT, Noted, Retrieve, nowhere
from usher.threads import Place, Threads
from usher.watch import Watch
from usher_policy.vocabulary import Action

MAX_TOKENS = 1024
"""Tokens of an answer, unless the client asks for fewer."""
SETTLE = 0.5
"""Seconds that exchanges get to end by themselves when the server stops."""

_log = structlog.stdlib.get_logger("usher.chat")


class Chat:
    """The use case. An exchange that `begin` gave is ended by its `stream`, or else by `abandon` or `drain`."""

    def __init__(
        self,
        ledger: Ledger,
        retrieve: Retrieve,
        model: Model,
        threads: Threads,
        watch: Watch,
        limits: Limits,
        roads: Roads,
        clock: Clock = utc_now,
        noted: Noted = nowhere,
    ) -> None:
        self._ledger = ledger
        self._model = model
        self._threads = threads
        self._watch = watch
        self._clock = clock
        self._noted = noted
        self._barrier = Barrier(retrieve, threads, roads.eligibles)
        self._prepare = Preparation(ledger, retrieve, model, threads, limits, self._barrier, roads, clock)
        self._open: dict[str, Exchange] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._draining = False

    async def drain(self) -> None:
        """End every exchange, recorded as cancelled; start no more. Answers that flow are told to end; what has not
        come to its end within `SETTLE`, such as an answer whose client does not read, is closed as it is."""
        self._draining = True
        for exchange in tuple(self._open.values()):
            if exchange.parts is not None:
                exchange.parts.stop()
        with anyio.move_on_after(SETTLE):
            for exchange in tuple(self._open.values()):
                await exchange.ended.wait()
        await asyncio.gather(*(self.abandon(exchange) for exchange in tuple(self._open.values())))
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def abandon(self, exchange: Exchange) -> None:
        """Record the exchange as cancelled, unless its end is recorded. Whatever still flows of it ends."""
        await self._close(exchange, CANCELLED)

    async def begin(
        self, grant: Grant, asked: Asked, max_tokens: int, temperature: float, place: Place | None = None
    ) -> Exchange:
        """Decide, retrieve and make the prompt, each recorded before the next.

        Raises `ChatRefused`, `NoSuchExchange`, `LimitExceeded`, `QuestionTooLong`, `StoreUnavailable`,
        `LedgerUnavailable`.
        """
        exchange, entries, question = await self._prepare.decide(grant, asked, place or Place())
        if exchange.route.kind is RouteKind.REFUSE:
            code = denial(grant) or exchange.route.reasons[0]
            await self._ledger.append([*entries, end_of(exchange, "refused", {"reason": code})], [question])
            self._noted(grant, grant.may(Action.CHAT_ASK, CHAT).allowed, exchange.audit_id)
            raise ChatRefused(code, exchange.audit_id)
        self._open[exchange.audit_id] = exchange
        try:
            await self._prepare.find_passages(exchange, entries, question)
            self._prepare.make_prompt(exchange, asked, max_tokens, temperature)
            refuse_if(exchange, CANCELLED if exchange.closed else None)
            await self._prepare.record_evidence(exchange, asked)
            await self._barrier(exchange)
        except BaseException as error:
            await self._close(exchange, outcome_of(error))
            raise
        return exchange

    async def stream(self, exchange: Exchange) -> AsyncGenerator[str | Ended, None]:
        """The answer's parts, each durable before it is given, then one `Ended`. An empty part is a sign of life while
        the model is silent. Closing it records `cancelled`.

        Raises `LedgerUnavailable`: then nothing more is shown.
        """
        found = exchange.retrieved
        answer = Answer(found.passages, found.scores, exchange.prompt.used, exchange.grant.documents.link_hosts)
        parts = Parts(self._deltas(exchange), exchange.request.window)
        exchange.answer, exchange.parts = answer, parts
        self._watch.add(_Watched(self, exchange))  # not while it is prepared: a grant is for what was found under it
        if self._draining:
            parts.stop()
        try:
            await self._barrier(exchange)
            async for delta in parts:
                if delta is None:
                    yield ""
                elif text := answer.feed(delta):
                    await self._record(exchange, text)
                    parts.given()
                    yield text
            if text := answer.finish():
                await self._record(exchange, text)
                yield text
            await self._finish(exchange, answer)
            yield answer.ended()
        except BaseException as error:
            outcome = outcome_of(error)
            await self._close(exchange, outcome)
            if not isinstance(error, ModelUnavailable | Interrupted | ChatRefused):
                raise
            yield Ended(outcome, "error")
        finally:
            with anyio.CancelScope(shield=True):
                await parts.aclose()

    def _deltas(self, exchange: Exchange) -> AsyncIterator[Delta]:
        return self._model.stream(exchange.request) if exchange.generates else _nothing_found()

    async def _record(self, exchange: Exchange, text: str) -> None:
        """The barrier before a flush: durable first, then asked again."""
        if exchange.closed:
            raise Interrupted
        await self._ledger.append([], [exchange.sealed(Kind.ANSWER, text)])
        exchange.rows += 1
        await exchange.placed()
        await self._barrier(exchange)
        exchange.shown.append(text)

    async def _finish(self, exchange: Exchange, answer: Answer) -> None:
        """The barrier before the citations: whatever is asked again comes first, so that the end recorded is true."""
        await exchange.placed()
        await self._barrier(exchange)
        if exchange.closed:
            raise Interrupted
        outcome = answer.ended().outcome
        exchange.closed = True  # from here on nobody else ends it
        await self._to_its_end(self._end(exchange, outcome, answer.facts()))

    async def _close(self, exchange: Exchange, outcome: str) -> None:
        """Record the end of an exchange that did not come to its end; once, also for a client that has left."""
        if exchange.closed:
            return
        exchange.closed = True
        facts = {} if exchange.answer is None else exchange.answer.facts()
        with contextlib.suppress(Exception):  # it is in the log
            await self._to_its_end(self._end(exchange, outcome, facts))

    async def _end(self, exchange: Exchange, outcome: str, facts: Mapping[str, Any]) -> None:
        """Record it, keep it, forget it. Raises why it could not be recorded."""
        try:
            entries, rows = exchange.opened()
            await self._ledger.append([*entries, end_of(exchange, outcome, facts)], rows)
        except Exception as failed:  # the next start of the ledger records it as interrupted
            _log.error("end_not_recorded", audit_id=exchange.audit_id, error=type(failed).__name__)
            outcome = INTERRUPTED
            raise
        finally:
            await self._keep(exchange, outcome)
            self._forget(exchange)

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, also where the caller is cancelled meanwhile, as often as it may be."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        with anyio.CancelScope(shield=True):
            await asyncio.shield(task)

    async def _keep(self, exchange: Exchange, outcome: str) -> None:
        """The exchange's end in its conversation, where what was shown is recognised when a client resends it."""
        cited = () if exchange.answer is None else exchange.answer.cited()
        ident, subject, said = UUID(exchange.audit_id), exchange.subject, "".join(exchange.shown)
        with contextlib.suppress(Exception):  # it has no end there where it has no beginning
            await exchange.placed()
        try:
            await self._threads.end(ident, subject, outcome, said, cited, self._clock())
        except Exception as failed:  # what it has shown stays judged; the next start calls it interrupted
            _log.error("end_not_kept", audit_id=exchange.audit_id, error=type(failed).__name__)

    def _forget(self, exchange: Exchange) -> None:
        self._open.pop(exchange.audit_id, None)
        self._watch.remove(_Watched(self, exchange))
        self._noted(exchange.decided, True, exchange.audit_id)
        exchange.ended.set()

    async def still_permitted(self, exchange: Exchange) -> None:
        """For whoever gives something of an exchange later than it was judged. Raises `ChatRefused`."""
        await self._barrier(exchange)

    async def recheck(self, exchange: Exchange) -> None:
        """Something may have changed: an exchange that may not go on is ended, also while its model is silent."""
        try:
            await self._barrier(exchange)
        except ChatRefused as refused:
            if exchange.parts is None:
                await self._close(exchange, refused.code)
            else:
                exchange.parts.stop(refused)


@dataclass(frozen=True, slots=True)
class _Watched:
    """An open exchange as the watcher sees it."""

    chat: Chat
    exchange: Exchange

    @property
    def grant(self) -> Grant:
        return self.exchange.grant

    async def recheck(self) -> None:
        await self.chat.recheck(self.exchange)


async def _nothing_found() -> AsyncIterator[Delta]:
    """Nothing was found: no model is asked, and the words are the same whatever else there is."""
    yield Delta(NO_ANSWER)
    yield Delta(finish_reason="stop", prompt_tokens=0, completion_tokens=0)
