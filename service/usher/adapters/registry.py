"""The registry of adapters: evaluated, approved by somebody else, published, retired, quarantined; each step recorded.

States move by `usher_lora.registry` only. The approval is of exactly this adapter with exactly this gate, and judged
again when it is published, as are the gate, the files and what it has learned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from usher.adapters.acts import Acts, NoSuchAdapter, refused
from usher.adapters.deciders import MANAGE, Acting, Caller, may_know
from usher.adapters.registering import Registering
from usher.adapters.upkeep import Upkeep
from usher.authority import Grant
from usher.core import adapters as decisions
from usher.core.adapters import Registered
from usher.core.approval import Denial
from usher.ledger.record import EventType, uuid7
from usher.viewing import Viewing, view_body
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Lineage
from usher_lora.manifest import Gate
from usher_lora.registry import Alarm, Quarantine, Refused, Reopen, Retire, State, Step
from usher_policy.vocabulary import Action

T = TypeVar("T")

_APPROVE, _PUBLISH = Action.ADAPTER_APPROVE, Action.ADAPTER_PUBLISH
_ON_THE_WAY: Final = frozenset({State.DRAFT, State.EVALUATED, State.APPROVED})


class Registry:
    """The use case. Adapters are named by the digest of their identity. Raises `UserError` (`NoSuchAdapter`, `NotNow`),
    `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, acts: Acts, registering: Registering, upkeep: Upkeep) -> None:
        self._acts, self._registering, self._upkeep = acts, registering, upkeep

    async def register(self, folder: Path, by: Caller) -> Registered:
        """Take in what a training left in this folder of the server's machine, as a draft."""
        return await self._registering.register(folder, by)

    async def evaluated(self, ident: str, gate: Gate, by: Caller) -> Registered:
        """What the gate found. Passed, it is proposed for approval; else it stays a draft, and says why. The manifest
        beside the weights is signed with it."""

        def decide(one: Registered, _: Acting, now: datetime) -> Registered | Refused:
            return decisions.evaluated(one, gate, uuid7(), now)

        one = await self._acts.decided(ident, by, "evaluated", decide, Action.ADAPTER_TRAIN)
        await asyncio.to_thread(self._acts.weights.keep_manifest, one.id, self._acts.signed(one.manifest))
        return one

    async def approve(self, ident: str, digest: str, by: Caller) -> Registered:
        """Say yes to what has this digest: the adapter with the gate that stands beside it. Never by who made it."""
        bounds = await self._acts.bounds()

        def decide(one: Registered, acting: Acting, now: datetime) -> Registered | Refused | Denial:
            return decisions.approved(one, acting.principal, digest, bounds, now, may=acting.right)

        return await self._acts.decided(ident, by, "approved", decide, _APPROVE)

    async def publish(self, ident: str, digest: str, by: Caller) -> Registered:
        """Have it served from now on.

        1. the right to publish  2. its files, its manifest and its training set are those of its name, else it is
        quarantined  3. the base is that of the server  4. all that it learned may be known, else it is stale  5. the
        gate is passed by the bounds of now, and who approved it may still
        """
        one = await self._acts.found(ident, by)
        await self._acts.deciders.judged(by, one.policy_object, _PUBLISH)
        if one.entry.state in _ON_THE_WAY:  # also what is approved only meanwhile
            await self._upkeep.sound(one)
            await self._check_base(one)
        await self._upkeep.settle()
        await self._upkeep.people()
        return await self._acts.decided(ident, by, "published", partial(self._published, digest), _PUBLISH)

    async def _published(
        self, digest: str, one: Registered, acting: Acting, now: datetime
    ) -> Registered | Refused | Denial:
        may: frozenset[str] = frozenset()
        if one.proposal is not None:
            may = await self._acts.deciders.may_still(one.proposal, one.policy_object)
        return decisions.published(one, acting.principal, digest, await self._acts.bounds(), now, may)

    async def _check_base(self, one: Registered) -> None:
        try:
            await self._registering.check_base(one.identity)
        except AdapterFault as fault:
            raise refused(fault) from None

    async def retire(self, ident: str, by: Caller) -> Registered:
        """Have it served no more, from now on."""
        step = partial(_step, Retire())
        return await self._acts.decided(ident, by, "retired", step, _PUBLISH, _APPROVE, narrows=True)

    async def quarantine(self, ident: str, by: Caller, alarm: Alarm = Alarm.REPORTED) -> Registered:
        """Stop it everywhere, now: whoever may do anything with it may."""
        step = partial(_step, Quarantine(alarm))
        return await self._acts.decided(ident, by, "quarantined", step, *MANAGE, narrows=True)

    async def reopen(self, ident: str, by: Caller) -> Registered:
        """Let what was retired or quarantined begin again as a draft. Never by who made it."""

        def decide(one: Registered, acting: Acting, _: datetime) -> Registered | Refused:
            return decisions.moved(one, Reopen(acting.name))

        return await self._acts.decided(ident, by, "reopened", decide, _APPROVE)

    async def get(self, ident: str, by: Caller) -> Registered:
        """One that the person may decide on. That they looked is recorded."""

        async def look(by: Caller) -> Registered:
            return await self._acts.found(ident, by)

        if by.grant is None:
            return await look(by)
        return await self._viewed(by.grant, {"question": "adapter", "adapter": ident}, look)

    async def all(self, by: Caller) -> list[Registered]:
        """Those that the person may decide on, the newest first. That they looked is recorded."""

        async def look(by: Caller) -> list[Registered]:
            every = await self._acts.store.all()
            return [one for one in every if by.grant is None or may_know(by.grant, one.policy_object)]

        return await look(by) if by.grant is None else await self._viewed(by.grant, {"question": "adapters"}, look)

    async def _viewed(self, grant: Grant, asked: dict[str, str], look: Callable[[Caller], Awaitable[T]]) -> T:
        viewing = Viewing(self._acts.authority, self._acts.ledger)

        async def found(grant: Grant) -> T:
            return await look(Caller(grant, grant.credential.kind))

        return await viewing.recorded(
            grant, "adapters", found, lambda grant, _: (EventType.VIEW, view_body(grant, adapters=asked))
        )

    async def lineage(self, ident: str, by: Caller) -> Lineage:
        """What it learned: for whoever may decide on it."""
        one = await self._acts.found(ident, by)
        lineage = await self._acts.store.lineage(one.id)
        if lineage is None:
            raise NoSuchAdapter
        return lineage


def _step(taken: Step, one: Registered, _acting: Acting, _now: datetime) -> Registered | Refused:
    return decisions.moved(one, taken)
