"""What people say of the answers that they got. Their words are sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from usher.ports.data import Change


class Verdict(StrEnum):
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """`sealed` are the words, under the key of the exchange's conversation; empty once they are no longer kept."""

    id: UUID
    exchange: UUID
    created_at: datetime
    verdict: Verdict
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Given:
    """Feedback, who gave it, and what its words may be shown under: what the exchange has shown."""

    row: FeedbackRow
    user: str
    conversation: UUID
    exposures: bytes


class FeedbackStore(Protocol):
    """At most one feedback an exchange. What belongs to a conversation that its person has deleted is not there; on an
    exchange that is no longer kept, none is given any more."""

    async def put(self, user: str, row: FeedbackRow, commitment: str, *, train: bool = False) -> Change | None:
        """Pending: it takes the place of an earlier one once the ledger has heard of it. `commitment` and `train` go to
        the ledger with it. None if the exchange is not this person's."""

    async def own(self, user: str, exchange: UUID) -> Given | None: ...

    async def within(self, user: str, conversation: UUID) -> list[Given]:
        """What this person gave on the exchanges of a conversation of theirs."""

    async def page(self, before: UUID | None, limit: int) -> list[Given]:
        """Everybody's, newest first; `before` is the id of the last one of the page before."""
