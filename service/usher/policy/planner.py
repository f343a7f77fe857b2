"""Plans of changes of the policy, worked out anew each time that one matters: seen, approved, activated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from usher.authority import Authority
from usher.core.changeset import digest_of
from usher.core.plan_words import Diff, Moved
from usher.core.policy_documents import parse_documents
from usher.core.policy_source import PolicySource, check_size
from usher.core.standing import Versions
from usher.policy.editors import Editors, Governs
from usher.policy.plan import NoSuchVersion, Outdated, Plan, Refused, Unsound, capped, gains_of
from usher.policy_admin import CheckReport, Examined, examined, summary, warnings_of
from usher.ports import Policies, StoredPolicy
from usher_policy.admins import loses_last_two
from usher_policy.book import RuleBook
from usher_policy.compile import Snapshot
from usher_policy.given import given, touching
from usher_policy.governed import ungoverned
from usher_policy.impact import Delta, Person, anyone_in, freed, impact, strangers
from usher_policy.rules import Rules

MAX_STEP: Final = 10_000
"""Lines that a version may differ in from its base to be kept as a step from there."""

People = Sequence[tuple[Person, bool]]
"""Everybody in the directory, and whether they are active."""

MAX_REMEMBERED: Final = 16 * 1024 * 1024
"""Characters of a rule file whose examination is kept between two plans: with its rules some hundred MiB."""

LAST_TWO: Final = (
    "it leaves fewer than two people who could approve a change: users who hold policy.approve on sys:policy by "
    "themselves or by roles of theirs, not through a group, at all times, and undenied"
)

EMPTY: Final = StoredPolicy(0, Rules().digest, "", {}, datetime.fromtimestamp(0, UTC))
"""What is in force before the first version."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with what it was made of. `versions` are those that it was made under; `work` is None where the policy is
    not sound."""

    plan: Plan
    found: Examined
    base: StoredPolicy
    versions: Versions
    work: Work | None = None

    def version(self, *, by: str, changeset: UUID, now: datetime, until: datetime | None = None) -> StoredPolicy:
        """The policy as the next version; where it is made from its base in a short step, with that."""
        if self.work is None:
            raise ValueError("an unsound policy is no version")
        added, removed = self.plan.diff.added, self.plan.diff.removed
        short = len(added) + len(removed) <= MAX_STEP and self.base.version > 0
        source = self.work.source
        return StoredPolicy(
            version=self.versions.policy + 1,
            digest=self.work.after.digest,
            rules=source.rules_text,
            documents=source.documents,
            created_at=now,
            cases=source.cases,
            base=self.base.version if short else None,
            removed=removed if short else (),
            added=added if short else (),
            by=by,
            changeset=changeset,
            glass_until=until,
        )

    def within(self, governs: Governs | None) -> bool:
        """Whether a right that goes so far (None: everywhere) covers the whole change."""
        return governs is None or (self.work is not None and not any(self.work.beyond(governs, self.plan.diff)))

    @property
    def warnings(self) -> tuple[str, ...]:
        return warnings_of(self.found)

    def check(self) -> None:
        """Raises `Unsound`, `Outdated` or `Refused` for what may not come into force."""
        if not self.plan.sound:
            raise Unsound(self.plan, summary(self.found.report))
        if self.plan.moved is not None:
            raise Outdated(self.plan.base, self.plan.moved)
        if self.plan.refusals:
            raise Refused(self.plan.refusals)


class Planner:
    """Makes plans. Raises `UserError` for a policy that is too large, and for a base that is none."""

    def __init__(self, policies: Policies, authority: Authority, editors: Editors) -> None:
        self._policies, self._authority, self._editors = policies, authority, editors
        self._last: tuple[str, Examined | None] = ("", None)
        self._turn = asyncio.Lock()
        """One plan at a time: that of a large policy takes memory, and time from those who are being answered."""

    async def basis(self) -> tuple[Versions, StoredPolicy]:
        """What is in force, and the version that a change is made against now."""
        versions = await self._policies.versions()
        return versions, await self.version(versions.ordinary)

    async def version(self, number: int) -> StoredPolicy:
        """A version that is, or was, in force; number 0 stands for none. Raises `UserError` for another."""
        stored = await self._policies.load(number) if number > 0 else EMPTY
        if stored is None or (number > 0 and stored.activated_at is None):
            raise NoSuchVersion
        return stored

    async def plan(self, source: PolicySource, base: int | None = None, governs: Governs | None = None) -> Planned:
        """The plan of a policy against version `base` (None: the newest), for somebody whose right goes as far as
        `governs` (None: everywhere)."""
        check_size(source)
        async with self._turn:
            return await self._plan(source, base, governs)

    async def _plan(self, source: PolicySource, base: int | None, governs: Governs | None) -> Planned:
        versions, now = await self.basis()
        against = now if base is None or base == now.version else await self.version(base)
        digest = await asyncio.to_thread(digest_of, against.version, against.digest, source)
        found = await self._examined(digest, source)
        if found.snapshot is None or not found.report.ok:
            failed = tuple(case for case in found.report.cases if not case.passed)
            plan = Plan(against.version, digest, found.report.findings, len(found.report.cases), failed)
            return Planned(plan, found, against, versions)
        moved = None if against.version == now.version else Moved(now.version, await self.diff(against, now))
        before = await self._authority.compiled(against.version)
        people = await self._editors.people()
        work = await asyncio.to_thread(Work.of, source, against, before, found.snapshot, people)
        plan = await asyncio.to_thread(work.plan, digest, found.report, moved, governs)
        return Planned(plan, found, against, versions, work)

    async def _examined(self, digest: str, source: PolicySource) -> Examined:
        """Lint, cases and rules of exactly these bytes: the same each time, so that the last is remembered."""
        known, found = self._last
        if known == digest and found is not None:
            return found
        found = await asyncio.to_thread(examined, source)  # seconds for a large policy
        self._last = (digest, found) if len(source.rules_text) <= MAX_REMEMBERED else ("", None)
        return found

    async def diff(self, before: StoredPolicy, after: StoredPolicy) -> Diff:
        """How one version differs from another."""
        old, new = [await self._authority.compiled(stored.version) for stored in (before, after)]
        delta = await asyncio.to_thread(Delta.between, old.rules, new.rules)
        return diff_of(delta, before, source_of(after))


@dataclass(frozen=True, slots=True)
class Work:
    """The part of planning that computes, for a thread: from the policy `before` to the one `after`."""

    source: PolicySource
    against: StoredPolicy
    before: Snapshot
    after: Snapshot
    delta: Delta
    people: People

    @classmethod
    def of(cls, source: PolicySource, against: StoredPolicy, before: Snapshot, after: Snapshot, people: People) -> Work:
        return cls(source, against, before, after, Delta.between(before.rules, after.rules), people)

    @property
    def books(self) -> tuple[RuleBook, RuleBook]:
        return self.before.book, self.after.book

    def plan(self, digest: str, report: CheckReport, moved: Moved | None, governs: Governs | None) -> Plan:
        diff, catalog = diff_of(self.delta, self.against, self.source), self.before.catalog
        known = [person for person, _ in self.people]
        everybody = [*known, *strangers(known, *self.books), *anyone_in(*self.books)]
        groups = impact(*self.books, self.delta, catalog, everybody)
        gains = tuple(gains_of(groups, diff)) or (*self._roles(), *self._freed(known))
        return Plan(
            base=self.against.version,
            digest=digest,
            findings=report.findings,
            cases=len(report.cases),
            diff=diff,
            impact=groups,
            gains=gains,
            refusals=(*self._never(), *(() if governs is None else self.beyond(governs, diff))),
            moved=moved,
            catalog=catalog,
        )

    def _roles(self) -> Iterator[str]:
        """What takes an approval though nobody gains a right: who is given a role that they had not, and who gets or
        loses one that a document is about, as words."""
        links = given(*self.books, self.delta.added.links)
        yield from capped((f"{link.member} is given {link.role}" for link in links), "roles")
        links = touching(*self.books, self.delta, parse_documents(self.source.documents).roles)
        yield from capped((f"a document is about what changes by {link.canonical}" for link in links), "such links")

    def _freed(self, known: Sequence[Person]) -> Iterator[str]:
        """Who would be kept from less, if they came with another group than now."""
        freed_ = freed(*self.books, self.delta, self.before.catalog, known)
        yield from capped((f"{person.user} is forbidden less of what a group may" for person in freed_), "people")

    def beyond(self, governs: Governs, diff: Diff) -> Iterator[str]:
        """What of the change is beyond a scoped right, as reasons."""
        yield from ungoverned(*self.books, self.delta, governs, self.before.catalog)
        for name in (*diff.documents, *diff.cases):
            yield f"{name} is for those who may edit everything"

    def _never(self) -> Iterator[str]:
        """What no approval makes good."""
        if loses_last_two(*self.books, [person for person, active in self.people if active]):
            yield LAST_TWO


def diff_of(delta: Delta, before: StoredPolicy, after: PolicySource) -> Diff:
    """The difference of two policies whose rules differ by `delta`."""
    documents = _differing(before.documents, after.documents)
    return Diff(_lines(delta.added), _lines(delta.removed), documents, _differing(before.cases, after.cases))


def _lines(rules: Rules) -> tuple[str, ...]:
    return tuple(sorted({*(rule.canonical for rule in rules.permissions), *(link.canonical for link in rules.links)}))


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in {*before, *after} if before.get(name) != after.get(name)))


def source_of(stored: StoredPolicy) -> PolicySource:
    """A version as it was applied."""
    return PolicySource(stored.rules, stored.documents, stored.cases)
