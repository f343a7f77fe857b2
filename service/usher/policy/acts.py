"""What every act on a changeset goes through: judged, decided on what stands, stored over exactly that, recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from usher.audit.proposals import refusal
from usher.authority import Authority, Clock, Grant
from usher.core.approval import Denial, Proposal
from usher.core.break_glass import BreakGlass
from usher.core.changeset import POLICY, Changeset
from usher.core.plan_words import Diff, Moved
from usher.errors import UserError
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.policy.editors import Acting, Editor, Editors
from usher.policy.plan import Outdated
from usher.policy.planner import Planned, Planner
from usher.ports import Change
from usher.ports.changesets import ChangesetStore
from usher.viewing import ATTEMPTS, Changing, Viewing, view_body
from usher_policy.vocabulary import Action, typed

T = TypeVar("T")

MAX_COMMENT: Final = 2_000
"""Characters."""
LOOK: Final = (
    Action.POLICY_READ,
    Action.POLICY_PROPOSE,
    Action.POLICY_APPROVE,
    Action.POLICY_ACTIVATE,
    Action.POLICY_ROLLBACK,
)
"""Whoever may do more may look."""

S = TypeVar("S", Proposal, BreakGlass)
Decide = Callable[[Changeset, S, Acting, datetime], Awaitable[S | Denial]]


class NoSuchChangeset(UserError):
    """There is no such changeset, or none that this person may know of."""

    status = 404

    def __init__(self) -> None:
        super().__init__("changeset", "is none that you may look at", "give an id as the list of changesets shows it")


@dataclass(frozen=True, slots=True)
class Acts:
    """The parts that all acts on changesets share. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    store: ChangesetStore
    editors: Editors
    planner: Planner
    authority: Authority
    ledger: Ledger
    courier: Courier
    clock: Clock

    async def found(self, ident: UUID, by: Editor) -> Changeset:
        """The changeset, whole. Raises `NoSuchChangeset`, also for one that lies beyond what a scoped right covers and
        that somebody else made."""
        acting = await self.editors.judged(by, *LOOK)
        await self.courier.recover()
        changeset = await self.store.get(ident)
        if changeset is None or not await self._may_know(changeset, acting):
            raise NoSuchChangeset
        return changeset

    async def _may_know(self, changeset: Changeset, acting: Acting) -> bool:
        return changeset.by == acting.name or await self.within(changeset, acting)

    async def within(self, changeset: Changeset, acting: Acting) -> bool:
        """Whether the right that somebody acts by covers all that a changeset would change."""
        return acting.governs is None or (await self.planned(changeset)).within(acting.governs)

    async def planned(self, changeset: Changeset, acting: Acting | None = None) -> Planned:
        """What it would do now, for somebody who acts by their right."""
        if changeset.source is None:
            raise NoSuchChangeset
        return await self.planner.plan(changeset.source, changeset.base, None if acting is None else acting.governs)

    async def authors(self, changeset: Changeset) -> frozenset[str]:
        """Everybody who had a part in what is proposed, as users by pseudonym."""
        return frozenset(typed("user", name) for name in await self.store.authors(changeset.id))

    async def decided(
        self, kind: type[S], ident: UUID, by: Editor, act: str, decide: Decide[S], rights: Sequence[Action]
    ) -> Changeset:
        """The changeset, one of this kind, with what was decided on it, stored only over what it was decided on."""
        for _ in range(ATTEMPTS):
            changeset = await self.found(ident, by)
            stands = changeset.stands
            if not isinstance(stands, kind):
                raise NoSuchChangeset
            acting = await self.editors.judged(by, *rights)
            now = self.clock()
            decided = await decide(changeset, stands, acting, now)
            if isinstance(decided, Denial):
                raise refusal(decided, "changeset")
            after = replace(changeset, stands=decided)
            changes = await self.store.put(after, event(after, act, acting), now)
            if changes is not None:
                return await self.carried(ident, changes)
        raise Changing("changeset", "is changing all the time", "look at it again in a while")

    async def carried(self, ident: UUID, changes: Sequence[Change]) -> Changeset:
        """The changeset once its changes are recorded and in force."""
        await self.courier.carry(changes)
        changeset = await self.store.get(ident)
        if changeset is None:
            raise NoSuchChangeset
        return changeset

    async def viewed(self, by: Editor, asked: dict[str, Any], look: Callable[[Editor], Awaitable[T]]) -> T:
        """What `look` finds; that a person looked is recorded, with what they `asked`: ids and numbers."""
        if by.grant is None:
            return await look(by)

        async def found(grant: Grant) -> T:
            return await look(Editor(grant, by.actor))

        viewing = Viewing(self.authority, self.ledger)
        return await viewing.recorded(
            by.grant, "policy", found, lambda grant, _: (EventType.VIEW, view_body(grant, policy=asked))
        )


def event(changeset: Changeset, act: str, acting: Acting, **more: Any) -> dict[str, Any]:
    """What the record says of an act: no names, no typed text, no line of a rule."""
    said = {"act": act, "changeset": str(changeset.id), "act_kind": POLICY, "digest": changeset.digest}
    glass = {"break_glass": True} if act == "alone" else {}  # by which the log counts the uses
    return {**said, **glass, "base": changeset.base, "by": acting.name, "rules": list(acting.rules), **more}


def checked_comment(comment: str) -> str:
    """What somebody typed, fit to be kept. Raises `UserError`."""
    if len(comment) > MAX_COMMENT:
        raise UserError("comment", f"has {len(comment)} characters, more than {MAX_COMMENT}", "shorten it")
    if any("\ud800" <= character <= "\udfff" for character in comment):
        raise UserError("comment", "has half of a surrogate pair", "leave that character out")
    return comment


def check(planned: Planned, acting: Acting) -> None:
    """Raises why the change may not come into force, as far as whoever acts may know."""
    try:
        planned.check()
    except Outdated as error:
        if acting.governs is None:
            raise
        raise Outdated(error.base, Moved(error.moved.version, Diff())) from None
