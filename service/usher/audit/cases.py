"""Reviewers' cases: exchanges that are looked into together, what is noted of them, and what is decided.

For holders of `audit.read` and `audit.review`. Each change is a `case` event with ids, counts and pseudonyms; what is
typed is sealed, and stands in none. Whoever's rights are limited sees of a case the exchanges within them; a case with
none of these does not exist for them, unless they opened it. What others typed in it is theirs to read only where all
of the case is, since it may tell of the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID

from usher.audit.asking import Asking, Names
from usher.audit.case_answer import CasePage, CaseTold, Changed, Seen, listed, told
from usher.audit.near import Nearness, exchanges
from usher.audit.proof import NotThere
from usher.audit.questions import Named, Questions
from usher.audit.ranges import Range
from usher.audit.reviewers import Reviewer
from usher.authority import Clock, utc_now
from usher.core.cases import (
    MAX_DECIDED,
    MAX_NOTE,
    MAX_STEPS,
    MAX_TITLE,
    Damaged,
    Erased,
    Op,
    Review,
    Step,
    case_of,
    check_decision,
    check_open,
    check_room,
    check_seen,
    checked_text,
    newly,
)
from usher.core.reach import Reach
from usher.errors import UserError
from usher.ledger.record import uuid7
from usher.outbox import Courier
from usher.ports.audit_exchanges import Exchange, Exchanges
from usher.ports.cases import CaseRecord, CaseStore
from usher.viewing import ATTEMPTS, Changing
from usher_policy.vocabulary import Action

T = TypeVar("T")

MAX_LIST = 100
SCAN = 1_000
"""Cases that one page of a list looks at, so that it takes bounded time."""
MAX_AT_ONCE = 500
"""Exchanges that one step adds."""


@dataclass(frozen=True, slots=True)
class Query:
    """Exchanges by a reviewer's question: who saw a document (`named`), what somebody saw, or what was denied."""

    named: Named | None = None
    version: int | None = None
    chunk: UUID | None = None
    person: str | None = None
    pseudonym: str | None = None
    denied: bool = False
    part: Range = field(default_factory=Range)


class Cases:
    """The use case. Raises `UserError`, `NotPermitted`, `NotThere`, `LedgerUnavailable`; changes also `Moved`."""

    def __init__(
        self,
        store: CaseStore,
        index: Exchanges,
        asking: Asking,
        names: Names,
        questions: Questions,
        courier: Courier,
        clock: Clock = utc_now,
    ) -> None:
        self._store, self._index, self._asking, self._names = store, index, asking, names
        self._questions, self._courier, self._clock = questions, courier, clock

    async def open(self, reviewer: Reviewer, title: str) -> Changed:
        """A new case, empty. Recorded when this returns."""
        await self._judged(reviewer)
        title = checked_text("title", title, MAX_TITLE)
        case, step = UUID(uuid7()), Step(1, Op.OPEN, await self._by(reviewer), self._clock())
        await self._courier.carry([await self._store.open(case, step, title)])
        return Changed(case, 1)

    async def add(self, reviewer: Reviewer, ident: str, seen: int, audit_ids: Sequence[str]) -> Changed:
        """Exchanges by their ids, all of them or none. One that is out of reach is as one that is not there."""
        reach = await self._judged(reviewer)
        shown = await self._changeable(reviewer, reach, ident, seen)
        asked = list(dict.fromkeys(audit_ids))
        if not 1 <= len(asked) <= MAX_AT_ONCE:
            raise UserError("exchanges", f"are {len(asked)}", f"give 1 to {MAX_AT_ONCE}")
        near = await self._near(reach, asked)
        if len(near) < len(asked):
            raise NotThere("exchanges", "name one that is not there", "copy ids from answers or from other questions")
        return await self._add(reviewer, shown, near)

    async def add_found(self, reviewer: Reviewer, ident: str, seen: int, query: Query) -> Changed:
        """The exchanges on a page of a question's answer. The question is recorded as any other."""
        reach = await self._judged(reviewer)
        shown = await self._changeable(reviewer, reach, ident, seen)
        found, following = await self._found(replace(reviewer, names=False), query)
        return replace(await self._add(reviewer, shown, await self._near(reach, found)), next=following)

    async def note(self, reviewer: Reviewer, ident: str, seen: int, text: str) -> Changed:
        """A note, sealed."""
        shown = await self._changeable(reviewer, await self._judged(reviewer), ident, seen)
        text = _checked_note(shown.record, text)
        return await self._put(reviewer, shown, Op.NOTE, text=text)

    async def decide(self, reviewer: Reviewer, ident: str, seen: int, review: Review, text: str | None) -> Changed:
        """A review decision, with a reason if one is typed: it closes the case, or opens it again."""
        shown = await self._shown(reviewer, await self._judged(reviewer), ident)
        check_seen(seen, shown.record.steps[-1])
        check_room(shown.case, MAX_DECIDED)
        text = None if text is None else _checked_note(shown.record, text)
        person = None if reviewer.grant is None else await self._by(reviewer)
        check_decision(shown.case, person, all_seen=shown.whole)
        return await self._put(reviewer, shown, Op.DECIDE, review=review, text=text)

    async def show(self, reviewer: Reviewer, ident: str) -> CaseTold:
        """A case with its exchanges and steps. Recorded before it is given, and judged again."""
        reach = await self._asking.reviewers.admitted(reviewer, "case", {"case": _known(ident)}, Action.AUDIT_REVIEW)

        async def read(reach: Reach) -> CaseTold:
            return await self._told(reviewer, await self._shown(reviewer, reach, ident))

        return await self._judged_again(reviewer, reach, read)

    async def page(self, reviewer: Reviewer, after: UUID | None, limit: int) -> CasePage:
        """Cases, newest first, and the id to go on after (None: the end); a page may be short."""
        if not 1 <= limit <= MAX_LIST:
            raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_LIST}")
        asked = {"after": after and str(after), "limit": limit}
        reach = await self._asking.reviewers.admitted(reviewer, "cases", asked, Action.AUDIT_REVIEW)
        await self._asking.follower.caught_up()
        return await self._judged_again(reviewer, reach, lambda reach: self._page(reviewer, reach, after, limit))

    async def _page(self, reviewer: Reviewer, reach: Reach, after: UUID | None, limit: int) -> CasePage:
        """To go on after a case that they may know of, unless there are `SCAN` others in a row."""
        cases: list[CaseTold] = []
        damaged: list[UUID] = []
        by, looked_at = await self._by(reviewer), 0
        while records := await self._store.page(after, limit + 1):
            for record in records:
                if record.damaged:
                    damaged += [record.id] if reach.whole else []
                    continue
                seen = await self._seen(reviewer, reach, record, wait=False)
                if seen is not None and len(cases) == limit:
                    return CasePage(cases, cases[-1].id, damaged)
                cases += [] if seen is None else [listed(seen, by)]
            after, looked_at = records[-1].id, looked_at + len(records)
            if looked_at >= SCAN:
                return CasePage(cases, after, damaged)
        return CasePage(cases, None, damaged)

    async def _judged_again(self, reviewer: Reviewer, reach: Reach, read: Callable[[Reach], Awaitable[T]]) -> T:
        """What is read as far as the rights go, which are judged again before it is given."""
        for _ in range(ATTEMPTS):
            found = await read(reach)
            now = await self._asking.reviewers.again(reviewer, Action.AUDIT_REVIEW)
            if now == reach:
                return found
            reach = now
        raise Changing("key", "has other rights all the time", "ask again in a while")

    async def _judged(self, reviewer: Reviewer) -> Reach:
        return await self._asking.reviewers.judged(reviewer, Action.AUDIT_REVIEW)

    async def _changeable(self, reviewer: Reviewer, reach: Reach, ident: str, seen: int) -> Seen:
        shown = await self._shown(reviewer, reach, ident)
        check_seen(seen, shown.record.steps[-1])
        check_open(shown.case)
        check_room(shown.case, MAX_STEPS)
        return shown

    async def _shown(self, reviewer: Reviewer, reach: Reach, ident: str) -> Seen:
        case = _known(ident)
        record = None if case is None else await self._store.read(UUID(case))
        if record is not None and record.damaged and reach.whole:
            raise Damaged("case", "was changed in the database: it is not what was recorded", "look for it in a backup")
        shown = None if record is None or record.damaged else await self._seen(reviewer, reach, record)
        if shown is None:
            raise _absent()
        return shown

    async def _seen(self, reviewer: Reviewer, reach: Reach, record: CaseRecord, *, wait: bool = True) -> Seen | None:
        """None where it does not exist for this reader."""
        case = case_of(record.steps)
        some = await exchanges(self._asking, self._index, case.exchanges, wait=wait)
        nearness = await Nearness.of(self._asking, reach, some)
        near, entirely = await asyncio.to_thread(nearness.of_all, some)
        if not near and not reach.everything and case.opener != await self._by(reviewer):
            return None
        return Seen(record, case, near, len(some) == len(case.exchanges) and entirely)

    async def _near(self, reach: Reach, audit_ids: Sequence[str]) -> list[Exchange]:
        """Those of them that are there, and within reach."""
        some = await exchanges(self._asking, self._index, audit_ids)
        nearness = await Nearness.of(self._asking, reach, some)
        return list(filter(nearness.exchange, some))

    async def _found(self, reviewer: Reviewer, query: Query) -> tuple[list[str], int | None]:
        """The exchanges of a page of an answer; a view is none."""
        if query.denied:
            denied = await self._questions.denied(reviewer, query.part)
            return _idents(entry.audit_id for entry in denied.entries), denied.next
        if query.named is not None:
            seen = await self._questions.who_saw(reviewer, query.named, query.version, query.chunk, query.part)
        else:
            seen = await self._questions.saw(reviewer, query.person, query.pseudonym, query.part)
        return _idents(entry.audit_id for entry in seen.entries), seen.next

    async def _add(self, reviewer: Reviewer, shown: Seen, near: Sequence[Exchange]) -> Changed:
        added = newly(shown.case, (exchange.audit_id for exchange in near))
        if not added:
            return Changed(shown.record.id, shown.case.version)
        subjects = {exchange.pseudonym for exchange in near if exchange.audit_id in added} - {None}
        return await self._put(reviewer, shown, Op.ADD, exchanges=added, subjects=tuple(sorted(map(str, subjects))))

    async def _put(
        self,
        reviewer: Reviewer,
        shown: Seen,
        op: Op,
        *,
        exchanges: tuple[str, ...] = (),
        subjects: tuple[str, ...] = (),
        review: Review | None = None,
        text: str | None = None,
    ) -> Changed:
        """The next step, if it still is the next one."""
        version = shown.case.version + 1
        step = Step(version, op, await self._by(reviewer), self._clock(), exchanges, review, subjects)
        count = len(shown.case.exchanges) + len(exchanges)
        change = await self._store.put(shown.record.id, step, text, count)
        if isinstance(change, Step):
            check_seen(shown.case.version, change)
        if change is None or isinstance(change, Step):
            raise _absent()
        await self._courier.carry([change])
        return Changed(shown.record.id, version, len(exchanges))

    async def _by(self, reviewer: Reviewer) -> str:
        if reviewer.grant is None:
            return reviewer.actor
        return await self._asking.ledger.pseudonym(reviewer.grant.credential.user)

    async def _told(self, reviewer: Reviewer, seen: Seen) -> CaseTold:
        return told(seen, await self._by(reviewer), await self._users(reviewer, seen))

    async def _users(self, reviewer: Reviewer, seen: Seen) -> dict[str, str | None]:
        """Whom the pseudonyms are the names of, where names are asked for."""
        if not reviewer.names:
            return {}
        of = {exchange.pseudonym for exchange in seen.exchanges} | {step.by for step in seen.record.steps}
        return await self._names.of_people(of)


def _known(ident: str) -> str | None:
    try:
        return str(UUID(ident))
    except ValueError:
        return None


def _idents(audit_ids: Iterable[str | None]) -> list[str]:
    return [ident for ident in dict.fromkeys(audit_ids) if ident is not None]


def _checked_note(record: CaseRecord, text: str) -> str:
    if record.erased:
        raise Erased("case", "was erased: nothing is written in it any more", "open another")
    return checked_text("text", text, MAX_NOTE)


def _absent() -> NotThere:
    return NotThere("case", "is none that is there", "`usher audit case list` lists those that there are")
