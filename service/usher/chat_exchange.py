"""What one exchange is while it runs, and what its end is called."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import anyio

from usher.authority import Grant
from usher.chat_answer import Answer
from usher.chat_stream import Interrupted, Parts
from usher.core.prompt import Prompt
from usher.core.routing import Route
from usher.ledger.content import Conversation
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType, Who
from usher.ports import ModelRequest, ModelUnavailable
from usher.retrieve import NOTHING, Retrieved

ACCESS_CHANGED = "access_changed"
CANCELLED = "cancelled"


class ChatRefused(Exception):
    """The exchange ended without an answer, recorded as such; `code` is the reason."""

    def __init__(self, code: str, audit_id: str) -> None:
        super().__init__(code)
        self.code = code
        self.audit_id = audit_id


@dataclass(slots=True)
class Exchange:
    """An exchange whose decision is recorded. `begin` sets `retrieved`, `prompt` and `request`, `stream` sets
    `answer` and `parts`; `closed` from when its end is being recorded on, `ended` after that."""

    audit_id: str
    conversation: Conversation
    by: Who
    grant: Grant
    route: Route
    cache_salt: str
    retrieved: Retrieved = NOTHING
    prompt: Prompt = field(default_factory=lambda: Prompt((), (), "", 0))
    request: ModelRequest = field(default_factory=lambda: ModelRequest((), "", (), 0))
    rows: int = 1
    began: float = field(default_factory=time.monotonic)
    closed: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Answer | None = None
    parts: Parts | None = None


def end_of(exchange: Exchange, outcome: str, facts: dict[str, Any]) -> Entry:
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
    if isinstance(error, Interrupted | GeneratorExit | anyio.get_cancelled_exc_class()):
        return CANCELLED
    return "failed"
