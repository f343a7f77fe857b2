"""Acts on the record that take two people: proposed, approved by somebody else, and then carried out, each recorded.

Everybody appears by pseudonym, here and in what is stored: two pseudonyms are two people. The operator may propose as
one more, whom no person is; where nobody may approve, the operator alone may break the glass, with an alarm and a
review that stays open. What is typed stays out of the events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from usher.audit.deciders import RIGHTS, Acting, Deciders
from usher.audit.grants import Grants
from usher.audit.reviewers import Reviewer
from usher.authority import Clock, utc_now
from usher.core import approval, break_glass
from usher.core.approval import Denial, Proposal
from usher.core.break_glass import BreakGlass
from usher.errors import UserError
from usher.ledger.record import Entry, EventType, uuid7
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.ports.proposals import Item, ProposalStore
from usher.retrieve import who
from usher.viewing import ATTEMPTS, Changing, NotPermitted
from usher_policy.vocabulary import Action

MAX_REASON = 2_000
"""Characters."""
MAX_LIMIT = 200

_log = structlog.stdlib.get_logger("usher.audit.proposals")

_WORDS: Mapping[Denial, tuple[str, str]] = {
    Denial.REFUSED: ("was refused", "propose it anew"),
    Denial.WITHDRAWN: ("was withdrawn", "propose it anew"),
    Denial.CARRIED_OUT: ("was carried out already", "look it up in the list"),
    Denial.EXPIRED: ("has expired", "propose it anew"),
    Denial.CLOCK: ("is from the future: the clock went back", "set the clock right"),
    Denial.NO_PERSON: ("takes a person", "act by a person's key"),
    Denial.NO_RIGHT: ("is not yours to decide", "ask somebody who holds the right"),
    Denial.SAME_PERSON: ("was made by the same person", "somebody else must decide"),
    Denial.NOT_PROPOSER: ("was made by somebody else", "whoever made it may withdraw it; others refuse it"),
    Denial.OTHER_CONTENT: ("has another digest", "look at what is proposed, and give the digest shown with it"),
    Denial.REPEATED: ("has that from you already", "nothing more is needed of you"),
    Denial.TOO_FEW: ("waits for the approval of another person", "ask somebody who holds the right"),
    Denial.RIGHT_LOST: ("was approved by somebody who may no longer", "ask another person who holds the right"),
    Denial.STILL_OPEN: ("is still open", "review it when its time is over"),
}
_OTHERS = frozenset({"approved", "refused", "reviewed"})
"""What nobody decides on an act that is about themselves: it may take their own traces away, or keep them."""
_FORBIDDEN = frozenset({Denial.NO_PERSON, Denial.NO_RIGHT, Denial.SAME_PERSON, Denial.NOT_PROPOSER})


class NoSuchProposal(UserError):
    """There is no such proposal, or none of a kind that this person may know of."""

    status = 404

    def __init__(self) -> None:
        super().__init__("proposal", "is none that you may decide on", "give an id as the list of proposals shows it")


class NotNow(UserError):
    """As the proposal stands, this cannot be done to it."""

    status = 409


class Proposals:
    """The use case. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    def __init__(
        self,
        store: ProposalStore,
        deciders: Deciders,
        ledger: Ledger,
        courier: Courier,
        grants: Grants,
        clock: Clock = utc_now,
    ) -> None:
        self._store, self._deciders, self._grants = store, deciders, grants
        self._ledger, self._courier, self._clock = ledger, courier, clock

    async def propose(
        self,
        kind: str,
        parts: Sequence[str],
        by: Reviewer,
        reason: str,
        *,
        subject: str | None = None,
        life: timedelta = approval.LIFE,
    ) -> Item:
        """Propose to do exactly `parts` (ids, numbers, rule ids: never names or typed text), about `subject`."""
        acting = await self._deciders.judged(by, RIGHTS[kind])
        now, ident = self._clock(), uuid7()
        given = approval.propose(ident, kind, _bytes(parts), acting.principal, now, life=life)
        item = Item(UUID(ident), kind, tuple(parts), subject, now, given, _checked(reason))
        return await self._added(item, "proposed", acting)

    async def approve(self, item: UUID, digest: str, by: Reviewer) -> Item:
        """Say yes to what has this digest, the one that stands beside what the person was shown."""

        def decide(stands: Proposal, acting: Acting, now: datetime) -> Proposal | Denial:
            return approval.approve(stands, acting.principal, digest, now, may_approve=acting.right)

        return await self._decided(item, by, "approved", decide)

    async def refuse(self, item: UUID, by: Reviewer) -> Item:
        def decide(stands: Proposal, acting: Acting, now: datetime) -> Proposal | Denial:
            return approval.refuse(stands, acting.principal, now, may_approve=acting.right)

        return await self._decided(item, by, "refused", decide)

    async def withdraw(self, item: UUID, by: Reviewer) -> Item:
        def decide(stands: Proposal, acting: Acting, now: datetime) -> Proposal | Denial:
            return approval.withdraw(stands, acting.principal, now)

        return await self._decided(item, by, "withdrawn", decide)

    async def carry_out(self, item: UUID, by: Reviewer) -> Item:
        """Have it judged, once and for all, whether it may be done now: from here on it is `undone` until the caller,
        or after a kill its recovery, has done all of it and said `done`."""
        found = await self._found(item, by)
        approved = found.stands if isinstance(found.stands, Proposal) else None
        may = set() if approved is None else await self._deciders.may_still(approved, RIGHTS[found.kind])

        def decide(stands: Proposal, acting: Acting, now: datetime) -> Proposal | Denial:
            digest = approval.digest_of(found.kind, *_bytes(found.parts))
            return approval.carry_out(stands, acting.principal, digest, now, may_approve=may)

        return await self._decided(item, by, "carried_out", decide)

    async def break_glass(
        self, kind: str, parts: Sequence[str], by: Reviewer, reason: str, *, subject: str | None = None
    ) -> Item:
        """The operator does this alone, at once, because nobody there is holds the right to approve it. Alarmed; its
        review stays open. As after `carry_out`, it is `undone` until it is `done`."""
        acting = await self._deciders.judged(by, RIGHTS[kind])
        alone = by.grant is None and not await self._deciders.anybody(RIGHTS[kind])
        now, ident = self._clock(), uuid7()
        given = break_glass.break_glass(
            ident, kind, _bytes(parts), acting.principal, _checked(reason), now, may_break_glass=alone
        )
        if isinstance(given, Denial):
            problem = f"is for the operator, where nobody holds {RIGHTS[kind]}"
            raise NotPermitted("break_glass", problem, "propose it, and have it approved")
        _log.critical("break_glass", kind=kind, id=ident, by=acting.name)
        return await self._added(Item(UUID(ident), kind, tuple(parts), subject, now, given, reason), "alone", acting)

    async def review(self, item: UUID, by: Reviewer) -> Item:
        """Close the review of a break-glass: somebody else, with `audit.review`, once its time is over."""

        def decide(stands: BreakGlass, acting: Acting, now: datetime) -> BreakGlass | Denial:
            return break_glass.review(stands, acting.principal, now, may_review=acting.right)

        return await self._decided(item, by, "reviewed", decide, Action.AUDIT_REVIEW)

    async def page(self, by: Reviewer, before: UUID | None = None, limit: int = 50) -> list[Item]:
        """What was proposed or done alone, newest first, of the kinds that the person may decide on or review. That
        it was read is recorded."""
        if not 1 <= limit <= MAX_LIMIT:
            raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")
        kinds = await self._deciders.kinds(by)
        acting = await self._deciders.judged(by, Action.AUDIT_IDENTIFY if by.names else None)
        grant = by.grant
        reader = None if grant is None else who(grant, acting.name)
        asked = {"actor": by.actor, "question": "proposals", "limit": limit, "before": before and str(before)}
        await self._ledger.append([Entry(EventType.AUDIT_READ, who=reader, body={**asked, "names": by.names})])
        await self._courier.recover()
        found = await self._store.page(sorted(kinds), before, limit)
        kinds = await self._deciders.kinds(by)
        return [item for item in found if item.kind in kinds]

    async def users_of(self, items: Sequence[Item], by: Reviewer) -> list[str | None]:
        """The names of whom they are about, if they are asked for; who may identify is judged once they are read."""
        users = [await self.user_of(item) if by.names else None for item in items]
        if by.names:
            await self._deciders.judged(by, Action.AUDIT_IDENTIFY)
        return users

    async def user_of(self, item: Item) -> str | None:
        """The name of whom it is about; None where that opens no more, or it is about nobody."""
        try:
            return None if item.subject is None else await self._ledger.subjects.name_of(item.subject)
        except SealBroken:
            return None

    async def undone(self, *kinds: str) -> list[Item]:
        """What is granted and not yet done, the oldest first; nothing that the record does not say was granted."""
        await self._courier.recover()
        return [item for item in await self._store.undone(kinds) if await self._grants.stands(item)]

    async def done(self, item: UUID) -> None:
        """Nothing remains to be done for it."""
        await self._store.done(item, self._clock())

    async def subject_of(self, user: str | None, pseudonym: str | None) -> str:
        """The pseudonym of whom an act is about. Raises `UserError` for nobody whom the record knows."""
        try:
            by_name = None if user is None else await self._ledger.subjects.found(user)
            subject = by_name if pseudonym is None else await self._ledger.subjects.known(pseudonym)
        except SealBroken:
            subject = None
        if subject is None:
            raise UserError("person", "is nobody whom the record knows", "give a user or pseudonym that stands in it")
        return subject.pseudonym

    async def _added(self, item: Item, act: str, acting: Acting) -> Item:
        await self._courier.carry([await self._store.add(item, _event(item, act, acting))])
        return await self.stored(item.id)

    async def _decided(
        self, ident: UUID, by: Reviewer, act: str, decide: Callable[..., Any], right: Action | None = None
    ) -> Item:
        """The item with what was decided on it, stored only over what it was decided on."""
        for _ in range(ATTEMPTS):
            item = await self._found(ident, by, right)
            acting = await self._deciders.judged(by, right or RIGHTS[item.kind])
            if isinstance(item.stands, BreakGlass) is not (act == "reviewed"):
                raise NoSuchProposal
            if item.subject == acting.name and act in _OTHERS:
                raise NotPermitted("proposal", "is about yourself", "somebody else who holds the right must decide")
            now = self._clock()
            decided = decide(item.stands, acting, now)
            if isinstance(decided, Denial):
                raise refusal(decided)
            change = await self._store.put(replace(item, stands=decided), _event(item, act, acting), now)
            if change is not None:
                await self._courier.carry([change])
                return await self.stored(ident)
        raise Changing("proposal", "is changing all the time", "look at it again in a while")

    async def may_act(self, kind: str, by: Reviewer, *, naming: bool = False) -> None:
        """Raises `NotPermitted` for whoever has no part in such acts, or, `naming` a person, may not identify them."""
        for right in (RIGHTS[kind], *([Action.AUDIT_IDENTIFY] if naming else [])):
            await self._deciders.judged(by, right)

    async def known(self, item: UUID, by: Reviewer) -> Item:
        """A proposal of a kind that somebody may know of. Raises `NoSuchProposal`."""
        return await self._found(item, by)

    async def _found(self, ident: UUID, by: Reviewer, right: Action | None = None) -> Item:
        if right is not None:
            await self._deciders.judged(by, right)
        kinds = frozenset(RIGHTS) if right else await self._deciders.kinds(by)
        await self._courier.recover()
        item = await self._store.get(ident)
        if item is None or item.kind not in kinds:
            raise NoSuchProposal
        return item

    async def stored(self, ident: UUID) -> Item:
        """The item as it is now. Raises `NoSuchProposal`."""
        item = await self._store.get(ident)
        if item is None:
            raise NoSuchProposal
        return item


def _event(item: Item, act: str, acting: Acting) -> dict[str, Any]:
    """What the record says of it: no names, no typed text."""
    said = {"act": act, "proposal": str(item.id), "act_kind": item.kind, "digest": item.stands.digest}
    about: dict[str, Any] = {} if item.subject is None else {"subject": item.subject}
    if isinstance(item.stands, BreakGlass):
        about["break_glass"] = True
    return {**said, **about, "by": acting.name, "rules": list(acting.rules)}


def _bytes(parts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(part.encode() for part in parts)


def _checked(reason: str) -> str:
    if not reason.strip():
        raise UserError("reason", "is empty", "say why, for those who decide")
    if len(reason) > MAX_REASON:
        raise UserError("reason", f"has {len(reason)} characters, more than {MAX_REASON}", "shorten it")
    return reason


def refusal(denial: Denial, what: str = "proposal") -> UserError:
    """Why something cannot be decided so, in words."""
    problem, remedy = _WORDS[denial]
    return (NotPermitted if denial in _FORBIDDEN else NotNow)(what, problem, remedy)
