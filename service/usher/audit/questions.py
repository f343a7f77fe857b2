"""The reviewers' questions: who saw a document, what somebody saw, what was denied. Each is recorded before its answer.

The answers come from an index that a follower builds from the committed events, behind them by a moment: each says how
far it was. Pseudonyms, ids and labels are for `audit.read`; asking by a person's name or a document's path, and reading
those in an answer, takes `audit.identify`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from usher.audit.follower import Follower
from usher.audit.review import DEFAULT_LIMIT, MAX_AFTER, MAX_LIMIT, utc
from usher.audit.reviewers import AUDIT, Reviewer
from usher.authority import Authority, Grant
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.record import Entry, EventType
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.ports.audit_index import (
    AuditIndex,
    Between,
    Denial,
    DocumentName,
    DocumentNames,
    Found,
    IndexUnreadable,
    Seen,
    What,
)
from usher.retrieve import who
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action

T = TypeVar("T")
E = TypeVar("E", Seen, Denial)


@dataclass(frozen=True, slots=True)
class Range:
    """Which part of an answer: after an entry's number, so many, from `since` (included) to `until` (excluded)."""

    after: int = 0
    limit: int = DEFAULT_LIMIT
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """A document by its id, or by its path (and source, where the path is in several)."""

    document: UUID | None = None
    path: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class SeenAnswer:
    """By the first `indexed` of `size` events. `next` goes into `after` for what follows, also where a page is
    short or empty; null at the end. `documents` names them by id, where names were asked for."""

    indexed: int
    size: int
    entries: Sequence[Seen]
    next: int | None
    documents: Mapping[str, DocumentName] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeniedAnswer:
    """By the first `indexed` of `size` events. `next` goes into `after` for what follows; null at the end."""

    indexed: int
    size: int
    entries: Sequence[Denial]
    next: int | None


class Questions:
    """The use case. Its questions raise `UserError`, `NotPermitted` and `LedgerUnavailable`; where the index cannot be
    read, that too."""

    def __init__(self, index: AuditIndex, ledger: Ledger, authority: Authority, names: DocumentNames) -> None:
        self._index, self._ledger = index, ledger
        self._authority, self._names = authority, names
        self.follower = Follower(index)

    async def who_saw(
        self,
        reviewer: Reviewer,
        named: Named,
        version: int | None = None,
        chunk: UUID | None = None,
        part: Range | None = None,
    ) -> SeenAnswer:
        """Every exchange and view that showed the document, or inherited it from one that did.

        1. the right is judged, and for a path and for names the right to identify
        2. the question is durable in the record, by ids
        3. it is answered, and the rights are judged again
        """
        part = part or Range()
        between = _between(part)
        if version is not None and not 0 < version <= MAX_AFTER:
            raise UserError("version", "is no version's number", "give one from 1 on, or leave it out")
        self._check(reviewer.grant, identify=reviewer.names or named.path is not None)
        document = named.document if named.path is None else await self._document_at(named.path, named.source)
        asked = {"document": document and str(document), "version": version, "passage": chunk and str(chunk)}
        await self._record(reviewer, "who_saw", asked, part)
        found = await self._ask(lambda: self._index.who_saw(What(document, version, chunk), between))
        return await self._seen(reviewer, found, identify=named.path is not None)

    async def saw(
        self, reviewer: Reviewer, person: str | None, pseudonym: str | None, part: Range | None = None
    ) -> SeenAnswer:
        """What somebody was shown: by name (which takes the right to identify) or by pseudonym. A name or pseudonym
        that nobody has was shown nothing. Steps as in `who_saw`."""
        part = part or Range()
        between = _between(part)
        if (person is None) == (pseudonym is None):
            raise UserError("person", "and a pseudonym are two ways to ask", "give one of the two")
        self._check(reviewer.grant, identify=reviewer.names or person is not None)
        if person is not None:
            subject = await self._opened(self._ledger.subjects.found(person))
            pseudonym = None if subject is None else subject.pseudonym
        elif pseudonym is not None:
            pseudonym = str(_uuid("pseudonym", pseudonym))
        await self._record(reviewer, "saw", {"subject": pseudonym}, part)
        found = await self._ask(lambda: self._index.saw(pseudonym, between))
        return await self._seen(reviewer, found, identify=person is not None)

    async def denied(self, reviewer: Reviewer, part: Range | None = None) -> DeniedAnswer:
        """Everything that was denied or refused, and why. Steps as in `who_saw`."""
        part = part or Range()
        between = _between(part)
        self._check(reviewer.grant, identify=reviewer.names)
        await self._record(reviewer, "denied", {}, part)
        found = await self._ask(lambda: self._index.denied(between))
        entries = await self._with_users(found.entries) if reviewer.names else found.entries
        await self._check_again(reviewer, identify=False)
        return DeniedAnswer(found.indexed, found.size, entries, found.next)

    async def _seen(self, reviewer: Reviewer, found: Found[Seen], *, identify: bool) -> SeenAnswer:
        entries = found.entries
        documents: dict[str, DocumentName] = {}
        if reviewer.names:
            entries = await self._with_users(entries)
            documents = await self._documents_of(entries)
        await self._check_again(reviewer, identify=identify)
        return SeenAnswer(found.indexed, found.size, entries, found.next, documents)

    def _check(self, grant: Grant | None, *, identify: bool) -> None:
        """The operator is stopped by the operating system, or not at all."""
        for action in (Action.AUDIT_READ, *([Action.AUDIT_IDENTIFY] if identify else [])):
            decision = None if grant is None else grant.may(action, AUDIT)
            if decision is not None and not decision.allowed:
                raise NotPermitted("key", f"may not do {action} ({decision.reason})", "ask your administrator")

    async def _check_again(self, reviewer: Reviewer, *, identify: bool) -> None:
        grant = None if reviewer.grant is None else await self._authority.again(reviewer.grant)
        self._check(grant, identify=identify or reviewer.names)

    async def _record(self, reviewer: Reviewer, question: str, asked: Mapping[str, Any], part: Range) -> None:
        grant = reviewer.grant
        by = None if grant is None else who(grant, await self._ledger.pseudonym(grant.credential.user))
        body = {
            "actor": reviewer.actor,
            "question": question,
            **asked,
            "after": part.after,
            "limit": part.limit,
            "since": part.since and part.since.isoformat(),
            "until": part.until and part.until.isoformat(),
            "names": reviewer.names,
        }
        await self._ledger.append([Entry(EventType.AUDIT_READ, who=by, body=body)])

    async def _ask(self, question: Callable[[], T]) -> T:
        await self.follower.caught_up()
        try:
            return await asyncio.to_thread(question)
        except IndexUnreadable as error:
            raise LedgerUnavailable(f"its index cannot be read: {error}") from error

    async def _opened(self, asking: Awaitable[T]) -> T:
        try:
            return await asking
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error

    async def _document_at(self, path: str, source: str | None) -> UUID | None:
        documents = await self._names.at(path, source)
        if len(documents) > 1:
            raise UserError("path", "is in more than one source", "name its source too, or ask by the document's id")
        return documents[0] if documents else None

    async def _with_users(self, entries: Sequence[E]) -> list[E]:
        users = {pseudonym: await self._user(pseudonym) for pseudonym in _pseudonyms(entries)}
        return [replace(entry, user=users.get(entry.pseudonym or "")) for entry in entries]

    async def _user(self, pseudonym: str) -> str | None:
        """None for one whose name can be opened no more."""
        try:
            return await self._opened(self._ledger.subjects.name_of(pseudonym))
        except SealBroken:
            return None

    async def _documents_of(self, entries: Sequence[Seen]) -> dict[str, DocumentName]:
        ids = {UUID(passage.document) for entry in entries for passage in entry.passages}
        return {str(ident): name for ident, name in (await self._names.named(sorted(ids))).items()}


def _between(part: Range) -> Between:
    if not 1 <= part.limit <= MAX_LIMIT:
        raise UserError("limit", f"is {str(part.limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")
    if not 0 <= part.after <= MAX_AFTER:
        raise UserError("after", "is no entry's number", "give the `next` of the page before, or leave it out")
    return Between(part.after, part.limit, _time("from", part.since), _time("to", part.until))


def _time(name: str, instant: datetime | None) -> str | None:
    at = utc(name, instant)
    return None if at is None else at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _uuid(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UserError(name, "is not an id", "copy it from an answer of the audit log") from None


def _pseudonyms(entries: Iterable[Seen | Denial]) -> set[str]:
    return {entry.pseudonym for entry in entries if entry.pseudonym is not None}
