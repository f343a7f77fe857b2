"""Changesets of the policy: drafted, looked at, approved by somebody else, refused or withdrawn.

A draft passes its check (lint, documents, cases) and breaks no invariant, or it is none. Whoever holds a right on some
collections or roles only may change what they govern by single edits; a whole policy is for those who may read one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from usher.audit.proposals import refusal
from usher.core import approval
from usher.core import changeset as decisions
from usher.core.approval import Denial, Proposal
from usher.core.changeset import POLICY, Changeset, parts_of
from usher.core.plan_words import Diff, Moved
from usher.core.policy_source import PolicySource
from usher.errors import UserError
from usher.ledger.record import uuid7
from usher.policy.acts import LOOK, Acts, NoSuchChangeset, check, checked_comment, event
from usher.policy.editors import Acting, Editor
from usher.policy.plan import Outdated, Plan, Refused
from usher.policy.planner import source_of
from usher.ports import StoredPolicy
from usher.viewing import Changing
from usher_policy.edits import EditError, edited
from usher_policy.governed import ungoverned
from usher_policy.impact import Delta
from usher_policy.rules import RuleFileError, Rules, parse_rules
from usher_policy.vocabulary import Action

MAX_LIMIT = 200
_PROPOSE, _APPROVE = Action.POLICY_PROPOSE, Action.POLICY_APPROVE


class Changesets:
    """The use case. Raises `UserError` (`Unsound`, `Refused`, `Outdated`, `NoSuchChangeset`, `NoSuchVersion`),
    `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts

    async def plan(self, source: PolicySource, by: Editor, base: int | None = None) -> Plan:
        """What this policy would do in the place of version `base` (None: the newest ordinary one). Nothing is kept;
        that a person looked is recorded. For those who may read a whole policy."""

        async def look(by: Editor) -> Plan:
            await self._acts.editors.everywhere(by, *LOOK)
            acting = await self._acts.editors.judged(by, *LOOK)
            return (await self._acts.planner.plan(source, base, acting.governs)).plan

        return await self._acts.viewed(by, {"question": "plan"}, look)

    async def plan_edit(self, add: Sequence[str], remove: Sequence[str], by: Editor, base: int | None = None) -> Plan:
        """As `plan`, of the newest policy with lines of rules added and removed."""

        async def look(by: Editor) -> Plan:
            acting = await self._acts.editors.judged(by, *LOOK)
            source, made_from = await self._edited(add, remove, acting, base)
            return _shown((await self._acts.planner.plan(source, made_from, acting.governs)).plan, acting)

        return await self._acts.viewed(by, {"question": "plan"}, look)

    async def draft(
        self, source: PolicySource, by: Editor, base: int | None, comment: str = "", supersedes: UUID | None = None
    ) -> Changeset:
        """Propose this policy in the place of version `base`, the one that it was made from (None: the newest). The
        draft `supersedes` is withdrawn with it. Raises `Outdated` with what another version has changed since."""
        acting = await self._acts.editors.judged(by, _PROPOSE)
        await self._acts.editors.everywhere(by, *LOOK)
        return await self._drafted(source, acting, by, base, comment, supersedes)

    async def edit(
        self,
        add: Sequence[str],
        remove: Sequence[str],
        by: Editor,
        base: int | None,
        comment: str = "",
        supersedes: UUID | None = None,
    ) -> Changeset:
        """As `draft`, of the newest policy, or of the draft that is superseded, with lines of rules added and removed;
        all else in it stays byte for byte. It is against the version that the text was made from: a draft against an
        older one is not edited, but drafted anew. Raises `UserError` for a line that is none or is not there."""
        acting = await self._acts.editors.judged(by, _PROPOSE)
        of = None if supersedes is None else await self._acts.found(supersedes, by)
        if of is not None:
            await self._superseded(of, acting)
        source, made_from = await self._edited(add, remove, acting, base, of)
        return await self._drafted(source, acting, by, made_from, comment, supersedes)

    async def to_version(self, number: int, by: Editor, comment: str = "") -> Changeset:
        """Propose to go back to an earlier version: a new one with its policy, by `policy.rollback`. It is checked as
        any draft: a version that names a condition that is no longer installed is refused, with the line."""
        acting = await self._acts.editors.everywhere(by, Action.POLICY_ROLLBACK)
        source = source_of(await self._acts.planner.version(number))
        return await self._drafted(source, acting, by, None, comment, None, rollback=number)

    async def get(self, ident: UUID, by: Editor) -> Changeset:
        """A changeset; without its `source` for whoever may not read the whole policy."""

        async def look(by: Editor) -> Changeset:
            acting = await self._acts.editors.judged(by, *LOOK)
            found = await self._acts.found(ident, by)
            return found if acting.governs is None else replace(found, source=None)

        return await self._acts.viewed(by, {"question": "changeset", "changeset": str(ident)}, look)

    async def page(self, by: Editor, before: UUID | None = None, limit: int = 50) -> list[Changeset]:
        """The newest changesets first, those with smaller ids than `before`, without their `source`. Somebody with a
        scoped right sees their own, and those still open that lie within it."""
        if not 1 <= limit <= MAX_LIMIT:
            raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")

        async def look(by: Editor) -> list[Changeset]:
            acting = await self._acts.editors.judged(by, *LOOK)
            await self._acts.courier.recover()
            found, at, more = list[Changeset](), before, True
            while more and len(found) < limit:
                some = await self._acts.store.page(at, limit)
                found += [one for one in some if acting.governs is None or await self._concerns(one, acting, by)]
                at, more = (some[-1].id if some else at), len(some) == limit
            return found[:limit]

        asked = {"question": "changesets", "limit": limit, "before": before and str(before)}
        return await self._acts.viewed(by, asked, look)

    async def plan_of(self, ident: UUID, by: Editor) -> Plan:
        """What a changeset would do now: what is looked at before it is approved."""

        async def look(by: Editor) -> Plan:
            acting = await self._acts.editors.judged(by, *LOOK)
            changeset = await self._acts.found(ident, by)
            return _shown((await self._acts.planned(changeset, acting)).plan, acting)

        return await self._acts.viewed(by, {"question": "plan", "changeset": str(ident)}, look)

    async def approve(self, ident: UUID, digest: str, by: Editor) -> Changeset:
        """Say yes to what has this digest, the one that stands beside the plan that the person was shown. Never by
        anybody who had a part in it. It counts at the activation only if the right still holds then."""

        async def decide(changeset: Changeset, stands: Proposal, acting: Acting, now: datetime) -> Proposal | Denial:
            planned = await self._acts.planned(changeset, acting)
            check(planned, acting)
            if planned.plan.digest != changeset.digest:
                return Denial.OTHER_CONTENT
            authors = await self._acts.authors(changeset)
            return decisions.approve(stands, authors, acting.principal, digest, now, may=not acting.operator)

        return await self._acts.decided(Proposal, ident, by, "approved", decide, [_APPROVE])

    async def refuse(self, ident: UUID, by: Editor) -> Changeset:
        """End it, as somebody who might approve it."""

        async def decide(changeset: Changeset, stands: Proposal, acting: Acting, now: datetime) -> Proposal | Denial:
            may = not acting.operator and await self._acts.within(changeset, acting)
            return approval.refuse(stands, acting.principal, now, may_approve=may)

        return await self._acts.decided(Proposal, ident, by, "refused", decide, [_APPROVE])

    async def withdraw(self, ident: UUID, by: Editor) -> Changeset:
        """End it, as whoever made it."""

        async def decide(_: Changeset, stands: Proposal, acting: Acting, now: datetime) -> Proposal | Denial:
            return approval.withdraw(stands, acting.principal, now)

        return await self._acts.decided(Proposal, ident, by, "withdrawn", decide, LOOK)

    async def _edited(
        self, add: Sequence[str], remove: Sequence[str], acting: Acting, base: int | None, of: Changeset | None = None
    ) -> tuple[PolicySource, int]:
        """The newest policy, or that of a draft, after the edit, and the version that it is against. Whoever may edit
        some of it only learns nothing of the rest: the lines that they give are judged before they are looked for."""
        _, newest = await self._acts.planner.basis()
        against = newest.version if of is None else of.base
        if (against if base is None else base) != newest.version:
            raise await self._outdated(against if base is None else base, newest, acting)
        if acting.governs is not None:
            before = await self._acts.authority.compiled(against)
            delta = Delta(_read("remove", remove), _read("add", add))
            after = await asyncio.to_thread(before.book.changed, delta.removed, delta.added)
            reasons = ungoverned(before.book, after, delta, acting.governs, before.catalog)
            if reasons:
                raise Refused(reasons)
        source = source_of(newest) if of is None or of.source is None else of.source
        try:
            return replace(source, rules_text=await asyncio.to_thread(edited, source.rules_text, add, remove)), against
        except EditError as error:
            raise UserError("edit", f"{error.line[:120]!r}: {error.problem}", error.remedy) from error

    async def _outdated(self, base: int, newest: StoredPolicy, acting: Acting) -> Outdated:
        before = await self._acts.planner.version(base)
        diff = Diff() if acting.governs is not None else await self._acts.planner.diff(before, newest)
        return Outdated(base, Moved(newest.version, diff))

    async def _drafted(
        self,
        source: PolicySource,
        acting: Acting,
        by: Editor,
        base: int | None,
        comment: str,
        supersedes: UUID | None,
        rollback: int | None = None,
    ) -> Changeset:
        checked_comment(comment)
        now, ident = self._acts.clock(), uuid7()
        ended = {} if supersedes is None else await self._superseded(await self._acts.found(supersedes, by), acting)
        planned = await self._acts.planner.plan(source, base, acting.governs)
        check(planned, acting)
        parts = parts_of(planned.base.version, planned.base.digest, source)
        stands = approval.propose(ident, POLICY, parts, acting.principal, now)
        number = planned.base.version
        made = Changeset(UUID(ident), number, stands, acting.name, now, source, comment, rollback, supersedes)
        changes = await self._acts.store.add(made, event(made, "proposed", acting), **ended)
        if changes is None:
            raise Changing("changeset", "was decided on meanwhile", "look at it again")
        return await self._acts.carried(made.id, changes)

    async def _superseded(self, over: Changeset, acting: Acting) -> dict[str, Any]:
        """The draft that another one takes the place of, and what the record says of that. Somebody else's takes a
        right that covers it."""
        if not isinstance(over.stands, Proposal):
            raise NoSuchChangeset
        if over.by != acting.name and not await self._acts.within(over, acting):
            raise refusal(Denial.NO_RIGHT, "changeset")
        ended = decisions.superseded(over.stands, acting.principal, self._acts.clock())
        if isinstance(ended, Denial):
            raise refusal(ended, "changeset")
        after = replace(over, stands=ended)
        return {"over": after, "over_event": event(after, "withdrawn", acting)}

    async def _concerns(self, light: Changeset, acting: Acting, by: Editor) -> bool:
        """Whether a changeset stands in the list of somebody with a scoped right."""
        if light.by == acting.name:
            return True
        if light.state(self._acts.clock()) != "open":
            return False
        try:
            await self._acts.found(light.id, by)
        except NoSuchChangeset:
            return False
        return True


def _shown(plan: Plan, acting: Acting) -> Plan:
    """A plan as somebody may see it: whoever holds a scoped right learns nothing of what lies beyond."""
    if acting.governs is None:
        return plan
    moved = None if plan.moved is None else Moved(plan.moved.version, Diff())
    errors = tuple(finding for finding in plan.findings if finding.severity == "error")
    return replace(plan, findings=errors, moved=moved)


def _read(field: str, lines: Sequence[str]) -> Rules:
    try:
        return parse_rules("\n".join(lines))
    except RuleFileError as error:
        first = error.findings[0]
        raise UserError(field, f"line {first.line}: {first.message}", first.remedy) from error
