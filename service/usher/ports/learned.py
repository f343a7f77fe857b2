"""What adapters have learned, by the labels and versions of now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID


class Labelled(NamedTuple):
    """A document as it is now: its access class and, while a change is pending, that one's too; its version."""

    classes: tuple[int, ...]
    version: int | None


@dataclass(frozen=True, slots=True)
class Labels:
    """Documents as they are at a label version."""

    at: int
    documents: Mapping[UUID, Labelled]


class Parts(Protocol):
    """By which parts of what adapters learned documents were shown (`core/learned.py`)."""

    async def parts_with(self, documents: Sequence[UUID]) -> dict[UUID, frozenset[UUID]]:
        """Those that each of these documents is of; one that nobody learned is not there."""


class Learned(Protocol):
    """The documents that adapters learned."""

    async def labels(self, adapters: Sequence[str]) -> Labels:
        """Each document that any of these adapters (digests of their identities) learned. One that is not there any
        more is not there."""

    async def moved(self, since: int) -> Labels:
        """Each document, whoever learned it, that has another label or version since that label version, or will have
        one: a change of it is pending."""
