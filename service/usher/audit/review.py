"""Reading the audit log: each read is itself recorded before its page is given."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.record import Entry, EventType, Who
from usher.ledger.sequencer import Ledger

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_AFTER = 2**63 - 1
_OUTCOME = re.compile(r"[a-z_]{1,40}")
"""What is asked for stands in the record of the read, where no free text belongs."""


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
        if not 0 <= query.after <= MAX_AFTER:
            raise UserError("after", "is no event's number", "give the `next` of the page before, or leave it out")
        if query.outcome is not None and not _OUTCOME.fullmatch(query.outcome):
            raise UserError("outcome", "is not an outcome", "give one such as answered, refused or cancelled")
        kind = _event_type(query.type)
        since, until = utc("from", query.since), utc("to", query.until)
        asked = {
            "actor": actor,
            "after": query.after,
            "limit": query.limit,
            "event_type": query.type,
            "event_outcome": query.outcome,
            "since": since.isoformat() if since else None,
            "until": until.isoformat() if until else None,
        }
        await self._ledger.append([Entry(EventType.AUDIT_READ, who=by, body=asked)])
        read = partial(self._log.events, type=kind, outcome=query.outcome, since=since, until=until)
        try:
            return await asyncio.to_thread(read, query.after, query.limit)
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error


def utc(name: str, instant: datetime | None) -> datetime | None:
    """A time that a reviewer gave, in UTC. Raises `UserError`."""
    if instant is None:
        return None
    if instant.tzinfo is None:
        raise UserError(name, "has no time zone", "write it as 2026-01-31T09:00:00Z")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise UserError(name, "is outside the calendar", "write it as 2026-01-31T09:00:00Z") from None


def _event_type(name: str | None) -> EventType | None:
    if name is None:
        return None
    if name not in set(EventType):
        raise UserError("type", "is not an event type", "use one of: " + ", ".join(EventType))
    return EventType(name)
