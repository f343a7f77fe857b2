"""One exchange, from question to recorded answer.

The road: decision recorded -> passages under the scope -> what was found recorded -> the model -> each part of the
answer recorded before it is shown -> the end recorded, whatever the end is. Between any two of these the credential,
the directory, the policy and the labels are asked again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import structlog

from usher.authority import Authority, Grant
from usher.chat_answer import Answer, Ended
from usher.chat_stream import Interrupted, Parts
from usher.core import prompt as prompts
from usher.core.evidence import decision_body, retrieval_body
from usher.core.history import Asked
from usher.core.prompt import NO_ANSWER, Prompt, PromptPassage
from usher.core.routing import CHAT_NOT_ALLOWED, Route, RouteKind, route
from usher.ledger.content import Conversation
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import CHAT, ContentRow, Entry, EventType, Kind, Who, uuid7
from usher.ledger.sequencer import Ledger
from usher.ports import Delta, Model, ModelRequest, ModelUnavailable
from usher.retrieve import CHAT as CHAT_OBJECT
from usher.retrieve import NOTHING, Retrieve, Retrieved, denied, who
from usher_policy.vocabulary import Action

PASSAGES = 8
"""Passages that a prompt gets, if they fit."""
MAX_TOKENS = 1024
"""Tokens of an answer, unless the client asks for fewer."""
ACCESS_CHANGED = "access_changed"

_log = structlog.stdlib.get_logger("usher.chat")


class ChatRefused(Exception):
    """The exchange ended without an answer, recorded as such; `code` is the reason."""

    def __init__(self, code: str, audit_id: str) -> None:
        super().__init__(code)
        self.code = code
        self.audit_id = audit_id


@dataclass(slots=True)
class Exchange:
    """An exchange whose decision is recorded. `begin` sets `retrieved`, `prompt` and `request`."""

    audit_id: str
    conversation: Conversation
    by: Who
    grant: Grant
    route: Route
    retrieved: Retrieved = NOTHING
    prompt: Prompt = field(default_factory=lambda: Prompt((), (), "", 0))
    request: ModelRequest = field(default_factory=lambda: ModelRequest((), "", (), 0))
    rows: int = 1
    began: float = field(default_factory=time.monotonic)
    closed: bool = False


class Chat:
    """The use case. `drain` ends what runs when the server stops."""

    def __init__(self, authority: Authority, ledger: Ledger, retrieve: Retrieve, model: Model) -> None:
        self._authority = authority
        self._ledger = ledger
        self._retrieve = retrieve
        self._model = model
        self._running: set[Parts] = set()
        self._draining = False

    async def drain(self) -> None:
        """End every flowing answer, recorded as cancelled; start no more."""
        self._draining = True
        for parts in tuple(self._running):
            parts.stop()

    async def begin(self, grant: Grant, asked: Asked, max_tokens: int, temperature: float) -> Exchange:
        """Decide, retrieve and make the prompt, each recorded before the next.

        Raises `ChatRefused`, `QuestionTooLong`, `StoreUnavailable`, `LedgerUnavailable`.
        """
        exchange, entries, question = await self._decide(grant, asked)
        if exchange.route.kind is RouteKind.REFUSE:
            code = _denial(grant) or exchange.route.reasons[0]
            await self._ledger.append([*entries, _end(exchange, "refused", {"reason": code})], [question])
            raise ChatRefused(code, exchange.audit_id)
        try:
            encoded = await self._retrieve.recorded_then_embedded(entries, asked.question, [question])
            exchange.grant = await self._authority.again(grant)
            _refuse_if(exchange, _denial(exchange.grant))
            exchange.retrieved = await self._retrieve.find(exchange.grant.scope, asked.question, encoded, PASSAGES)
            self._make_prompt(exchange, asked, max_tokens, temperature)
            await self._ledger.append(self._retrieval_and_generation(exchange))
            await self._barrier(exchange)
        except BaseException as error:
            await self._close(exchange, _outcome_of(error), {})
            raise
        return exchange

    async def _decide(self, grant: Grant, asked: Asked) -> tuple[Exchange, list[Entry], ContentRow]:
        subject = await self._ledger.subject(grant.credential.user)
        decision = grant.may(Action.CHAT_ASK, CHAT_OBJECT)
        chosen = route(may_chat=decision.allowed, classes=grant.scope.classes, dropped_turns=asked.dropped)
        by, conversation = who(grant, subject.pseudonym), subject.conversation(uuid7())
        exchange = Exchange(uuid7(), conversation, by, grant, chosen)
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

    async def stream(self, exchange: Exchange) -> AsyncIterator[str | Ended]:
        """The answer's parts, each durable before it is given, then one `Ended`. Closing it records `cancelled`.

        Raises `LedgerUnavailable`: then nothing more is shown.
        """
        found = exchange.retrieved
        answer = Answer(found.passages, found.scores, exchange.prompt.used, exchange.grant.documents.link_hosts)
        parts = Parts(self._deltas(exchange))
        self._running.add(parts)
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
            outcome = _outcome_of(error)
            await self._close(exchange, outcome, answer.facts())
            if not isinstance(error, ModelUnavailable | Interrupted | ChatRefused):
                raise
            yield Ended(outcome, "error")
        finally:
            self._running.discard(parts)
            with anyio.CancelScope(shield=True):
                await parts.aclose()

    def _deltas(self, exchange: Exchange) -> AsyncIterator[Delta]:
        return self._model.stream(exchange.request) if exchange.request.passages else _nothing_found()

    async def _record(self, exchange: Exchange, text: str) -> None:
        """The barrier before a flush: durable first, then asked again."""
        row = exchange.conversation.seal(exchange.audit_id, exchange.rows, Kind.ANSWER, text)
        await self._ledger.append([], [row])
        exchange.rows += 1
        await self._barrier(exchange)

    async def _finish(self, exchange: Exchange, answer: Answer) -> None:
        """The barrier before the citations: whatever is asked again comes first, so that the end recorded is true."""
        await self._barrier(exchange)
        await self._ledger.append([_end(exchange, answer.ended().outcome, answer.facts())])
        exchange.closed = True

    async def _barrier(self, exchange: Exchange) -> None:
        """Ask again whether all that the prompt holds, and each link, is still permitted. Raises `ChatRefused`."""
        hosts = exchange.grant.documents.link_hosts
        exchange.grant, found = await self._retrieve.still_permitted(exchange.grant, exchange.retrieved)
        _refuse_if(exchange, _denial(exchange.grant))
        gone = len(found.passages) < len(exchange.retrieved.passages)
        narrowed = not hosts <= exchange.grant.documents.link_hosts
        _refuse_if(exchange, ACCESS_CHANGED if gone or narrowed else None)

    async def _close(self, exchange: Exchange, outcome: str, facts: dict[str, Any]) -> None:
        """Record the end of an exchange that did not come to its end; once, also for a client that has left."""
        if exchange.closed:
            return
        exchange.closed = True
        try:
            with anyio.CancelScope(shield=True):
                await self._ledger.append([_end(exchange, outcome, facts)])
        except Exception as failed:  # the next start of the ledger records it as interrupted
            _log.error("end_not_recorded", audit_id=exchange.audit_id, error=type(failed).__name__)


def _end(exchange: Exchange, outcome: str, facts: dict[str, Any]) -> Entry:
    duration = round((time.monotonic() - exchange.began) * 1000)
    return Entry(
        EventType.ANSWER, exchange.audit_id, exchange.by, {"outcome": outcome, "duration_ms": duration, **facts}
    )


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


def _outcome_of(error: BaseException) -> str:
    if isinstance(error, ChatRefused):
        return error.code
    if isinstance(error, ModelUnavailable):
        return "model_unavailable"
    if isinstance(error, LedgerUnavailable):
        return "unrecorded"
    if isinstance(error, Interrupted | GeneratorExit | anyio.get_cancelled_exc_class()):
        return "cancelled"
    return "failed"
