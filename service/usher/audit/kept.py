"""Exchanges as the log tells of them, with all that retention and holds ask: read from the events themselves, from the
first on. An index may be behind; what it does not have yet must not be let go, or missed by a hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from usher.audit.review import EventLog
from usher.authority import Authority
from usher.core import exposures
from usher.core.holds import Kept, On
from usher.core.retention import Item, Type
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.record import ContentRow, EventType, micros_of
from usher.ports import Documents
from usher.ports.holds import Remembered, RetentionStore

PAGE = 500
"""Events that are read at once."""
_COLLECTION = "coll:"


class KeptLog(EventLog, Protocol):
    """The ledger's own reads, and the sealed rows of an exchange."""

    def content(self, audit_id: str) -> tuple[ContentRow, ...]: ...


@dataclass(slots=True)
class Recorded:
    """A question and what was found for it, by its events. `shown`: documents, each with its access class then."""

    number: int
    audit_id: str
    type: Type
    at: datetime
    pseudonym: str | None
    roles: frozenset[str]
    conversation: str
    shown: set[tuple[str, int | None]] = field(default_factory=set)


class Reader:
    """Takes events in their order, and gives each exchange once it has come to its end."""

    def __init__(self) -> None:
        self._open: dict[str, Recorded] = {}

    def read(self, event: Mapping[str, Any]) -> Recorded | None:
        audit_id = event["audit_id"]
        match event["type"]:
            case EventType.REQUEST:
                self._open[audit_id] = _begun(event)
            case EventType.DECISION if event.get("effect") == "deny" and self._is(audit_id, Type.SEARCH):
                return self._open.pop(audit_id, None)
            case EventType.RETRIEVAL if audit_id in self._open:
                passages = [*(event.get("passages") or ()), *(event.get("documents") or ())]
                self._open[audit_id].shown.update((one["document"], one.get("access_class")) for one in passages)
                return self._open.pop(audit_id) if self._is(audit_id, Type.SEARCH) else None
            case EventType.ANSWER:
                return self._open.pop(audit_id, None)
        return None

    def unended(self) -> list[Recorded]:
        """The searches that did not come to an end. A chat does, by the next start of the ledger if by nothing else."""
        return [one for one in self._open.values() if one.type is Type.SEARCH]

    def _is(self, audit_id: str, type: Type) -> bool:
        return audit_id in self._open and self._open[audit_id].type is type


def _begun(event: Mapping[str, Any]) -> Recorded:
    who = event["who"] or {}
    at = datetime.fromtimestamp(micros_of(event["time"]) / 1_000_000, UTC)
    conversation = event.get("conversation") or event["audit_id"]  # a search is sealed as one of its own
    roles = frozenset(who.get("roles") or ())
    place = (event["number"], event["audit_id"], Type(event["operation"]), at)
    return Recorded(*place, who.get("pseudonym"), roles, conversation)


@dataclass(frozen=True, slots=True)
class Judged:
    """An exchange as something to be judged, and the feedback on it of which there are words. `told`: the places of all
    that it showed are known; else nobody can tell what keeps it. `dropped`: it is known to hold nothing any more."""

    exchange: Item
    feedback: tuple[Item, ...]
    told: bool
    dropped: bool


class Records:
    """The log's exchanges. Raises `LedgerUnavailable`."""

    def __init__(self, log: KeptLog, store: RetentionStore, documents: Documents, authority: Authority) -> None:
        self._log, self._store = log, store
        self._documents, self._authority = documents, authority

    async def pages(self, until: datetime) -> AsyncIterator[tuple[int, list[Recorded]]]:
        """The exchanges that came to their end before an instant, in pages, each with the number of events read."""
        reader, after = Reader(), 0
        while True:
            events, following = await self._events(after, until)
            ended = [one for _, event in events if (one := reader.read(event)) is not None]
            after = events[-1][0] if events else after
            yield after, ended if following is not None else [*ended, *reader.unended()]
            if following is None:
                return
            after = following

    async def _events(
        self, after: int, until: datetime | None, type: EventType | None = None
    ) -> tuple[Sequence[tuple[int, Mapping[str, Any]]], int | None]:
        read = self._log.events
        try:
            page = await asyncio.to_thread(read, after, PAGE, type=type, outcome=None, since=None, until=until)
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error
        return page.events, page.next

    async def of_type(self, type: EventType, after: int) -> AsyncIterator[tuple[int, Mapping[str, Any]]]:
        """The events of a type that are numbered above `after`."""
        following: int | None = after
        while following is not None:
            events, following = await self._events(following, None, type)
            for event in events:
                yield event

    async def whose(self, on: On, target: str) -> str | None:
        """The pseudonym of the one person whom a hold on this is about; None where it is about nobody, or many."""
        if on is On.PERSON:
            return target
        if on not in (On.EXCHANGE, On.CONVERSATION):
            return None
        first = await self._store.one_of(UUID(target)) if on is On.CONVERSATION else None  # a search is one of its own
        try:
            rows = await asyncio.to_thread(self._log.content, target if first is None else str(first))
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error
        return rows[0].pseudonym if rows else None

    async def judged(self, found: Sequence[Recorded]) -> list[Judged]:
        """These exchanges as what they are now: by the labels, the places and the feedback of this moment."""
        remembered = await self._store.remembered([UUID(one.audit_id) for one in found])
        shown = {one.audit_id: _documents(one, remembered.get(UUID(one.audit_id))) for one in found}
        known = await self._documents.current_classes(sorted(_ids(set().union(*shown.values()))))
        _, snapshot = await self._authority.current()
        places = _Places({str(document): classes for document, classes in known.items()}, snapshot.catalog.classes)
        return [_judged(one, remembered.get(UUID(one.audit_id)), shown[one.audit_id], places) for one in found]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where documents are shelved: their access classes of now, and what each class requires."""

    classes: Mapping[str, Collection[int]]
    requirements: Mapping[int, Collection[str]]

    def of(self, document: str, then: Iterable[int | None]) -> tuple[set[str | None], bool]:
        """Its collections, then and now, and whether these are all."""
        classes = {*self.classes.get(document, ()), *(number for number in then if number is not None)}
        known = classes & self.requirements.keys()
        return {_collection(self.requirements[number]) for number in known}, bool(classes) and known == classes


def _collection(requirements: Iterable[str]) -> str | None:
    return next((name for name in requirements if name.startswith(_COLLECTION)), None)


def _documents(one: Recorded, remembered: Remembered | None) -> frozenset[str]:
    """All that it showed: what was found for it, and what stood in its prompt by way of earlier exchanges."""
    inherited = () if remembered is None else exposures.unpack(remembered.exposures)
    return frozenset(document for document, _ in one.shown) | frozenset(map(str, inherited))


def _ids(documents: Iterable[str]) -> set[UUID]:
    return {UUID(document) for document in documents}


def _judged(one: Recorded, remembered: Remembered | None, documents: frozenset[str], places: _Places) -> Judged:
    then: dict[str, list[int | None]] = {document: [] for document in documents}
    for document, number in one.shown:
        then[document].append(number)
    found = [places.of(document, classes) for document, classes in then.items()]
    where: frozenset[str | None] = frozenset().union(*(here for here, _ in found))
    feedback = () if remembered is None else remembered.feedback
    kept = Kept(
        times=(one.at, *(at for _, at in feedback)),
        pseudonym=one.pseudonym,
        conversation=one.conversation,
        exchange=one.audit_id,
        documents=documents,
        collections=frozenset(name for name in where if name is not None),
    )
    given = tuple(Item(Type.FEEDBACK, str(ident), at, kept, one.roles, where) for ident, at in feedback)
    exchange = Item(one.type, one.audit_id, one.at, kept, one.roles, where)
    dropped = remembered is not None and remembered.dropped
    return Judged(exchange, given, all(told for _, told in found), dropped)
