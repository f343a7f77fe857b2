"""Changesets of the policy come into force: judged again, then one transaction, then recorded."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from usher.audit.proposals import NotNow, refusal
from usher.core import changeset as decisions
from usher.core.approval import Denial, Proposal
from usher.core.changeset import Changeset
from usher.core.policy_source import PolicySource, check_size
from usher.core.standing import Actor
from usher.policy.acts import LOOK, Acts, NoSuchChangeset, check, event
from usher.policy.changesets import Changesets
from usher.policy.editors import Acting, Editor
from usher.policy.glass import Glass
from usher.policy.planner import Planned, source_of
from usher.policy_admin import AppliedPolicy, PolicyAdmin
from usher.viewing import ATTEMPTS, Changing, NotPermitted
from usher_policy.vocabulary import Action, split_name


class Activation:
    """The use case. Raises as `Changesets` does."""

    def __init__(self, acts: Acts, changesets: Changesets, glass: Glass, direct: PolicyAdmin) -> None:
        self._acts, self._changesets, self._glass, self._direct = acts, changesets, glass, direct

    async def activate(self, ident: UUID, digest: str, by: Editor) -> AppliedPolicy:
        """Make the changeset the next version, in force at everybody's next barrier. It ends every break-glass.

        1. what it would do is worked out again, by the policy, directory and labels of now; an invariant that it would
           break, or another version in force than it was made against, refuses it
        2. if anybody gains anything, somebody else has approved exactly these bytes who had no part in them, and who
           still holds the right by the policy that is in force now: one whose right the very changeset takes away has
           approved it all the same. The operator's takes an approval in any case
        3. the version, the changeset's end and what the record will say are one transaction
        """
        for _ in range(ATTEMPTS):
            changeset = await self._acts.found(ident, by)
            planned = await self._acts.planned(changeset, await self._judged(changeset, by))
            acting = await self._judged(changeset, by)  # planning a large policy takes seconds
            check(planned, acting)
            if not planned.within(acting.governs):
                raise NoSuchChangeset
            ended, approvals = await self._ended(changeset, planned, acting, digest)
            version = planned.version(by=acting.name, changeset=ident, now=self._acts.clock())
            said = event(ended, "carried_out", acting, version=version.version)
            more = {"changeset": str(ident), "base": changeset.base, "approvals": approvals}
            changes = await self._acts.store.activate(ended, said, version, more)
            if changes is not None:
                await self._acts.courier.carry(changes)
                return AppliedPolicy(version.version, version.digest, planned.warnings)
            await self._acts.courier.recover()
        raise Changing("policy", "is being changed all the time", "try again in a moment")

    async def apply(
        self, source: PolicySource, by: Editor, comment: str = "", base: int | None = None
    ) -> Changeset | None:
        """As a job would apply a folder: propose this policy, and activate it if that takes nobody else: nobody gains
        anything, or another person has approved exactly these bytes already. The same policy proposed twice is one
        changeset. `version` is None where it waits for an approval, or for somebody who may activate it. Nothing is
        done, and None is returned, where it is the policy in force byte for byte."""
        check_size(source)
        await self._acts.editors.everywhere(by, *LOOK)
        if await self._is_in_force(source):
            return None
        open_ = await self._open(source, by, base)
        changeset = open_ or await self._changesets.draft(source, by, base, comment)
        with suppress(NotPermitted, NotNow):
            await self.activate(changeset.id, changeset.digest, by)
        return await self._acts.carried(changeset.id, ())  # whoever took their own right away learns that it is done

    async def operator_apply(
        self, source: PolicySource, actor: Actor, reason: str | None = None, minutes: int | None = None
    ) -> AppliedPolicy:
        """The operator's own act, at once: while no active person could approve a change (holds policy.approve on
        sys:policy at any hour, in whatever way). From then on it is a break-glass, with a reason."""
        if reason is not None:
            return await self._glass.of_source(source, Editor(None, f"{actor.kind}:{actor.id}"), reason, minutes)
        versions, _ = await self._acts.planner.basis()
        numbers = {versions.ordinary, versions.in_force(self._acts.clock())}
        books = [(await self._acts.authority.compiled(number)).book for number in numbers]
        if await self._acts.editors.anybody_approves(*books):
            problem = "is not the operator's to apply alone: there are people who may approve a change of policy"
            remedy = "propose it under a person's key, or give --break-glass with a reason"
            raise NotPermitted("policy", problem, remedy)
        return await self._direct.apply(source, actor)

    async def recover(self) -> None:
        """Finish what a kill cut off, and end the break-glass whose time is over."""
        await self._acts.courier.recover()
        await self._glass.expire()

    async def _judged(self, changeset: Changeset, by: Editor) -> Acting:
        back = () if changeset.rollback is None else (Action.POLICY_ROLLBACK,)
        return await self._acts.editors.judged(by, Action.POLICY_ACTIVATE, *back)

    async def _ended(
        self, changeset: Changeset, planned: Planned, acting: Acting, digest: str
    ) -> tuple[Changeset, list[str]]:
        """The changeset carried out, and whose approvals that rests on. Raises `UserError`."""
        stands = changeset.stands
        if not isinstance(stands, Proposal):
            raise NoSuchChangeset
        if digest != planned.plan.digest or await self._another(changeset):
            raise refusal(Denial.OTHER_CONTENT, "changeset")
        authors = await self._acts.authors(changeset)
        may = await self._acts.editors.may_still(stands, planned.within)
        alone = not (planned.plan.needs_approval or acting.operator)
        now = self._acts.clock()
        ended = decisions.activated(stands, authors, acting.principal, digest, now, may_approve=may, alone=alone)
        if isinstance(ended, Denial):
            raise refusal(ended, "changeset")
        return replace(changeset, stands=ended), sorted(split_name(user)[1] for user in may - authors)

    async def _another(self, changeset: Changeset) -> bool:
        """Whether what goes back to a version is another policy than that version's."""
        if changeset.rollback is None:
            return False
        return changeset.source != source_of(await self._acts.planner.version(changeset.rollback))

    async def _is_in_force(self, source: PolicySource) -> bool:
        """Whether it is the ordinary version of now, with no other one on its way or, for a time, in its place."""
        versions, stored = await self._acts.planner.basis()
        settled = versions.pending_policy is None and versions.in_force(self._acts.clock()) == versions.ordinary
        return settled and stored.version > 0 and source_of(stored) == source

    async def _open(self, source: PolicySource, by: Editor, base: int | None) -> Changeset | None:
        """The newest changeset of exactly these bytes that is still open."""
        versions, stored = await self._acts.planner.basis()
        if base is not None and base != versions.ordinary:
            return None
        digest = await asyncio.to_thread(decisions.digest_of, stored.version, stored.digest, source)
        now = self._acts.clock()
        for one in await self._acts.store.with_digest(digest):
            if isinstance(one.stands, Proposal) and one.state(now) == "open":
                return await self._acts.found(one.id, by)
        return None
