"""What a credential may do right now: standing, snapshots and scope, asked again at every barrier.

A `Grant` is the answer at one instant. `Authority.again` asks anew: it costs one query while nothing has changed,
and picks up any change of credential, directory, policy, label or condition, also one that is still pending: then
the old state and the new must both allow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from typing import Final

from usher.core.policy_documents import PolicyDocuments, parse_documents
from usher.core.standing import Credential, Standing, Versions
from usher.ports import Identity, Policies, PolicyDelta, StoredPolicy
from usher_policy.catalog import Catalog
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import DENIED, Decision, Scope, earliest, may, roles_of, scope
from usher_policy.rules import read_rules
from usher_policy.vocabulary import Action

Clock = Callable[[], datetime]

MAX_STEPS: Final = 16
"""Versions that are made one from another before compiling anew is the shorter way."""
_ASKED_AGAIN = (0.02, 0.5)
"""Seconds between the first two looks for a version that somebody waits for, and the most of them: it doubles, for who
waits for one that never comes must not keep the database busy."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a credential may do, as of `context.now`: every snapshot must allow for every principal.

    `valid_until` is the first instant at which a condition of any of the rules can change, whatever it is about, or at
    which what was activated by a break-glass ends.
    """

    standing: Standing
    snapshots: tuple[Snapshot, ...]
    context: Context
    scope: Scope
    roles: tuple[str, ...]
    documents: PolicyDocuments
    valid_until: datetime | None

    @property
    def credential(self) -> Credential:
        return self.standing.credential

    @property
    def denied(self) -> str | None:
        return self.standing.denied

    def may(self, action: Action, target: str) -> Decision:
        """The decision on one action; a standing that is denied is denied everything."""
        if self.denied is not None:
            return Decision(False, self.denied)
        decisions = self._decisions(action, target)
        return next((decision for decision in decisions if not decision.allowed), decisions[0])

    def denies(self, action: Action, target: str) -> bool:
        """Whether a rule forbids it, as against none allowing it. A standing that is denied is denied everything."""
        return self.denied is not None or any(d.reason == DENIED for d in self._decisions(action, target))

    def _decisions(self, action: Action, target: str) -> list[Decision]:
        return [
            may(snapshot, principal, target, action, self.context)
            for snapshot in self.snapshots
            for principal in self.standing.principals
        ]


@dataclass(frozen=True, slots=True)
class _Policy:
    snapshot: Snapshot
    documents: PolicyDocuments

    @classmethod
    def compiled(cls, version: int, stored: StoredPolicy | None, catalog: Catalog) -> _Policy:
        """A version that is not there allows nothing."""
        rules = read_rules("" if stored is None else stored.rules)  # it passed lint before it was stored
        documents = parse_documents({} if stored is None else stored.documents)
        return cls(compile_snapshot(version, rules, catalog), documents)

    def changed(self, deltas: Sequence[PolicyDelta], catalog: Catalog) -> _Policy:
        """A later version, by what each on the way to it changed."""
        snapshot = self.snapshot
        for delta in deltas:
            removed, added = (read_rules("\n".join(lines)) for lines in (delta.removed, delta.added))
            snapshot = snapshot.changed(delta.version, delta.digest, removed, added)
        return _Policy(snapshot.with_catalog(catalog), parse_documents(deltas[-1].documents))

    def valid_until(self, context: Context) -> datetime | None:
        conditions = self.snapshot.book.conditions
        return earliest(self.snapshot.held(condition, context).valid_until for condition in conditions)


class Authority:
    """Compiles what is in force into snapshots, and judges credentials against them."""

    def __init__(self, identity: Identity, policies: Policies, clock: Clock = utc_now) -> None:
        self._identity = identity
        self._policies = policies
        self._clock = clock
        self._in_force_now: dict[int, _Policy] = {}
        self._making: dict[int, asyncio.Task[_Policy]] = {}
        self._catalog = Catalog(-1)
        self._over = -1  # the newest version of which the break-glass was seen to be over

    async def admit(self, secret: str) -> Grant | None:
        """What a presented key may do now; None if it is no key."""
        now = self._clock()
        standing = await self._identity.resolve(secret, now)
        return None if standing is None else await self._grant(standing, now)

    async def admit_as(self, credential: Credential) -> Grant:
        """What a credential that was proven otherwise may do now."""
        now = self._clock()
        return await self._grant(await self._identity.recheck(credential, now), now)

    async def admit_person(self, user: str) -> Grant:
        """What somebody may do by any credential without a purpose, whether or not they have one."""
        now = self._clock()
        return await self._grant(await self._identity.of_person(user, now), now)

    async def again(self, grant: Grant) -> Grant:
        """The same credential judged now; the same object if nothing that it depends on has changed."""
        now = self._clock()
        standing = await self._identity.recheck(grant.credential, now)
        same = standing == grant.standing and self._deciding(standing.versions, now) == grant.snapshots[0].version
        if same and (grant.valid_until is None or now < grant.valid_until):
            return grant
        return await self._grant(standing, now)

    async def holds(self, user: str, action: Action, target: str) -> Decision:
        """The decision on what somebody may do by any credential without a purpose, whether or not they have one. What
        only a break-glass gives them is not theirs here: it is asked for what outlives one."""
        return (await self._judge_of(user))(action, target)

    async def judge_of(self, user: str) -> Callable[[Action, str], bool]:
        """As `holds`, for many questions about one person at one instant."""
        decide = await self._judge_of(user)
        return lambda action, target: decide(action, target).allowed

    async def _judge_of(self, user: str) -> Callable[[Action, str], Decision]:
        now = self._clock()
        standing = await self._identity.of_person(user, now)
        denied = standing.denied
        if denied is not None:
            return lambda _action, _target: Decision(False, denied)
        context = Context(now=now, purpose=None)
        policies = (*await self._in_force(standing.versions, now), *await self._before_glass(standing.versions, now))

        def decide(action: Action, target: str) -> Decision:
            every = [may(p.snapshot, one, target, action, context) for p in policies for one in standing.principals]
            return next((decision for decision in every if not decision.allowed), every[0])

        return decide

    async def lasting(self, grant: Grant) -> Grant:
        """The grant for what outlives a break-glass: while one is open, the version before must allow it too."""
        before = await self._before_glass(grant.standing.versions, grant.context.now)
        return replace(grant, snapshots=(*grant.snapshots, *(policy.snapshot for policy in before)))

    async def current(self) -> tuple[Versions, Snapshot]:
        """The versions in force and the active snapshot, over the labels of now."""
        versions = await self._policies.versions()
        return versions, (await self._in_force(versions, self._clock()))[0].snapshot

    async def every(self) -> tuple[Versions, tuple[Snapshot, ...]]:
        """The versions in force, and each policy over the labels of now that must allow what outlives this moment: the
        active one, a pending one, and while somebody has broken the glass the one before it."""
        versions, now = await self._policies.versions(), self._clock()
        policies = (*await self._in_force(versions, now), *await self._before_glass(versions, now))
        return versions, tuple(policy.snapshot for policy in policies)

    async def compiled(self, version: int) -> Snapshot:
        """A version over the labels of now, whether it is in force or not; one that is not there allows nothing."""
        await self._label(await self._policies.versions())
        return (await self._current(version)).snapshot

    async def reached(self, version: int, bound: float) -> bool:
        """True once that policy version, or a later one, is in force for whatever is asked after this; False if it is
        not within `bound` seconds."""
        until, (pause, longest) = time.monotonic() + bound, _ASKED_AGAIN
        while (await self._policies.versions()).policy < version:
            left = until - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, longest)
        return True

    async def documents(self) -> tuple[Versions, PolicyDocuments]:
        """The versions in force, and what the documents of the active policy and of a pending one both allow; while
        somebody has broken the glass, of the version before that too: what they decide is final, and the box is not."""
        versions, now = await self._policies.versions(), self._clock()
        every = (*await self._in_force(versions, now), *await self._before_glass(versions, now))
        return versions, reduce(PolicyDocuments.intersect, [one.documents for one in every])

    async def _grant(self, standing: Standing, now: datetime) -> Grant:
        policies = await self._in_force(standing.versions, now)
        snapshots = tuple(policy.snapshot for policy in policies)
        context = Context(now=now, purpose=standing.credential.purpose)
        scopes = [scope(s, p, context) for s in snapshots for p in standing.principals]
        narrowest = reduce(Scope.intersect, scopes) if scopes else _nothing(snapshots[0])
        roles = roles_of(snapshots[0], standing.principals[0]) if standing.principals else ()
        documents = reduce(PolicyDocuments.intersect, (policy.documents for policy in policies))
        until = earliest([*(policy.valid_until(context) for policy in policies), _box_ends(standing.versions, now)])
        return Grant(standing, snapshots, context, narrowest, roles, documents, until)

    async def _in_force(self, versions: Versions, now: datetime) -> tuple[_Policy, ...]:
        """The version that decides now and, while one is pending, that one too. What a break-glass falls back on is
        kept beside them, so that it is there when its time comes."""
        await self._label(versions)
        wanted = [self._deciding(versions, now)] + (
            [] if versions.pending_policy is None else [versions.pending_policy]
        )
        found = {version: await self._current(version) for version in wanted}
        spare = versions.ordinary
        kept = {spare: self._in_force_now[spare]} if spare in self._in_force_now else {}
        self._in_force_now = {**kept, **found}
        return tuple(found.values())

    def _deciding(self, versions: Versions, now: datetime) -> int:
        """The version that decides now. A break-glass that was seen to be over stays over, wherever the clock goes."""
        if versions.in_force(now) != versions.policy:
            self._over = versions.policy
        return versions.ordinary if self._over == versions.policy else versions.policy

    async def _before_glass(self, versions: Versions, now: datetime) -> tuple[_Policy, ...]:
        """The version that comes back when an open break-glass ends; none where none is open."""
        if versions.ordinary == self._deciding(versions, now):
            return ()
        return (await self._current(versions.ordinary),)

    async def _label(self, versions: Versions) -> None:
        if self._catalog.label_version != versions.label:
            self._catalog = await self._policies.catalog(self._catalog)

    async def _current(self, version: int) -> _Policy:
        known = self._in_force_now.get(version)
        if known is None:
            known = await self._made_once(version)
        if known.snapshot.catalog is self._catalog:
            return known
        return replace(known, snapshot=known.snapshot.with_catalog(self._catalog))

    async def _made_once(self, version: int) -> _Policy:
        """However many ask for it at once: that of a large policy takes seconds, and memory. One who leaves meanwhile
        takes it from nobody."""
        making = self._making.get(version)
        if making is None:
            making = self._making[version] = asyncio.create_task(self._made(version))
            making.add_done_callback(lambda ended: self._ended(version, ended))
        return await asyncio.shield(making)

    def _ended(self, version: int, making: asyncio.Task[_Policy]) -> None:
        del self._making[version]
        if not making.cancelled():
            making.exception()  # it is raised to those who wait; perhaps nobody does any more

    async def _made(self, version: int) -> _Policy:
        """From a version that is known, by what was changed since; else compiled anew."""
        at, deltas = version, list[PolicyDelta]()
        while len(deltas) < MAX_STEPS and (delta := await self._policies.load_delta(at)) is not None:
            deltas.insert(0, delta)
            if (base := self._in_force_now.get(delta.base)) is not None:
                return await asyncio.to_thread(base.changed, deltas, self._catalog)
            at = delta.base
        stored = await self._policies.load(version)
        return await asyncio.to_thread(_Policy.compiled, version, stored, self._catalog)


def _box_ends(versions: Versions, now: datetime) -> datetime | None:
    """When the fallback of a break-glass comes into force by itself, if that is still to come."""
    until = versions.glass_until
    return None if until is None or now >= until else until


def _nothing(snapshot: Snapshot) -> Scope:
    return Scope(
        classes=(),
        policy_version=snapshot.version,
        policy_digest=snapshot.digest,
        label_version=snapshot.catalog.label_version,
        valid_until=None,
        rules=(),
    )
