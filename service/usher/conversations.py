"""A person's own conversations: listed, read, named, deleted and searched.

Of a past exchange, and of a title that was made of exchanges, the words are opened only while all that was shown is in
the person's scope. What is to be shown is recorded first, and judged once more after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from usher.authority import Authority, Clock, Grant, utc_now
from usher.core import exposures
from usher.core.cited import Cited, unpack
from usher.core.dialogue import HIDDEN, runs_collapsed
from usher.core.finding import words_of
from usher.core.place import cursor_of, place_of
from usher.core.titles import TITLE, checked_title
from usher.core.transcript import clean_now, nearest_visible, page_before, shown
from usher.errors import UserError
from usher.feedback import Feedback
from usher.ledger.content import Subject
from usher.ledger.record import Entry, EventType, uuid7
from usher.ledger.sequencer import Ledger
from usher.limits import Limits
from usher.outbox import Courier
from usher.own_search import Hit, OwnSearch
from usher.ports import ConversationIndex, ConversationRow, ExchangeRow
from usher.retrieve import denied, who
from usher.threads import NoSuchExchange, Texts, Threads
from usher.viewing import Changing, NotPermitted, view_body

CONVERSATION = "conversation"
"""The field that names one."""
MAX_LIMIT = 200
MAX_HITS = 50
SEARCHED = 5_000
"""The newest exchanges of a person, which a search looks at."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A conversation without its exchanges. `title` is None before the first question, and `HIDDEN` if `hidden`."""

    id: UUID
    title: str | None
    hidden: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Said:
    """An exchange. `parent` is the nearest one before it, on its branch, that is visible. `outcome` is None while the
    answer flows."""

    id: UUID
    parent: UUID | None
    created_at: datetime
    question: str
    answer: str
    cited: tuple[Cited, ...]
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A page of a conversation, oldest first; None stands for what is hidden. `next` is the place to go on from, which
    is back in time; None at the beginning."""

    conversation: Listed
    exchanges: list[Said | None]
    next: UUID | None


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, newest first. `complete`: there are no more, in all that the person may see."""

    hits: list[Hit]
    complete: bool


class Conversations:
    """What is another's, absent or deleted raises `NoSuchExchange`, whichever it is; a credential that opens nothing
    any more `NotPermitted`; all methods raise `LedgerUnavailable`, and those that show texts `Changing`."""

    def __init__(
        self,
        index: ConversationIndex,
        threads: Threads,
        ledger: Ledger,
        authority: Authority,
        courier: Courier,
        limits: Limits,
        feedback: Feedback,
        clock: Clock = utc_now,
    ) -> None:
        self._index = index
        self._threads = threads
        self._ledger = ledger
        self._authority = authority
        self._courier = courier
        self._limits = limits
        self._feedback = feedback
        self._clock = clock
        self._search = OwnSearch(threads)

    async def create(self, grant: Grant, title: str | None = None) -> Listed:
        """An empty one. Without a title its first question gives it one. Raises `UserError`, `LimitExceeded`."""
        words = None if title is None else checked_title(title)
        user, subject = await self._person(grant)
        self._limits.conversations(user, await self._index.count(user))
        ident, now = UUID(uuid7()), self._clock()
        row = ConversationRow(ident, now, now, None if words is None else _sealed_title(subject, ident, words))
        await self._index.create(user, row)
        return Listed(ident, words, False, now, now)

    async def page(self, grant: Grant, after: str | None, limit: int) -> tuple[list[Listed], str | None]:
        """By last use, newest first, and the cursor to go on after (None: the end). Raises `UserError`."""
        _checked_limit(limit, MAX_LIMIT)
        grant = await self._now(grant)
        user, subject = await self._person(grant)
        found = await self._index.page(user, None if after is None else place_of(subject.digest, after), limit + 1)
        rows = found[:limit]
        titles = [row.title_exposures for row in rows]
        allowed = await self._threads.permitted(grant.scope, titles)
        listed = _listed(subject, rows, allowed)
        record = {"conversations": [str(one.id) for one in listed if one.title is not None and not one.hidden]}
        still = await self._recorded(grant, subject, record, titles, allowed)
        more = cursor_of(subject.digest, rows[-1].updated_at, rows[-1].id) if len(found) > limit else None
        return [one if may else _untold(one) for one, may in zip(listed, still, strict=True)], more

    async def read(self, grant: Grant, conversation: UUID, after: UUID | None, limit: int) -> Opened:
        """The newest exchanges of a conversation, or the newest before `after`. Raises `UserError`."""
        _checked_limit(limit, MAX_LIMIT)
        grant = await self._now(grant)
        user, subject = await self._person(grant)
        row, rows = await self._row(user, conversation), await self._index.exchanges(user, conversation)
        judged = [*(one.exposures for one in rows), row.title_exposures]
        *allowed, told = await self._threads.permitted(grant.scope, judged)
        try:
            page, back = page_before(shown([one.id for one in rows], _ids(rows, allowed)), after, limit)
        except ValueError:
            remedy = "give `next` of the page before, or leave it out"
            raise UserError("after", "is no place in this conversation", remedy) from None
        listed = _listed(subject, [row], [told])[0]
        here = frozenset(page)
        opened = await self._threads.texts(subject, [one for one in rows if one.id in here])
        texts = await asyncio.to_thread(_clean_now, opened, grant.documents.link_hosts)
        record = {"conversations": [str(row.id)] if told else [], "exchanges": [str(ident) for ident in texts]}
        *allowed, told = await self._recorded(grant, subject, record, judged, [*allowed, told])
        return Opened(listed if told else _untold(listed), _said(rows, _ids(rows, allowed), page, texts), back)

    async def rename(self, grant: Grant, conversation: UUID, title: str) -> Listed:
        """The name may tell of all that the conversation has shown until now, and is shown while that may be. Raises
        `UserError`."""
        words = checked_title(title)
        grant = await self._now(grant)
        user, subject = await self._person(grant)
        rows = await self._index.exchanges(user, conversation)
        told_of = await asyncio.to_thread(exposures.closed, (), [row.exposures for row in rows])
        if not await self._index.rename(user, conversation, _sealed_title(subject, conversation, words), told_of):
            raise NoSuchExchange(CONVERSATION)
        row = await self._row(user, conversation)
        return _listed(subject, [row], await self._threads.permitted(grant.scope, [row.title_exposures]))[0]

    async def delete(self, grant: Grant, conversation: UUID) -> None:
        """Gone at once, and recorded when this returns; what the ledger holds of it stays, for as long as its own rules
        say. What adapters learned from it by its person's leave is theirs no more. Raises `ChangePending`: it is gone,
        and will be recorded."""
        grant = await self._now(grant)
        learned = await self._feedback.lets_learn(grant.credential.user, conversation)
        change = await self._index.delete(grant.credential.user, conversation, self._clock())
        if change is None:
            raise NoSuchExchange(CONVERSATION)
        try:
            await self._courier.carry([change])
        finally:
            if learned is not None:
                await self._feedback.taken_back(learned)

    async def search(self, grant: Grant, query: str, limit: int) -> Found:
        """The exchanges whose question and answer together hold all words, newest first. There is no index of words:
        the newest are opened and looked at, for a few seconds at most. Raises `UserError`."""
        words = words_of(query)
        _checked_limit(limit, MAX_HITS)
        grant = await self._now(grant)
        user, subject = await self._person(grant)
        rows = await self._index.newest(user, SEARCHED + 1)
        hits, all_hits = await self._search.scan(grant, subject, words, rows[:SEARCHED], limit)
        record = {"exchanges": [str(hit.row.id) for hit in hits]}
        judged = [hit.row.exposures for hit in hits]
        still = await self._recorded(grant, subject, record, judged, [True] * len(hits))
        complete = all_hits and len(rows) <= SEARCHED
        return Found([hit for hit, may in zip(hits, still, strict=True) if may], complete)

    async def _now(self, grant: Grant) -> Grant:
        now = await self._authority.again(grant)
        refusal = denied(now)
        if refusal is not None:
            raise NotPermitted("key", f"opens no conversations any more ({refusal})", "ask your administrator")
        return now

    async def _person(self, grant: Grant) -> tuple[str, Subject]:
        return grant.credential.user, await self._ledger.subject(grant.credential.user)

    async def _row(self, user: str, conversation: UUID) -> ConversationRow:
        row = await self._index.get(user, conversation)
        if row is None:
            raise NoSuchExchange(CONVERSATION)
        return row

    async def _recorded(
        self,
        grant: Grant,
        subject: Subject,
        record: Mapping[str, object],
        judged: Sequence[bytes],
        allowed: Sequence[bool],
    ) -> list[bool]:
        """What is about to be shown is durable in the record. Then which of these exposures, of those that were allowed
        under `grant`, still are. Raises `Changing` if it may hold links that are allowed no more."""
        body = view_body(grant, **record)
        await self._ledger.append([Entry(EventType.VIEW, who=who(grant, subject.pseudonym), body=body)])
        now = await self._now(grant)
        if now is grant:
            return list(allowed)
        if not grant.documents.link_hosts <= now.documents.link_hosts:
            raise Changing("policy", "has just changed", "ask again")
        still = await self._threads.permitted(now.scope, judged)
        return [before and after for before, after in zip(allowed, still, strict=True)]


def _checked_limit(limit: int, most: int) -> None:
    if not 1 <= limit <= most:
        raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {most}")


def _sealed_title(subject: Subject, conversation: UUID, title: str) -> bytes:
    return subject.conversation(str(conversation)).seal_label(TITLE, title)


def _listed(subject: Subject, rows: Sequence[ConversationRow], allowed: Sequence[bool]) -> list[Listed]:
    return [_titled(subject, row, may) for row, may in zip(rows, allowed, strict=True)]


def _titled(subject: Subject, row: ConversationRow, may: bool) -> Listed:
    title = None
    if row.sealed_title is not None:
        title = subject.conversation(str(row.id)).open_label(TITLE, row.sealed_title) if may else HIDDEN
    return Listed(row.id, title, title is not None and not may, row.created_at, row.updated_at)


def _untold(listed: Listed) -> Listed:
    """The same with its title hidden, if it has one."""
    return listed if listed.title is None else replace(listed, title=HIDDEN, hidden=True)


def _ids(rows: Sequence[ExchangeRow], allowed: Sequence[bool]) -> set[UUID]:
    return {row.id for row, may in zip(rows, allowed, strict=True) if may}


def _clean_now(texts: Mapping[UUID, Texts], link_hosts: Collection[str]) -> dict[UUID, Texts]:
    return {ident: replace(said, parts=(clean_now(said.answer, link_hosts),)) for ident, said in texts.items()}


def _said(
    rows: Sequence[ExchangeRow], visible: Collection[UUID], page: Sequence[UUID | None], texts: Mapping[UUID, Texts]
) -> list[Said | None]:
    by_id = {row.id: row for row in rows}
    parents = nearest_visible({row.id: row.parent for row in rows}, visible)

    def said(ident: UUID) -> Said:
        row, words = by_id[ident], texts[ident]
        return Said(ident, parents[ident], row.created_at, words.question, words.answer, unpack(row.cited), row.outcome)

    return runs_collapsed(said(ident) if ident is not None and ident in visible else None for ident in page)
