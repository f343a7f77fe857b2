"""What adapters have learned, by the labels and versions of now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID


class Labelled(NamedTuple):
    """A document as it is now: its access class and, while a change is pending, that one's too; its version."""

    classes: tuple[int, ...]
    version: int | None


class Learned(Protocol):
    """The documents that adapters learned."""

    async def labels(self, adapters: Sequence[str]) -> dict[UUID, Labelled]:
        """Each document that any of these adapters (digests of their identities) learned, as it is now. One that is
        not there any more is not there."""
