"""Reading the audit log: each read is itself recorded before its page is given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from usher.errors import UserError
from usher.ledger.record import Entry, EventType, Who
from usher.ledger.sequencer import Ledger

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Events after number `after`, of a type, of an outcome, from `since` (included) to `until` (excluded)."""

    after: int = 0
    limit: int = DEFAULT_LIMIT
    type: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Page(Protocol):
    """Events with their numbers, and the number to go on after (None: the end of the log)."""

    @property
    def events(self) -> Sequence[tuple[int, Mapping[str, Any]]]: ...

    @property
    def next(self) -> int | None: ...


class EventLog(Protocol):
    """The log's own reads."""

    def events(
        self,
        after: int,
        limit: int,
        *,
        type: EventType | None,
        outcome: str | None,
        since: datetime | None,
        until: datetime | None,
    ) -> Page: ...


class Review:
    """The reviewers' use case."""

    def __init__(self, log: EventLog, ledger: Ledger) -> None:
        self._log = log
        self._ledger = ledger

    async def events(self, query: EventQuery, by: Who | None, actor: str) -> Page:
        """One page of the log. Raises `UserError` for a query that cannot be asked, `LedgerUnavailable`."""
        if not 1 <= query.limit <= MAX_LIMIT:
            raise UserError("limit", f"is {str(query.limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")
        if query.after < 0:
            raise UserError("after", "is negative", "give the `next` of the page before, or leave it out")
        kind = _event_type(query.type)
        for name, instant in (("from", query.since), ("to", query.until)):
            if instant is not None and instant.tzinfo is None:
                raise UserError(name, "has no time zone", "write it as 2026-01-31T09:00:00Z")
        asked = {
            "actor": actor,
            "after": query.after,
            "limit": query.limit,
            "event_type": query.type,
            "event_outcome": query.outcome,
            "since": query.since.isoformat() if query.since else None,
            "until": query.until.isoformat() if query.until else None,
        }
        await self._ledger.append([Entry(EventType.AUDIT_READ, who=by, body=asked)])
        return await asyncio.to_thread(
            self._log.events,
            query.after,
            query.limit,
            type=kind,
            outcome=query.outcome,
            since=query.since,
            until=query.until,
        )


def _event_type(name: str | None) -> EventType | None:
    if name is None:
        return None
    if name not in set(EventType):
        raise UserError("type", "is not an event type", "use one of: " + ", ".join(EventType))
    return EventType(name)
