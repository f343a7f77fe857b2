"""What retrieval searches for when a question leans on those before it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

import structlog

from usher.chat_exchange import Exchange, prompt_commitment
from usher.core import rewrite
from usher.core.dialogue import Past
from usher.core.followup import in_full, stands_alone
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger
from usher.ports import Model, ModelRequest, ModelUnavailable

LEANS_ON = 6
"""The newest exchanges that a follow-up may lean on."""
TOKENS = 120
SECONDS = 10.0
"""What a model may take for writing a question out, before the fixed rule is used instead."""

_log = structlog.stdlib.get_logger("usher.chat")


class Rewriter:
    """Writes a follow-up out in full: by the model if it follows instructions, else, and where that fails, by a fixed
    rule. A question that stands alone is left as it is."""

    def __init__(self, model: Model, ledger: Ledger, barrier: Callable[[Exchange], Awaitable[None]]) -> None:
        self._model = model
        self._ledger = ledger
        self._barrier = barrier

    async def rewrite(self, exchange: Exchange) -> None:
        """Set the exchange's `query`, and what it was made from and by whom. Raises `LedgerUnavailable`, and what the
        barrier raises."""
        before = tuple(past for past in exchange.earlier if past is not None)[-LEANS_ON:]
        if not before or stands_alone(exchange.question):
            return
        pairs = [(past.question, past.answer) for past in before]
        written = await self._by_model(exchange, before, pairs) if self._model.generative else None
        exchange.query = written or in_full(exchange.question, pairs)
        if exchange.query != exchange.question:
            exchange.rewritten_by, exchange.leaned_on = ("model" if written else "rule"), before

    async def _by_model(
        self, exchange: Exchange, before: Sequence[Past], pairs: Sequence[tuple[str, str]]
    ) -> str | None:
        """The model's version, if it gives a usable one in time: a generation of its own, recorded before it begins."""
        messages = rewrite.rewrite_messages(exchange.question, pairs)
        request = ModelRequest(messages, exchange.question, (), TOKENS, cache_salt=exchange.subject.cache_salt)
        body = {
            "purpose": "rewrite",
            "gen_ai.request.model": self._model.name,
            "gen_ai.request.max_tokens": TOKENS,
            "gen_ai.request.temperature": request.temperature,
            "adapter": None,
            "template": rewrite.TEMPLATE.digest,
            "prompt_commitment": prompt_commitment(exchange, request),
            "history": [str(past.exchange) for past in before],
        }
        await self._ledger.append([Entry(EventType.GENERATION, exchange.audit_id, exchange.by, body)])
        await self._barrier(exchange)
        try:
            async with asyncio.timeout(SECONDS):
                return rewrite.rewritten(await self._said(request), exchange.question)
        except (ModelUnavailable, TimeoutError) as error:  # the answer itself may still succeed, or say so
            _log.info("rewrite_failed", audit_id=exchange.audit_id, error=type(error).__name__)
            return None

    async def _said(self, request: ModelRequest) -> str:
        texts: list[str] = []
        stream = self._model.stream(request)
        async with aclosing(stream):  # type: ignore[type-var]  # the port promises an iterator; each model's can be closed
            async for delta in stream:
                texts.append(delta.text)
        return "".join(texts)
