"""Changesets of the policy, as they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from usher.core.changeset import Changeset
from usher.ports.data import Change, StoredPolicy

Event = Mapping[str, Any]
"""What the record will say: ids, numbers, pseudonyms and digests."""


@dataclass(frozen=True, slots=True)
class Box:
    """A break-glass: from `until` on, version `fallback` is in force again by itself."""

    fallback: int
    until: datetime


class ChangesetStore(Protocol):
    """Changesets. A change comes back as outbox rows, and is in force once their events stand."""

    async def add(
        self, changeset: Changeset, event: Event, over: Changeset | None = None, over_event: Event | None = None
    ) -> list[Change] | None:
        """Store a new changeset, and with it the new state of the one that it takes the place of; None, and nothing is
        stored, if that one has another state by now than that of its revision."""

    async def put(self, changeset: Changeset, event: Event, now: datetime) -> list[Change] | None:
        """Store `changeset.stands` over the state of `changeset.revision`; None if there is another one by now."""

    async def activate(
        self, changeset: Changeset, event: Event, policy: StoredPolicy, more: Event, box: Box | None = None
    ) -> list[Change] | None:
        """In one transaction: the changeset as it stands now over that of its revision (a break-glass is new), and its
        policy as the pending version. `more` stands in the version's event. None, and nothing is stored, if the
        changeset has another state by now, another version is pending, or the number is taken."""

    async def get(self, changeset: UUID) -> Changeset | None: ...

    async def page(self, before: UUID | None, limit: int) -> list[Changeset]:
        """The newest first, those with smaller ids than `before`; without their `source`."""

    async def with_digest(self, digest: str) -> list[Changeset]:
        """All of exactly these bytes, the newest first; without their `source`."""

    async def authors(self, changeset: UUID) -> Sequence[str]:
        """Who made it, and what it grew out of: the `by` of each changeset along `supersedes`."""

    async def unreviewed(self) -> frozenset[str]:
        """Who has a break-glass of which the review is open, as `by` names them."""

    async def versions(self, before: int | None, limit: int) -> list[StoredPolicy]:
        """Policy versions, the newest first, those with smaller numbers than `before`; without their texts."""
