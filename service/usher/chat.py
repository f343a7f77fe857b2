"""One exchange, from question to recorded answer.

The road: decision recorded -> passages under the scope -> what was found recorded -> the model -> each part of the
answer recorded before it is shown -> the end recorded, whatever the end is. Between any two of these the credential,
the directory, the policy and the labels are asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, AsyncIterator

import anyio
import structlog

from usher.authority import Authority, Grant
from usher.chat_answer import Answer, Ended
from usher.chat_exchange import ACCESS_CHANGED, CANCELLED, ChatRefused, Exchange, end_of, outcome_of
from usher.chat_stream import Interrupted, Parts
from usher.core import prompt as prompts
from usher.core.evidence import decision_body, retrieval_body
from usher.core.history import Asked
from usher.core.prompt import NO_ANSWER, PromptPassage
from usher.core.routing import CHAT_NOT_ALLOWED, RouteKind, route
from usher.ledger.record import CHAT, ContentRow, Entry, EventType, Kind, uuid7
from usher.ledger.sequencer import Ledger
from usher.ports import Delta, Model, ModelRequest, ModelUnavailable
from usher.retrieve import CHAT as CHAT_OBJECT
from usher.retrieve import Retrieve, denied, who
from usher_policy.vocabulary import Action

PASSAGES = 8
"""Passages that a prompt gets, if they fit."""
MAX_TOKENS = 1024
"""Tokens of an answer, unless the client asks for fewer."""
SETTLE = 0.5
"""Seconds that exchanges get to end by themselves when the server stops."""

_log = structlog.stdlib.get_logger("usher.chat")


class Chat:
    """The use case. An exchange that `begin` gave is ended by its `stream`, or else by `abandon` or `drain`."""

    def __init__(self, authority: Authority, ledger: Ledger, retrieve: Retrieve, model: Model) -> None:
        self._authority = authority
        self._ledger = ledger
        self._retrieve = retrieve
        self._model = model
        self._open: dict[str, Exchange] = {}
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

    async def abandon(self, exchange: Exchange) -> None:
        """Record the exchange as cancelled, unless its end is recorded. Whatever still flows of it ends."""
        await self._close(exchange, CANCELLED)

    async def begin(self, grant: Grant, asked: Asked, max_tokens: int, temperature: float) -> Exchange:
        """Decide, retrieve and make the prompt, each recorded before the next.

        Raises `ChatRefused`, `QuestionTooLong`, `StoreUnavailable`, `LedgerUnavailable`.
        """
        exchange, entries, question = await self._decide(grant, asked)
        if exchange.route.kind is RouteKind.REFUSE:
            code = _denial(grant) or exchange.route.reasons[0]
            await self._ledger.append([*entries, end_of(exchange, "refused", {"reason": code})], [question])
            raise ChatRefused(code, exchange.audit_id)
        self._open[exchange.audit_id] = exchange
        try:
            encoded = await self._retrieve.recorded_then_embedded(entries, asked.question, [question])
            exchange.grant = await self._authority.again(grant)
            _refuse_if(exchange, _denial(exchange.grant))
            exchange.retrieved = await self._retrieve.find(exchange.grant.scope, asked.question, encoded, PASSAGES)
            self._make_prompt(exchange, asked, max_tokens, temperature)
            _refuse_if(exchange, CANCELLED if exchange.closed else None)
            turns = _turns_in_prompt(exchange, asked)
            await self._ledger.append(self._retrieval_and_generation(exchange), turns)
            exchange.rows += len(turns)
            await self._barrier(exchange)
        except BaseException as error:
            await self._close(exchange, outcome_of(error))
            raise
        return exchange

    async def _decide(self, grant: Grant, asked: Asked) -> tuple[Exchange, list[Entry], ContentRow]:
        subject = await self._ledger.subject(grant.credential.user)
        decision = grant.may(Action.CHAT_ASK, CHAT_OBJECT)
        chosen = route(may_chat=decision.allowed, classes=grant.scope.classes, dropped_turns=asked.dropped)
        by, conversation = who(grant, subject.pseudonym), subject.conversation(uuid7())
        exchange = Exchange(uuid7(), conversation, by, grant, chosen, subject.cache_salt)
        request = {"operation": CHAT, "conversation": conversation.id, "credential_id": grant.credential.id}
        body = decision_body(Action.CHAT_ASK, CHAT_OBJECT, decision, grant.scope, chosen)
        entries = [
            Entry(EventType.REQUEST, exchange.audit_id, by, {**request, "client_turns": len(asked.client_turns)}),
            Entry(EventType.DECISION, exchange.audit_id, by, body),
        ]
        return exchange, entries, conversation.seal(exchange.audit_id, 0, Kind.QUESTION, asked.question)

    def _make_prompt(self, exchange: Exchange, asked: Asked, max_tokens: int, temperature: float) -> None:
        passages = enumerate(exchange.retrieved.passages, 1)
        shown = tuple(PromptPassage(n, p.title, p.headings, p.text) for n, p in passages)
        exchange.prompt = prompts.assemble(
            asked.question,
            shown,
            asked.client_turns,
            prompts.TEMPLATE,
            self._model.context_tokens,
            max_tokens,
            self._model.count_tokens,
        )
        exchange.request = ModelRequest(
            messages=exchange.prompt.messages,
            question=asked.question,
            passages=tuple(passage for passage in shown if passage.n in exchange.prompt.used),
            max_tokens=max_tokens,
            temperature=temperature,
            cache_salt=exchange.cache_salt,
        )

    def _retrieval_and_generation(self, exchange: Exchange) -> list[Entry]:
        """Both stand in the log before the model is called, or a fixed sentence given where nothing was found."""
        found, request, prompt = exchange.retrieved, exchange.request, exchange.prompt
        messages = json.dumps([dict(message) for message in request.messages]).encode()
        commitment = hmac.digest(exchange.conversation.key, b"prompt " + messages, hashlib.sha256).hex()
        generation = {
            "gen_ai.request.model": self._model.name if request.passages else "none",
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.temperature": request.temperature,
            "adapter": None,
            "template": prompt.template_digest,
            "prompt_commitment": commitment,
            "prompt_tokens": prompt.prompt_tokens,
            "client_turns": prompt.client_turns,
        }
        retrieval = retrieval_body(exchange.grant.scope, found.checked, found.scores, prompt.used)
        return [
            Entry(EventType.RETRIEVAL, exchange.audit_id, exchange.by, retrieval),
            Entry(EventType.GENERATION, exchange.audit_id, exchange.by, generation),
        ]

    async def stream(self, exchange: Exchange) -> AsyncGenerator[str | Ended, None]:
        """The answer's parts, each durable before it is given, then one `Ended`. Closing it records `cancelled`.

        Raises `LedgerUnavailable`: then nothing more is shown.
        """
        found = exchange.retrieved
        answer = Answer(found.passages, found.scores, exchange.prompt.used, exchange.grant.documents.link_hosts)
        parts = Parts(self._deltas(exchange))
        exchange.answer, exchange.parts = answer, parts
        if self._draining:
            parts.stop()
        try:
            async for delta in parts:
                if text := answer.feed(delta):
                    await self._record(exchange, text)
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
        return self._model.stream(exchange.request) if exchange.request.passages else _nothing_found()

    async def _record(self, exchange: Exchange, text: str) -> None:
        """The barrier before a flush: durable first, then asked again."""
        if exchange.closed:
            raise Interrupted
        row = exchange.conversation.seal(exchange.audit_id, exchange.rows, Kind.ANSWER, text)
        await self._ledger.append([], [row])
        exchange.rows += 1
        await self._barrier(exchange)

    async def _finish(self, exchange: Exchange, answer: Answer) -> None:
        """The barrier before the citations: whatever is asked again comes first, so that the end recorded is true."""
        await self._barrier(exchange)
        if exchange.closed:
            raise Interrupted
        await self._ledger.append([end_of(exchange, answer.ended().outcome, answer.facts())])
        exchange.closed = True
        self._forget(exchange)

    async def _barrier(self, exchange: Exchange) -> None:
        """Ask again whether all that the prompt holds, and each link, is still permitted. Raises `ChatRefused`."""
        hosts = exchange.grant.documents.link_hosts
        exchange.grant, found = await self._retrieve.still_permitted(exchange.grant, exchange.retrieved)
        _refuse_if(exchange, _denial(exchange.grant))
        gone = len(found.passages) < len(exchange.retrieved.passages)
        narrowed = not hosts <= exchange.grant.documents.link_hosts
        _refuse_if(exchange, ACCESS_CHANGED if gone or narrowed else None)

    async def _close(self, exchange: Exchange, outcome: str) -> None:
        """Record the end of an exchange that did not come to its end; once, also for a client that has left."""
        if exchange.closed:
            return
        exchange.closed = True
        facts = {} if exchange.answer is None else exchange.answer.facts()
        try:
            with anyio.CancelScope(shield=True):
                await self._ledger.append([end_of(exchange, outcome, facts)])
        except Exception as failed:  # the next start of the ledger records it as interrupted
            _log.error("end_not_recorded", audit_id=exchange.audit_id, error=type(failed).__name__)
        finally:
            self._forget(exchange)

    def _forget(self, exchange: Exchange) -> None:
        self._open.pop(exchange.audit_id, None)
        exchange.ended.set()


def _turns_in_prompt(exchange: Exchange, asked: Asked) -> list[ContentRow]:
    """The client's turns that the model will be shown (the oldest may not have fit), sealed."""
    turns = asked.client_turns[len(asked.client_turns) - exchange.prompt.client_turns :]
    return [
        exchange.conversation.seal(exchange.audit_id, position, Kind.CLIENT, f"{turn.role}\n{turn.text}")
        for position, turn in enumerate(turns, exchange.rows)
    ]


def _denial(grant: Grant) -> str | None:
    """Why the grant's holder may ask nothing any more, as a code."""
    return None if denied(grant) is None else grant.denied or CHAT_NOT_ALLOWED


def _refuse_if(exchange: Exchange, code: str | None) -> None:
    if code is not None:
        raise ChatRefused(code, exchange.audit_id)


async def _nothing_found() -> AsyncIterator[Delta]:
    """Nothing was found: no model is asked, and the words are the same whatever else there is."""
    yield Delta(NO_ANSWER)
    yield Delta(finish_reason="stop", prompt_tokens=0, completion_tokens=0)
