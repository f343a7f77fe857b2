"""The first half of an exchange: from a question to a prompt, each step recorded before the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from usher.authority import Clock, Grant
from usher.chat_barrier import Barrier
from usher.chat_exchange import Exchange, evidence_of
from usher.chat_query import Rewriter
from usher.chat_road import Roads
from usher.core import exposures, prompt_words
from usher.core import prompt as prompts
from usher.core.dialogue import Earlier, title_of
from usher.core.evidence import decision_body
from usher.core.history import Asked
from usher.core.prompt import PromptPassage
from usher.errors import UserError
from usher.ledger.content import Subject
from usher.ledger.record import CHAT, ContentRow, Entry, EventType, Kind, uuid7
from usher.ledger.sequencer import Ledger
from usher.limits import Limits
from usher.ports import ExchangeRow, Model, ModelRequest
from usher.retrieve import CHAT as CHAT_OBJECT
from usher.retrieve import Retrieve, who
from usher.threads import Place, Threads, question_digest
from usher_policy.vocabulary import Action

PASSAGES = 8
"""Passages that a prompt gets, if they fit."""


class Preparation:
    """What `Chat.begin` goes through."""

    def __init__(
        self,
        ledger: Ledger,
        retrieve: Retrieve,
        model: Model,
        threads: Threads,
        limits: Limits,
        barrier: Barrier,
        roads: Roads,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._retrieve = retrieve
        self._model = model
        self._threads = threads
        self._limits = limits
        self._barrier = barrier
        self._roads = roads
        self._clock = clock
        self._rewriter = Rewriter(model, ledger, barrier)

    async def decide(self, grant: Grant, asked: Asked, place: Place) -> tuple[Exchange, list[Entry], ContentRow]:
        """What was asked, where, and whether it is answered. Its place is looked up among the person's own."""
        subject = await self._ledger.subject(grant.credential.user)
        thread = await self._threads.find(grant.credential.user, subject, asked, place)
        await self._threads.check_room(grant.credential.user, thread, self._limits)
        question = asked.question or await self._asked_before(grant, subject, thread.again)
        decision = grant.may(Action.CHAT_ASK, CHAT_OBJECT)
        chosen, speaker = await self._roads.road(grant, decision.allowed, question, thread.left_out)
        by = who(grant, subject.pseudonym)
        exchange = Exchange(uuid7(), subject, thread, by, grant, chosen, question, question, speaker)
        if not asked.question and thread.again is not None:
            exchange.asked_before = exchange.exposures = thread.again.exposures
        request = {
            "operation": CHAT,
            "conversation": str(thread.conversation),
            "parent": None if thread.parent is None else str(thread.parent),
            **({"asks_again": str(thread.again.id)} if thread.again is not None and not asked.question else {}),
            "credential_id": grant.credential.id,
            "client_turns": len(asked.client_turns),
        }
        body = decision_body(Action.CHAT_ASK, CHAT_OBJECT, decision, grant.scope, chosen)
        entries = [
            Entry(EventType.REQUEST, exchange.audit_id, by, request),
            Entry(EventType.DECISION, exchange.audit_id, by, body),
        ]
        return exchange, entries, exchange.conversation.seal(exchange.audit_id, 0, Kind.QUESTION, question)

    async def _asked_before(self, grant: Grant, subject: Subject, again: ExchangeRow | None) -> str:
        """The question that is asked once more."""
        if again is None:
            raise UserError("question", "is empty", "write what you want to know")
        return await self._threads.question(grant.scope, subject, again)

    async def find_passages(self, exchange: Exchange, entries: list[Entry], question: ContentRow) -> None:
        """The passages for the question, written out in full if it leans on the exchanges before it; none for an
        adapter alone, whose decision is recorded with its evidence. Whatever may be used of those is judged at each
        barrier from here on."""
        rows = [question]
        if exchange.thread.path:
            await self._ledger.append(entries, rows)
            await self._barrier(exchange)
            scope, subject = exchange.grant.scope, exchange.subject
            exchange.earlier = tuple(await self._threads.earlier(scope, subject, exchange.thread))
            exchange.exposures = _closed(exchange, (), exchange.earlier)
            if exchange.retrieves:
                await self._rewriter.rewrite(exchange)
            entries, rows = [], [exchange.sealed(Kind.QUERY, exchange.query)] if exchange.rewritten_by else []
            exchange.rows += len(rows)
        if not exchange.retrieves:
            exchange.opening = entries, rows
            return
        encoded = await self._retrieve.recorded_then_embedded(entries, exchange.query, rows)
        await self._barrier(exchange)
        exchange.retrieved = await self._retrieve.find(exchange.grant.scope, exchange.query, encoded, PASSAGES)

    def make_prompt(self, exchange: Exchange, asked: Asked, max_tokens: int, temperature: float) -> None:
        found = tuple(
            PromptPassage(n, p.title, p.headings, p.text) for n, p in enumerate(exchange.retrieved.passages, 1)
        )
        exchange.prompt = prompt = prompts.assemble(
            exchange.question,
            found,
            asked.client_turns,
            prompt_words.of(exchange.route.kind),
            self._model.context_tokens,
            max_tokens,
            self._model.count_tokens,
            exchange.earlier,
        )
        shown = [passage for passage in found if passage.n in prompt.used]
        exchange.request = ModelRequest(
            messages=prompt.messages,
            question=exchange.query,
            passages=tuple(shown),
            max_tokens=max_tokens,
            temperature=temperature,
            adapter=None if exchange.speaker is None else exchange.speaker.served_name,
            cache_salt=exchange.subject.cache_salt,
        )
        documents = [exchange.retrieved.passages[passage.n - 1].document for passage in shown]
        documents += () if exchange.speaker is None else exchange.speaker.parts
        exchange.exposures = _closed(exchange, documents, (*prompt.earlier, *exchange.leaned_on))

    async def record_evidence(self, exchange: Exchange, asked: Asked) -> None:
        """Durable before the model is called: what was found, and the client's turns in the prompt; before anything is
        shown, the exchange in its conversation, with all that it is about to show."""
        turns = _turns_in_prompt(exchange, asked)
        row = ExchangeRow(
            id=UUID(exchange.audit_id),
            conversation=exchange.thread.conversation,
            parent=exchange.thread.parent,
            created_at=self._clock(),
            exposures=exchange.exposures,
            question_digest=question_digest(exchange.subject, exchange.question),
            size=sum(len(text.encode()) for text in (exchange.question, *(turn.text for turn in asked.client_turns))),
        )
        title = exchange.conversation.seal_label("title", title_of(exchange.question))
        place = partial(self._threads.begin, exchange.grant.credential.user, row, title)
        # The end of one that is cancelled now comes after its beginning.
        await asyncio.shield(self._beginning(exchange, turns, place))
        exchange.rows += len(turns)

    async def _beginning(
        self, exchange: Exchange, turns: Sequence[ContentRow], place: Callable[[], Coroutine[Any, Any, bool]]
    ) -> None:
        """Record the evidence and place the exchange in its conversation, both at once. One that the ledger does not
        have yet is there first, and is placed while its model begins."""
        entries, rows = exchange.opened()
        record = self._ledger.append([*entries, *evidence_of(exchange, self._model.name)], [*rows, *turns])
        if entries:
            await record
            exchange.placing = asyncio.create_task(place())
            return
        exchange.placing = asyncio.create_task(place())
        placed, recorded = await asyncio.gather(exchange.placed(), record, return_exceptions=True)
        for outcome in (recorded, placed):
            if isinstance(outcome, BaseException):
                raise outcome


def _closed(exchange: Exchange, documents: Iterable[UUID], earlier: Iterable[Earlier]) -> bytes:
    shown = (past.exposures for past in earlier if past is not None)
    return exposures.closed(documents, (exchange.asked_before, *shown))


def _turns_in_prompt(exchange: Exchange, asked: Asked) -> list[ContentRow]:
    """The client's turns that the model will be shown (the oldest may not have fit), sealed."""
    turns = asked.client_turns[len(asked.client_turns) - exchange.prompt.client_turns :]
    return [
        exchange.conversation.seal(exchange.audit_id, position, Kind.CLIENT, f"{turn.role}\n{turn.text}")
        for position, turn in enumerate(turns, exchange.rows)
    ]
