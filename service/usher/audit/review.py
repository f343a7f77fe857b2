"""Reading the audit log: each read is itself recorded before its page is given."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from usher.audit.asking import Answered, Asking, Names
from usher.audit.ranges import Range
from usher.audit.ranges import utc as utc
from usher.audit.reviewers import Reviewer
from usher.errors import UserError
from usher.ledger.log import StoredEvent
from usher.ledger.record import EventType
from usher.ports.audit_index import Wanted
from usher_policy.vocabulary import Action

_OUTCOME = re.compile(r"[a-z_]{1,40}")
"""What is asked for stands in the record of the read, where no free text belongs."""


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Events of a part of the log, of a type, of an outcome, about a document, by or about somebody."""

    part: Range
    type: str | None = None
    outcome: str | None = None
    document: UUID | None = None
    person: str | None = None
    pseudonym: str | None = None


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


Event = Mapping[str, Any]
A_PAGE = 500


class StoredEvents(Protocol):
    """Events by their numbers."""

    def stored(self, first: int, last: int) -> list[StoredEvent]:
        """The events numbered `first` to `last`, as many as are there. Raises `LogFailed`."""


def every(log: EventLog, type: EventType, since: datetime | None = None) -> Iterator[Event]:
    """All events of a type, from `since` on, in their order. It blocks. Raises `LogFailed`."""
    return every_after(log, type, 0, since)


def every_after(log: EventLog, type: EventType, number: int, since: datetime | None = None) -> Iterator[Event]:
    """The same after an event's number."""
    after: int | None = number
    while after is not None:
        page = log.events(after, A_PAGE, type=type, outcome=None, since=since, until=None)
        yield from (event for _, event in page.events)
        after = page.next


class Review:
    """The reviewers' use case."""

    def __init__(self, log: EventLog, asking: Asking, names: Names) -> None:
        self._log, self._asking, self._names = log, asking, names

    async def events(self, reviewer: Reviewer, query: EventQuery) -> Answered[Event]:
        """One page of the log. Whoever may not read all of it gets what is about documents within their reach, cut to
        these. Raises `UserError` for a query that cannot be asked, and as `Asking`."""
        if query.outcome is not None and not _OUTCOME.fullmatch(query.outcome):
            raise UserError("outcome", "is not an outcome", "give one such as answered, refused or cancelled")
        kind, between = _event_type(query.type), query.part.between()
        someone = query.person is not None or query.pseudonym is not None
        more = () if query.person is None else (Action.AUDIT_IDENTIFY,)
        subject = await self._names.pseudonym(reviewer, query.person, query.pseudonym) if someone else None
        asked = {
            **query.part.recorded(),
            "event_type": query.type,
            "event_outcome": query.outcome,
            **({} if query.document is None else {"document": str(query.document)}),
            **({"subject": subject} if someone else {}),
        }
        reach = await self._asking.reviewers.admitted(reviewer, "events", asked, *more)
        if reach.whole and query.document is None and not someone:
            page = await self._page(kind, query)
            reach = await self._asking.reviewers.again(reviewer, *more)
            if reach.whole:
                return page
        types = frozenset() if kind is None else frozenset({str(kind)})
        nobody_or = (subject or "") if someone else None
        wanted = Wanted(query.document, nobody_or, types=types, outcome=query.outcome)
        index = self._asking.index
        return await self._asking.answered(
            reviewer, reach, lambda within: index.events(wanted, between, within), _as_it_is, *more
        )

    async def break_glass(self, reviewer: Reviewer, part: Range) -> Answered[Event]:
        """What one person did alone because nobody could be waited for, and the reviews of it. Raises as `events`."""
        between, index, wanted = part.between(), self._asking.index, Wanted(break_glass=True)
        return await self._asking.ask(
            reviewer, "break_glass", part.recorded(), lambda within: index.events(wanted, between, within), _as_it_is
        )

    async def _page(self, kind: EventType | None, query: EventQuery) -> Answered[Event]:
        """As the log itself has them: all of it is within reach."""
        part, since, until = query.part, utc("from", query.part.since), utc("to", query.part.until)
        read = partial(self._log.events, type=kind, outcome=query.outcome, since=since, until=until)
        page = await self._asking.opened(asyncio.to_thread(read, part.after, part.limit))
        return Answered([event for _, event in page.events], page.next, True, None, None)


async def _as_it_is(answer: Answered[Event]) -> Answered[Event]:
    return answer


def _event_type(name: str | None) -> EventType | None:
    if name is None:
        return None
    if name not in set(EventType):
        raise UserError("type", "is not an event type", "use one of: " + ", ".join(EventType))
    return EventType(name)
