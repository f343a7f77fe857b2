"""Legal holds: placed and released by two people, and asked before anything is taken away.

A hold is proposed (`audit.hold`), approved by somebody else, and placed with that; so is its release. It binds from the
moment it is placed, whatever is being let go meanwhile: whoever takes something away does it inside `gate`, and judges
in there by what binds then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from usher.audit.deciders import HOLD, RELEASE
from usher.audit.kept import Records
from usher.audit.proposals import NoSuchProposal, Proposals
from usher.audit.recorded_holds import RecordedHolds, instant, said_of, text
from usher.audit.review import utc
from usher.audit.reviewers import Reviewer, Reviewers
from usher.authority import Authority, Clock, utc_now
from usher.core.holds import Hold, Kept, On, held
from usher.errors import UserError
from usher.ledger.record import uuid7
from usher.outbox import Courier
from usher.ports import Documents
from usher.ports.holds import HoldRow, HoldStore
from usher.ports.learned import Parts
from usher.ports.proposals import Item, ProposalStore
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action

MAX_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to hold. `target` is a pseudonym (or, for a person, a `user`), an id, or a collection."""

    on: str
    target: str | None = None
    user: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A hold and why it was placed; `reason` is None once it can be opened no more."""

    row: HoldRow
    reason: str | None


class NoSuchHold(UserError):
    """There is no such hold, or it does not bind any more."""

    status = 404

    def __init__(self) -> None:
        super().__init__("hold", "is none that binds", "give an id as the list of holds shows it")


class Holds:
    """The use case. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    def __init__(
        self,
        store: HoldStore,
        stored: ProposalStore,
        proposals: Proposals,
        courier: Courier,
        reviewers: Reviewers,
        records: Records,
        documents: Documents,
        learned: Parts,
        authority: Authority,
        recorded: RecordedHolds,
        clock: Clock = utc_now,
    ) -> None:
        self._learned, self._recorded = learned, recorded
        self._store, self._stored, self._proposals, self._courier = store, stored, proposals, courier
        self._reviewers, self._records = reviewers, records
        self._documents, self._authority, self._clock = documents, authority, clock
        self._own = asyncio.Lock()

    @asynccontextmanager
    async def gate(self) -> AsyncIterator[None]:
        """One at a time, among all servers over these databases: nothing is taken away beside it, and no hold placed.
        Raises `LedgerUnavailable`."""
        async with self._own, self._store.turn():
            yield

    async def propose(self, by: Reviewer, wanted: Wanted, reason: str) -> Item:
        """Propose a hold. To name a person takes `audit.identify`."""
        hold = await self._hold(by, wanted)
        subject = await self._records.whose(hold.on, hold.target)
        return await self._proposals.propose(HOLD, _parts(hold), by, reason, subject=subject)

    async def propose_release(self, by: Reviewer, hold: UUID, reason: str) -> Item:
        """Propose to release a hold. It binds until that is approved, and recorded."""
        await self._admitted(by, {"hold": str(hold)})
        row = await self._store.get(hold)
        if row.release is not None if row else not await self._recorded.binds(str(hold)):
            raise NoSuchHold
        placing = await self._stored.get(hold)
        subject = placing.subject if placing else None
        if subject is None and row is not None:
            subject = await self._records.whose(row.hold.on, row.hold.target)
        return await self._proposals.propose(RELEASE, [str(hold)], by, reason, subject=subject)

    async def approve(self, proposal: UUID, digest: str, by: Reviewer) -> Item:
        """Say yes to what has this digest, and have it done."""
        await self._proposed(proposal, by)
        await self._proposals.approve(proposal, digest, by)
        return await self.carry_out(proposal, by)

    async def carry_out(self, proposal: UUID, by: Reviewer) -> Item:
        """Do what was approved, unless that is done."""
        item = await self._proposed(proposal, by)
        if not item.granted:
            await self._proposals.carry_out(proposal, by)
        await self.settle(proposal)
        return await self._proposals.stored(proposal)

    async def settle(self, *only: UUID) -> None:
        """Do what was granted and is not done, all of it or `only` these."""
        for item in await self._proposals.undone(HOLD, RELEASE):
            if not only or item.id in only:
                await self._do(item)

    async def binding(self) -> list[Hold]:
        """The holds that bind now, those too that were granted and are not placed yet, or that somebody took out of the
        database. Asked inside `gate`, it stays so until that is left."""
        granted = [hold_of(item) for item in await self._proposals.undone(HOLD)]
        placed = await self._recorded.binding(self._store.binding)
        return await self._as_shown([*placed, *(one for one in granted if one.id not in {each.id for each in placed})])

    async def _as_shown(self, holds: Sequence[Hold]) -> list[Hold]:
        """With the parts of what adapters learned that documents are of by now."""
        documents = [UUID(hold.target) for hold in holds if hold.on is On.DOCUMENT]
        parts = await self._learned.parts_with(documents) if documents else {}
        return [
            replace(hold, parts=frozenset(map(str, parts.get(UUID(hold.target), ()))))
            if hold.on is On.DOCUMENT
            else hold
            for hold in holds
        ]

    async def page(self, by: Reviewer, before: UUID | None, limit: int) -> list[Listed]:
        """Holds and why they were placed, newest first; released ones too. That it was read is recorded."""
        if not 1 <= limit <= MAX_LIMIT:
            raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")
        await self._admitted(by, {"limit": limit, "before": before and str(before)})
        rows = await self._store.page(before, limit)
        items = [await self._stored.get(UUID(row.hold.id)) for row in rows]
        await self._judged(by)
        return [Listed(row, None if item is None else item.reason) for row, item in zip(rows, items, strict=True)]

    async def over_person(self, pseudonym: str) -> tuple[Hold, ...]:
        """The holds over somebody, or over anything that they asked or were shown."""
        holds = await self.binding()
        found = held(Kept(pseudonym=pseudonym), holds)
        if found or all(hold.on is On.PERSON for hold in holds):
            return found
        on_collections = tuple(hold for hold in holds if hold.on is On.COLLECTION)
        async for _, page in self._records.pages(self._clock()):
            for judged in await self._records.judged([one for one in page if one.pseudonym == pseudonym]):
                if found := held(judged.exchange.kept, holds) or (() if judged.told else on_collections):
                    return found
        return ()

    async def over_document(self, document: UUID) -> tuple[Hold, ...]:
        """The holds over a document, or over a collection that it is in."""
        classes = (await self._documents.current_classes([document])).get(document, ())
        _, snapshot = await self._authority.current()
        names = [name for number in classes for name in snapshot.catalog.classes.get(number, ())]
        collections = frozenset(name for name in names if name.startswith("coll:"))
        return held(Kept(documents=frozenset({str(document)}), collections=collections), await self.binding())

    async def _hold(self, by: Reviewer, wanted: Wanted) -> Hold:
        if wanted.on not in set(On):
            raise UserError("on", "is nothing that can be held", "use one of " + ", ".join(On))
        on = On(wanted.on)
        target = await self._person(by, wanted) if on is On.PERSON else _target(on, wanted)
        return Hold(uuid7(), on, target, utc("from", wanted.since), utc("to", wanted.until))

    async def _person(self, by: Reviewer, wanted: Wanted) -> str:
        if (wanted.user is None) == (wanted.target is None):
            raise UserError("user", "and a pseudonym are two ways to name a person", "give one of the two")
        await self._proposals.may_act(HOLD, by, naming=wanted.user is not None)
        if wanted.user is not None:  # whether the record knows a name is told by it
            await self._reviewers.admitted(replace(by, right=Action.AUDIT_HOLD, names=True), "holds", {})
        return await self._proposals.subject_of(wanted.user, wanted.target)

    async def _admitted(self, by: Reviewer, asked: Mapping[str, Any]) -> None:
        await self._judged(by)
        await self._reviewers.admitted(replace(by, right=Action.AUDIT_HOLD), "holds", asked)

    async def _judged(self, by: Reviewer) -> None:
        """A hold may be on anything: the right to it is needed everywhere in the log."""
        within = await self._reviewers.judged(replace(by, right=Action.AUDIT_HOLD))
        if not within.whole:
            problem = f"may do {Action.AUDIT_HOLD} in some collections only"
            raise NotPermitted("key", problem, "ask your administrator for it on sys:audit")

    async def _proposed(self, proposal: UUID, by: Reviewer) -> Item:
        await self._judged(by)
        await self._courier.recover()
        item = await self._stored.get(proposal)
        if item is None or item.kind not in (HOLD, RELEASE):
            raise NoSuchProposal
        return item

    async def _do(self, item: Item) -> None:
        """Once more changes nothing."""
        await self._place(item) if item.kind == HOLD else await self._release(item)
        await self._proposals.done(item.id)

    async def _place(self, item: Item) -> None:
        hold = hold_of(item)
        event = await self._event(hold)
        async with self.gate():
            change = await self._store.place(hold, event, self._clock())
        await self._courier.recover() if change is None else await self._courier.carry([change])

    async def _release(self, item: Item) -> None:
        hold = item.parts[0]
        if await self._store.get(UUID(hold)) is None and not await self._recorded.binds(hold):
            return
        change = await self._store.release(UUID(hold), item.id, {"proposal": str(item.id)}, self._clock())
        await self._courier.recover() if change is None else await self._courier.carry([change])

    async def _event(self, hold: Hold) -> dict[str, Any]:
        _, snapshot = await self._authority.current()
        return said_of(hold, snapshot.catalog.classes)


def hold_of(item: Item) -> Hold:
    """The hold that a proposal is of: it has its id."""
    on, target, since, until = item.parts
    return Hold(str(item.id), On(on), target, instant(since), instant(until))


def _parts(hold: Hold) -> list[str]:
    return [hold.on.value, hold.target, text(hold.since) or "", text(hold.until) or ""]


def _target(on: On, wanted: Wanted) -> str:
    if wanted.target is None or wanted.user is not None:
        raise UserError("target", "is missing, or a user is named", f"give the {on}'s id, and a user only for a person")
    if on is On.COLLECTION:
        return wanted.target if wanted.target.startswith("coll:") else f"coll:{wanted.target}"
    try:
        return str(UUID(wanted.target))
    except ValueError:
        raise UserError("target", "is not an id", "copy it from an answer of the audit log") from None
