"""What one exchange is while it runs, and what the record says of it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import anyio

from usher.adapters.published import Speaker
from usher.authority import Grant
from usher.chat_answer import Answer
from usher.chat_stream import Interrupted, Parts
from usher.core.dialogue import Earlier, Past
from usher.core.evidence import retrieval_body
from usher.core.prompt import Prompt
from usher.core.routing import Route, RouteKind
from usher.ledger.content import Conversation, Subject
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import ContentRow, Entry, EventType, Kind, Who
from usher.ports import ModelRequest, ModelUnavailable
from usher.retrieve import NOTHING, Retrieved
from usher.threads import NoSuchExchange, Thread

ACCESS_CHANGED = "access_changed"
CANCELLED = "cancelled"
INTERRUPTED = "interrupted"
GONE = "conversation_deleted"
NOT_ASKED = "not_asked"
"""The outcome of the retrieval of an exchange for which nothing is searched."""


class ChatRefused(Exception):
    """The exchange ended without an answer, recorded as such; `code` is the reason."""

    def __init__(self, code: str, audit_id: str) -> None:
        super().__init__(code)
        self.code = code
        self.audit_id = audit_id


@dataclass(eq=False)
class Exchange:
    """An exchange whose decision is recorded. `begin` sets `earlier` to `exposures`, `stream` `answer` and `parts`;
    `closed` from when its end is being recorded on, `ended` after that.

    `query` is what is searched for, `rewritten_by` whom (`model` or `rule`, None if it is the question itself), from
    the question and the exchanges `leaned_on`. `asked_before` are the exposures of the exchange whose question it asks
    once more.
    `speaker` is the adapter that answers, with what it has learned as of the newest `grant`.
    `opening` are the events and rows of its decision, until they are given to the ledger: where nothing is looked up
    they go with the evidence. `placing` puts it into its conversation; see `placed`.
    `exposures` (packed) are of all that the exchange is made of. `shown` are the parts of the answer that were given;
    one more may be recorded, and then refused. `grant` is the newest, `decided` the one of the recorded decision.
    """

    audit_id: str
    subject: Subject
    thread: Thread
    by: Who
    grant: Grant
    route: Route
    question: str
    query: str
    speaker: Speaker | None = None
    earlier: tuple[Earlier, ...] = ()
    retrieved: Retrieved = NOTHING
    prompt: Prompt = field(default_factory=lambda: Prompt((), (), "", 0))
    request: ModelRequest = field(default_factory=lambda: ModelRequest((), "", (), 0))
    rewritten_by: str | None = None
    leaned_on: tuple[Past, ...] = ()
    asked_before: bytes = b""
    exposures: bytes = b""
    opening: tuple[Sequence[Entry], Sequence[ContentRow]] = ((), ())
    placing: asyncio.Task[bool] | None = None
    rows: int = 1
    began: float = field(default_factory=time.monotonic)
    closed: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Answer | None = None
    parts: Parts | None = None
    shown: list[str] = field(default_factory=list)
    decided: Grant = field(init=False)

    def __post_init__(self) -> None:
        self.decided = self.grant

    @property
    def retrieves(self) -> bool:
        """Whether passages are looked for: an adapter alone answers from what it has learned."""
        return self.route.kind is not RouteKind.ADAPTER

    @property
    def generates(self) -> bool:
        """Whether a model is asked: not for a fixed sentence, which is given where nothing was found."""
        return bool(self.request.passages) or self.speaker is not None

    @cached_property
    def conversation(self) -> Conversation:
        """What seals its content."""
        return self.subject.conversation(str(self.thread.conversation))

    def opened(self) -> tuple[Sequence[Entry], Sequence[ContentRow]]:
        """The `opening`, once: whoever takes it gives it to the ledger before anything else of the exchange."""
        opening, self.opening = self.opening, ((), ())
        return opening

    async def placed(self) -> None:
        """Return once it is in its conversation: what it is made of is known before anything of it is shown. Raises
        `NoSuchExchange` where the conversation is gone, and what else kept it from there."""
        if self.placing is not None and not await asyncio.shield(self.placing):
            raise NoSuchExchange("conversation")

    def sealed(self, kind: Kind, text: str) -> ContentRow:
        """The next content row; `rows` counts it once it is durable."""
        return self.conversation.seal(self.audit_id, self.rows, kind, text)


def evidence_of(exchange: Exchange, model: str) -> list[Entry]:
    """What was retrieved and what is about to be generated from it: both stand in the log before `model` is called, or
    a fixed sentence given where nothing was found. What an adapter has learned stands beside what was found: it is
    shown as well."""
    found, request, prompt, speaker = exchange.retrieved, exchange.request, exchange.prompt, exchange.speaker
    generation = {
        "purpose": "answer",
        "gen_ai.request.model": model if exchange.generates else "none",
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "adapter": None if speaker is None else {"name": speaker.name, "digest": speaker.digest},
        "template": prompt.template_digest,
        "prompt_commitment": prompt_commitment(exchange, request),
        "prompt_tokens": prompt.prompt_tokens,
        "client_turns": prompt.client_turns,
        "history": [None if past is None else str(past.exchange) for past in prompt.earlier],
        **({"leaned_on": [str(past.exchange) for past in exchange.leaned_on]} if exchange.leaned_on else {}),
    }
    retrieval = retrieval_body(
        exchange.grant.scope, found.checked, found.scores, prompt.used, rewritten_by=exchange.rewritten_by
    )
    if speaker is not None:
        retrieval["documents"] = [{"document": str(part), "access_class": number} for part, number in speaker.learned]
    if not exchange.retrieves:
        retrieval["outcome"] = NOT_ASKED
    return [
        Entry(EventType.RETRIEVAL, exchange.audit_id, exchange.by, retrieval),
        Entry(EventType.GENERATION, exchange.audit_id, exchange.by, generation),
    ]


def prompt_commitment(exchange: Exchange, request: ModelRequest) -> str:
    """HMAC-SHA-256 (hex) of the prompt under the conversation's key."""
    messages = json.dumps([dict(message) for message in request.messages]).encode()
    return hmac.digest(exchange.conversation.key, b"prompt " + messages, hashlib.sha256).hex()


def end_of(exchange: Exchange, outcome: str, facts: Mapping[str, Any]) -> Entry:
    """The event that ends an exchange."""
    duration = round((time.monotonic() - exchange.began) * 1000)
    return Entry(
        EventType.ANSWER, exchange.audit_id, exchange.by, {"outcome": outcome, "duration_ms": duration, **facts}
    )


def outcome_of(error: BaseException) -> str:
    """What the record says of an exchange that an error ended."""
    if isinstance(error, ChatRefused):
        return error.code
    if isinstance(error, ModelUnavailable):
        return "model_unavailable"
    if isinstance(error, LedgerUnavailable):
        return "unrecorded"
    if isinstance(error, NoSuchExchange):
        return GONE
    if isinstance(error, Interrupted | GeneratorExit | anyio.get_cancelled_exc_class()):
        return CANCELLED
    return "failed"


def tokens_of(exchange: Exchange) -> int:
    """What an exchange that has begun cost, however it ended. Where the model did not come to count its answer, all
    that it was allowed counts: breaking off is no way to a free one."""
    if exchange.answer is None or not exchange.generates:
        return 0
    facts = exchange.answer.facts()
    prompt, completion = facts["prompt_tokens"], facts["completion_tokens"]
    return (prompt or exchange.prompt.prompt_tokens) + (
        exchange.request.max_tokens if completion is None else completion
    )
