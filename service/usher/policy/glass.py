"""Break-glass: one person changes the policy alone, for a time, with an alarm; it ends by itself, and is reviewed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from usher.audit.proposals import NotNow, refusal
from usher.core import break_glass as decisions
from usher.core.approval import Denial, Proposal
from usher.core.break_glass import BOX, LONGEST_BOX, BreakGlass
from usher.core.changeset import POLICY, Changeset, parts_of
from usher.core.policy_source import PolicySource
from usher.errors import UserError
from usher.ledger.record import uuid7
from usher.policy.acts import Acts, checked_comment, event
from usher.policy.editors import Acting, Editor
from usher.policy.planner import Planned
from usher.policy_admin import AppliedPolicy
from usher.ports import Policies
from usher.ports.changesets import Box
from usher.viewing import ATTEMPTS, Changing
from usher_policy.vocabulary import Action

EVERY = 5.0
"""Seconds between two looks at whether a break-glass is over. It ends at its instant all the same, whoever looks."""
BY_ITSELF = "break_glass_ended"
"""Who made the version that goes back, in its event."""
_OPERATOR = "operator:"

_log = structlog.stdlib.get_logger("usher.policy.glass")


class Glass:
    """The use case. Raises as `Changesets` does."""

    def __init__(self, acts: Acts, policies: Policies) -> None:
        self._acts, self._policies = acts, policies

    async def break_glass(
        self, ident: UUID, digest: str, by: Editor, reason: str, minutes: int | None = None
    ) -> Changeset:
        """Bring an open changeset into force at once without anybody's approval, for so many minutes (an hour unless
        said, at most a day), by `policy.activate` on everything. The version that was in force before comes back by
        itself when they are over. No invariant is broken by it. What was proposed stays open: approved and activated
        meanwhile, it stays. Nobody does it again before somebody else has reviewed it: no chain of boxes takes the
        place of a second person.

        Returns the break-glass, a changeset of its own: its review waits for somebody else.
        """
        await self._judged(by)
        changeset = await self._acts.found(ident, by)
        stands = changeset.stands
        if not isinstance(stands, Proposal) or stands.end is not None or changeset.source is None:
            raise UserError("changeset", "is no open proposal", "draft the change anew")
        if digest != changeset.digest:
            raise refusal(Denial.OTHER_CONTENT, "changeset")
        return await self._broken(changeset.source, changeset.base, by, reason, minutes, digest)

    async def of_source(
        self, source: PolicySource, by: Editor, reason: str, minutes: int | None = None
    ) -> AppliedPolicy:
        """As `break_glass`, of a policy that nobody has proposed."""
        made = await self._broken(source, None, by, reason, minutes)
        stored = await self._acts.planner.version(made.version or 0)
        return AppliedPolicy(stored.version, stored.digest, ())

    async def review(self, ident: UUID, by: Editor) -> Changeset:
        """Close the review of a break-glass: somebody else who may approve changes of everything, once its time is
        over."""
        await self._acts.editors.everywhere(by, Action.POLICY_APPROVE)

        async def decide(_: Changeset, stands: BreakGlass, acting: Acting, now: datetime) -> BreakGlass | Denial:
            return decisions.review(stands, acting.principal, now, may_review=not acting.operator)

        return await self._acts.decided(BreakGlass, ident, by, "reviewed", decide, [Action.POLICY_APPROVE])

    async def expire(self) -> int | None:
        """Write the version that goes back, once the time of a break-glass is over: its number, None where there is
        nothing to do or another server does it. Until then, and without it, what it goes back to is in force all the
        same."""
        await self._acts.courier.recover()
        versions = await self._policies.versions()
        until, now = versions.glass_until, self._acts.clock()
        if until is None or now < until or versions.pending_policy is not None:
            return None
        before = await self._acts.planner.version(versions.ordinary)
        again = replace(before, version=versions.policy + 1, created_at=now, activated_at=None, changeset=None)
        base = before.version if before.version > 0 else None
        change = await self._policies.propose(replace(again, base=base, removed=(), added=()), BY_ITSELF)
        if change is None:
            return None
        await self._acts.courier.carry([change])
        _log.warning("break_glass_ended", version=again.version, back_to=before.version)
        return again.version

    async def watch(self) -> None:
        """Look every few seconds, for ever. A look that fails is logged, and made again."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.expire()
            except Exception as error:  # the database or the ledger may be away: what is in force needs neither
                _log.error("break_glass_watch_failed", error=type(error).__name__)

    async def _judged(self, by: Editor) -> Acting:
        return await self._acts.editors.everywhere(by, Action.POLICY_ACTIVATE)

    async def _check_reviewed(self, acting: Acting) -> None:
        """Raises `NotNow` where a break-glass of theirs waits for its review. All operators are one."""
        names = await self._acts.store.unreviewed()
        mine = {name for name in names if name.startswith(_OPERATOR)} if acting.operator else names & {acting.name}
        if mine:
            problem = "cannot be done alone again: your last break-glass is not reviewed"
            remedy = "have somebody else who may approve close that review, or approve this"
            raise NotNow("changeset", problem, remedy)

    async def _broken(
        self,
        source: PolicySource,
        base: int | None,
        by: Editor,
        reason: str,
        minutes: int | None,
        digest: str | None = None,
    ) -> Changeset:
        box = _box(minutes)
        checked_comment(reason)
        for _ in range(ATTEMPTS):
            planned = await self._acts.planner.plan(source, base)
            acting = await self._judged(by)  # planning a large policy takes seconds
            await self._check_reviewed(acting)  # after the plan: a box that comes between takes its version's number
            planned.check()
            if digest is not None and digest != planned.plan.digest:
                raise refusal(Denial.OTHER_CONTENT, "changeset")
            made = self._made(source, planned, acting, reason, box)
            kept = Box(planned.versions.ordinary, made.created_at + box)
            version = planned.version(by=acting.name, changeset=made.id, now=made.created_at, until=kept.until)
            said, more = event(made, "alone", acting), {"changeset": str(made.id), "base": made.base}
            changes = await self._acts.store.activate(made, said, version, more, kept)
            if changes is not None:
                _log.critical("break_glass", kind=POLICY, id=str(made.id), by=acting.name, version=version.version)
                return await self._acts.carried(made.id, changes)
            await self._acts.courier.recover()
        raise Changing("policy", "is being changed all the time", "try again in a moment")

    def _made(self, source: PolicySource, planned: Planned, acting: Acting, reason: str, box: timedelta) -> Changeset:
        now, ident = self._acts.clock(), uuid7()
        parts, number = parts_of(planned.base.version, planned.base.digest, source), planned.base.version
        given = decisions.break_glass(
            ident, POLICY, parts, acting.principal, reason, now, may_break_glass=True, box=box
        )
        if isinstance(given, Denial):
            raise refusal(given, "changeset")
        version = planned.versions.policy + 1
        return Changeset(UUID(ident), number, given, acting.name, now, source, reason, version=version)


def _box(minutes: int | None) -> timedelta:
    if minutes is None:
        return BOX
    if not 1 <= minutes <= LONGEST_BOX // timedelta(minutes=1):
        problem = f"is {str(minutes)[:20]}"
        raise UserError("minutes", problem, f"give a whole number from 1 to {LONGEST_BOX // timedelta(minutes=1)}")
    return timedelta(minutes=minutes)
