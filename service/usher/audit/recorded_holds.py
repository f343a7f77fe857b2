"""The holds that bind by the record: what is kept of them beside it lies in a database that others may write to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import structlog

from usher.audit.recorded_events import GrowingLog, RecordedEvents
from usher.audit.review import Event
from usher.authority import Authority
from usher.core.holds import Hold, On
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher_policy.vocabulary import ancestors

Classes = Mapping[int, Collection[str]]
"""What each access class requires."""
Stored = Callable[[], Awaitable[Sequence[Hold]]]
_log = structlog.stdlib.get_logger("usher.audit.holds")


@dataclass(frozen=True, slots=True)
class _Placed:
    """A hold as the event that placed it says: a collection, which has a name, by its access classes."""

    id: str
    on: On
    target: str | None
    classes: frozenset[int]
    since: datetime | None
    until: datetime | None

    @classmethod
    def of(cls, event: Event) -> Self:
        """Raises `KeyError`, `TypeError` or `ValueError` for what is no such event."""
        on, since, until = On(event["on"]), instant(event["since"]), instant(event["until"])
        if since is not None and until is not None and since >= until:
            raise ValueError("a hold over no time")
        target = None if on is On.COLLECTION else str(event["target"])
        return cls(str(event["hold"]), on, target, frozenset(event.get("access_classes", ())), since, until)

    def is_that(self, hold: Hold | None, classes: Classes) -> bool:
        """A collection may have come to cover more."""
        if hold is None or (self.on, self.since, self.until) != (hold.on, hold.since, hold.until):
            return False
        if self.on is On.COLLECTION:
            return (self.classes & classes.keys()).issubset(_inside(hold.target, classes))
        return self.target == hold.target

    def holds(self, classes: Classes) -> Iterator[Hold]:
        """It again; one on a collection as one on each of those that had documents when it was placed."""
        names = {name for number in self.classes & classes.keys() for name in classes[number]}
        collections = sorted(name for name in names if name.startswith("coll:"))
        for target in collections if self.target is None else [self.target]:
            yield Hold(self.id, self.on, target, self.since, self.until)


class RecordedHolds:
    """Held against the ledger before anything is taken away: a hold binds from the event that placed it to the one that
    released it, whatever became of its row. Each event is read once. Raises `LedgerUnavailable`."""

    def __init__(self, log: GrowingLog, ledger: Ledger, authority: Authority) -> None:
        self._ledger, self._authority = ledger, authority
        self._placed: dict[str, _Placed] = {}
        self._events = RecordedEvents(log, EventType.HOLD, self._take)
        self._told: frozenset[str] = frozenset()

    async def binding(self, stored: Stored) -> list[Hold]:
        """Those that are `stored`, and those that are not there as their events say. These are alarmed."""
        there, lost = await self._compared(stored)
        if lost:
            await self._ledger.checkpoint()  # over the release that may still have waited for its place
            there, lost = await self._compared(stored)
        told = frozenset(one.id for one in lost)
        if told - self._told:
            _log.critical("holds_contradict_the_record", ids=sorted(told))
        self._told = told
        _, snapshot = await self._authority.current()
        return [*there, *(hold for one in lost for hold in one.holds(snapshot.catalog.classes))]

    async def binds(self, hold: str) -> bool:
        """Whether it was placed, and not released."""
        await self._events.read()
        return hold in self._placed

    async def _compared(self, stored: Stored) -> tuple[Sequence[Hold], list[_Placed]]:
        """What is stored, and what of the record is not that."""
        there = await stored()
        await self._events.read()
        _, snapshot = await self._authority.current()
        by_id, classes = {hold.id: hold for hold in there}, snapshot.catalog.classes
        return there, [one for one in self._placed.values() if not one.is_that(by_id.get(one.id), classes)]

    def _take(self, event: Event) -> None:
        if event.get("op") == "release":
            self._placed.pop(str(event.get("hold")), None)
            return
        try:
            placed = _Placed.of(event)
        except (KeyError, TypeError, ValueError):  # no server writes such a one: somebody else put it there
            _log.critical("hold_event_is_not_understood", number=event["number"])
        else:
            self._placed[placed.id] = placed


def said_of(hold: Hold, classes: Classes) -> dict[str, Any]:
    """What the record says of a hold. A collection, which has a name, appears by its access classes."""
    about: dict[str, Any] = {"target": hold.target}
    if hold.on is On.COLLECTION:
        about = {"access_classes": sorted(_inside(hold.target, classes))}
    return {"on": hold.on.value, **about, "since": text(hold.since), "until": text(hold.until)}


def _inside(collection: str, classes: Classes) -> set[int]:
    return {n for n, names in classes.items() if any(collection in (name, *ancestors(name)) for name in names)}


def text(instant: datetime | None) -> str | None:
    """An instant as events and proposals have it."""
    return None if instant is None else instant.astimezone(UTC).isoformat(timespec="microseconds")


def instant(text: str | None) -> datetime | None:
    """The same, read again."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
