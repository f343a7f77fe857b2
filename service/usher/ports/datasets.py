"""Documents as material for adapters: what may be learned of them, and how often they change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from usher_lora.plan import Source


class Standing(NamedTuple):
    """A document as it stands: its current version, its access class, and since when that version is here."""

    version: int
    access_class: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Text:
    """One version of a document, whole."""

    document: UUID
    standing: Standing
    title: str
    text: str


class TrainingDocuments(Protocol):
    """Documents by access class. One that is changing, deleted, or not yet carried to the store is in none."""

    async def standing(self, classes: Sequence[int]) -> dict[UUID, Standing]:
        """Every document of these classes, from one query."""

    async def text(self, document: UUID, standing: Standing) -> Text | None:
        """Its text, from the query that finds it standing exactly so; None where it stands otherwise."""

    async def sources(self) -> list[Source]:
        """Every document with its tokens, estimated as characters by `CHARACTERS`, and how often its file changed in
        30 days, on average over its life here (at least 30 days)."""


CHARACTERS = 4
"""Of one token, in an estimate."""
