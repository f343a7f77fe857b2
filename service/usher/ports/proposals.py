"""What waits for somebody's approval, or was done without one, as it is kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from usher.core.approval import Outcome, Proposal
from usher.core.break_glass import BreakGlass
from usher.ports.data import Change


@dataclass(frozen=True, slots=True)
class Item:
    """One act and how its approval stands; every person in it by pseudonym, also as a principal's `user`.

    `parts` are what is to be done: ids, numbers and rule ids, never names or typed text. `subject` is the pseudonym of
    whom it is about. `reason` was typed by whoever asked, and is None once it can be opened no more. `revision` is that
    of the state. `done_at`: nothing remains to be done for it.
    """

    id: UUID
    kind: str
    parts: tuple[str, ...]
    subject: str | None
    created_at: datetime
    stands: Proposal | BreakGlass
    reason: str | None = field(repr=False)
    revision: int = 0
    done_at: datetime | None = None

    @property
    def granted(self) -> bool:
        """Whether the act may go on, whatever happens from now on: it was judged, and that is recorded."""
        stands = self.stands
        return isinstance(stands, BreakGlass) or (stands.end is not None and stands.end.outcome is Outcome.CARRIED_OUT)


class ProposalStore(Protocol):
    """Proposals and break-glass acts. A change comes back as an outbox row, and is in force once its event stands."""

    async def add(self, item: Item, event: Mapping[str, Any]) -> Change: ...

    async def put(self, item: Item, event: Mapping[str, Any], now: datetime) -> Change | None:
        """Store `item.stands` over the state of `item.revision`; None if there is another one by now."""

    async def get(self, item: UUID) -> Item | None: ...

    async def page(self, kinds: Collection[str], before: UUID | None, limit: int) -> list[Item]:
        """The newest first, those with smaller ids than `before`."""

    async def undone(self, kinds: Collection[str]) -> list[Item]:
        """What is granted and not done, the oldest first: a kill may have cut it off."""

    async def done(self, item: UUID, now: datetime) -> None: ...
