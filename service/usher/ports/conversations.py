"""Conversations without their texts: which exchange belongs where, and what each has shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from usher.ports.data import Change


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """`sealed_title` is None until there is one; the title may be shown while `title_exposures` are permitted."""

    id: UUID
    created_at: datetime
    updated_at: datetime
    sealed_title: bytes | None = None
    title_exposures: bytes = b""


@dataclass(frozen=True, slots=True)
class ExchangeRow:
    """`id` is the audit id. `exposures` are packed (`core/exposures.py`). `outcome` is None while the answer flows;
    `answer_digest` is None until then, or if nothing was shown."""

    id: UUID
    conversation: UUID
    parent: UUID | None
    created_at: datetime
    exposures: bytes
    question_digest: bytes
    answer_digest: bytes | None = None
    outcome: str | None = None
    size: int = 0
    """Bytes of its texts."""
    cited: bytes = b""
    """The passages that the answer cites, packed (`core/cited.py`)."""
    dropped_at: datetime | None = None
    """When its texts were dropped: nothing recognises it any more."""


class ConversationIndex(Protocol):
    """Every method but `unended` and `interrupted` is about one person's own: what is another's, absent or deleted is
    not there."""

    async def create(self, user: str, row: ConversationRow) -> None: ...

    async def page(self, user: str, before: tuple[datetime, UUID] | None, limit: int) -> list[ConversationRow]:
        """By last use, newest first; `before` is the (updated_at, id) of the last one of the page before."""

    async def get(self, user: str, conversation: UUID) -> ConversationRow | None: ...

    async def count(self, user: str) -> int: ...

    async def kept(self, user: str) -> tuple[int, int]:
        """Bytes of all texts of the person's exchanges, also of deleted conversations: the record keeps them; and how
        many conversations are not deleted."""

    async def rename(self, user: str, conversation: UUID, sealed_title: bytes, exposures: bytes) -> bool: ...

    async def delete(self, user: str, conversation: UUID, now: datetime) -> Change | None:
        """Gone at once; what comes back waits for the ledger. None if it is not there."""

    async def exchanges(self, user: str, conversation: UUID) -> list[ExchangeRow]:
        """Oldest first."""

    async def path(self, user: str, conversation: UUID, tip: UUID | None, limit: int) -> list[ExchangeRow]:
        """The exchange `tip` (None: the newest) and those before it, each the parent of the next: oldest first, and of
        more than `limit` the newest."""

    async def newest(self, user: str, limit: int) -> list[ExchangeRow]:
        """Of all conversations, newest first."""

    async def exchange(self, user: str, exchange: UUID) -> ExchangeRow | None: ...

    async def by_answer(self, user: str, digests: Sequence[bytes]) -> list[ExchangeRow]:
        """The exchanges whose answers have these digests, oldest first."""

    async def begin(self, user: str, row: ExchangeRow, sealed_title: bytes | None) -> bool:
        """Add an exchange, and its conversation if that is new. The title (which tells of what the exchange has shown)
        is taken where there is none yet. False, and nothing added, if the conversation is not this person's or is
        deleted."""

    async def end(
        self,
        exchange: UUID,
        outcome: str,
        answer_digest: bytes | None,
        now: datetime,
        size: int = 0,
        cited: bytes = b"",
    ) -> None:
        """`size` is the answer's, in bytes."""

    async def unended(self) -> list[UUID]:
        """The exchanges that have no outcome."""

    async def interrupted(self, exchanges: Sequence[UUID]) -> int:
        """Give those of these that have no outcome the outcome `interrupted`; returns how many."""
