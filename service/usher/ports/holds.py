"""Legal holds, and what the metadata database still knows of exchanges that retention lets go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from usher.core.holds import Hold
from usher.ports.data import Change


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold, and the proposals that placed (its id) and released it."""

    hold: Hold
    placed_at: datetime
    release: UUID | None = None
    released_at: datetime | None = None


class HoldStore(Protocol):
    """A change comes back as an outbox row. A hold binds at once, and until its release stands in the ledger."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Meanwhile no other server has it. Raises `LedgerUnavailable`."""

    async def place(self, hold: Hold, event: Mapping[str, Any], now: datetime) -> Change | None:
        """None if it is there."""

    async def release(self, hold: UUID, release: UUID, event: Mapping[str, Any], now: datetime) -> Change | None:
        """None if it is released, or about to be. One that is not there can be released too: the record may have it."""

    async def binding(self) -> list[Hold]: ...

    async def get(self, hold: UUID) -> HoldRow | None: ...

    async def page(self, before: UUID | None, limit: int) -> list[HoldRow]:
        """Released ones too, newest first, those with smaller ids than `before`."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """An exchange of a conversation: what it has shown, packed (`core/exposures.py`), and the feedback on it of which
    there are words: ids and when they were given."""

    exchange: UUID
    exposures: bytes
    dropped: bool
    feedback: tuple[tuple[UUID, datetime], ...] = ()


class RetentionStore(Protocol):
    """What is kept of exchanges beside the ledger, whoever's they are."""

    async def remembered(self, exchanges: Sequence[UUID]) -> dict[UUID, Remembered]:
        """Of those that stand in a conversation, also a deleted one."""

    async def forget(self, number: int, exchanges: Sequence[UUID], feedback: Sequence[UUID], now: datetime) -> None:
        """Event `number` says that these exchanges were dropped, and the words of this feedback: what recognises them,
        their citations and the words of the feedback on them go; and the title of each conversation of which the first
        exchange is dropped, or none is left. What they have shown stays. Once more changes nothing."""

    async def one_of(self, conversation: UUID) -> UUID | None:
        """An exchange of a conversation, also of a deleted one."""

    async def forgotten(self) -> int:
        """The number up to which `forget` was told of every event."""

    async def overwritten(self) -> None:
        """The bytes that were replaced are overwritten where they were stored, as far as nobody reads an older state
        now."""

    async def ran(self, now: datetime) -> None: ...

    async def last_run(self) -> datetime | None: ...
