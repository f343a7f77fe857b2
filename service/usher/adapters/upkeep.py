"""What keeps the registry true without anybody's asking: weights that are others, and what was learned that has gone.

A document that is deleted or erased, and a subject who is erased or took back their leave, make every adapter that
learned from them stale, which retires it. What learned from the erased goes from the folder of weights too: it may tell
of them. Weights, a manifest or a training set that are not those of its name quarantine it, and so does a gate that
`gates.yaml` asks more of than it passed. Each is recorded as any other step, by the part of Usher that found it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from usher.adapters.acts import Acts
from usher.adapters.deciders import Acting, Caller
from usher.audit.proposals import NotNow
from usher.core.adapters import Registered, moved
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable
from usher.ledger.subjects import Erased
from usher_lora.faults import AdapterFault
from usher_lora.gates import Bounds, Outcome, judge
from usher_lora.lineage import Cause, ParentKind, Stale
from usher_lora.manifest import parse_signed, split_served_name
from usher_lora.registry import Alarm, GoStale, Quarantine, Refused, Step
from usher_lora.training_set import given

LINEAGE, INTEGRITY, GATE = Caller(None, "lineage"), Caller(None, "integrity"), Caller(None, "gate")
"""Who acts, as the record names them."""

_log = structlog.stdlib.get_logger("usher.adapters")


@dataclass(frozen=True, slots=True)
class Finding:
    """An adapter and what is wrong with it, in words."""

    adapter: str
    problem: str


class Upkeep:
    """Raises `LedgerUnavailable` where something was stopped and cannot be recorded yet: it binds, and is recorded
    later."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._bounds: Bounds | None = None  # those that everything published was judged by

    async def settle(self) -> list[Finding]:
        """Mark every adapter that learned a document which has gone. Costs one query where there is none."""
        return [
            one for ident, causes in (await self._acts.store.gone()).items() for one in await self._mark(ident, causes)
        ]

    async def without(self, subjects: Mapping[str, Cause]) -> list[Finding]:
        """Mark every adapter that learned from exchanges of these subjects, by pseudonym."""
        learners = await self._acts.store.learned_from()
        return [
            one
            for subject, cause in subjects.items()
            for ident in learners.get(subject, ())
            for one in await self._mark(ident, (Stale(cause, subject),))
        ]

    async def people(self) -> list[Finding]:
        """Mark every adapter that learned from somebody who was erased or took back a leave, while it could not be told
        so: it was being registered, or all was cut off. Costs some queries for each exchange that was learned."""
        return [*await self._erased(), *await self._took_back()]

    async def quarantine(self, ident: str, alarm: Alarm, by: Caller = INTEGRITY) -> Registered:
        """Stop it everywhere, now."""
        one = await self._acts.decided(ident, by, "quarantined", partial(_step, Quarantine(alarm)), narrows=True)
        _log.critical("adapter_quarantined", adapter=one.name, alarm=alarm.value)
        return one

    async def gates(self) -> list[Finding]:
        """Quarantine what is published and does not pass the gate of now. Costs one query while `gates.yaml` asks the
        same as before."""
        bounds = await self._acts.bounds()
        if bounds == self._bounds:
            return []
        found = [one for one in await self._acts.store.all() if one.serves and not passes(one, bounds)]
        for one in found:
            with suppress(LedgerUnavailable):  # it binds already; the record follows
                await self.quarantine(one.id, Alarm.GATE, GATE)
        self._bounds = bounds
        return [Finding(one.name, "does not pass the gate of now") for one in found]

    async def sound(self, one: Registered) -> None:
        """Raises `NotNow` for an adapter whose files are not those of its name: it is quarantined."""
        problem = await self.problem(one)
        if problem is not None:
            await self.quarantine(one.id, Alarm.INTEGRITY)
            raise NotNow("adapter", f"is quarantined: {problem}", "train or import it anew, and look who changed it")

    async def problem(self, one: Registered) -> str | None:
        """What of its files is not as it was registered, in words. Reads all of them."""
        files, training_set = one.identity.files, one.identity.training_set
        problem = await asyncio.to_thread(self._acts.weights.changed, one.id, files, training_set)
        return problem or await asyncio.to_thread(self._beside, one)

    async def stop_on_another_base(self, one: Registered) -> str | None:
        """Quarantine it, and say why, where the base model's files are others than those that it was trained and
        measured on; it may begin again once they are back. Raises `AdapterFault` where they are not there."""
        digest = await asyncio.to_thread(self._acts.base.digest)
        if digest in (None, one.identity.base.digest):
            return None
        await self.quarantine(one.id, Alarm.GATE)
        return "the base model's files are others than those that it was trained on"

    async def check(self) -> list[Finding]:
        """Look at all that is kept: quarantine what is not what it was, mark what has learned what is gone."""
        self._bounds = None
        found = [*await self.settle(), *await self.people(), *await self.gates()]
        for one in await self._acts.store.all():
            if erased(one.entry.stale):
                continue
            if one.entry.alarm is Alarm.INTEGRITY:
                found.append(Finding(one.name, "was quarantined: its files were others"))
                continue
            problem = await self.problem(one)
            if problem is not None:
                await self.quarantine(one.id, Alarm.INTEGRITY)
            elif one.serves:
                problem = await self._another_base(one)
            if problem is not None:
                found.append(Finding(one.name, problem))
        return found

    async def _another_base(self, one: Registered) -> str | None:
        try:
            return await self.stop_on_another_base(one)
        except AdapterFault as fault:
            return str(fault)

    async def recover(self) -> None:
        """At a start: take away what was left half done, finish what was begun, mark what has gone meanwhile."""
        async with self._acts.store.turn():
            await self._acts.courier.recover()
            known = {one.id: one for one in await self._acts.store.all()}
            await asyncio.to_thread(self._sweep, known)
        await self._look_at_base()
        try:
            await self.settle()
            await self.people()
            await self.gates()
        except (LedgerUnavailable, UserError) as error:  # it binds already; the record follows
            _log.critical("adapters_unsettled", problem=str(error))

    async def _look_at_base(self) -> None:
        """A base that learned documents answers everybody from them, whatever an adapter's lineage says."""
        try:
            learned = await asyncio.to_thread(self._acts.base.lineage)
        except (AdapterFault, OSError) as error:
            _log.error("base_not_read", problem=type(error).__name__)
            return
        if learned is not None:
            _log.critical("base_learned_documents", documents=len(learned.document_ids))

    async def _erased(self) -> list[Finding]:
        gone = {}
        for subject in await self._acts.store.learned_from():
            try:
                await self._acts.ledger.subjects.known(subject)
            except Erased:
                gone[subject] = Cause.SUBJECT_ERASED
        return await self.without(gone)

    async def _took_back(self) -> list[Finding]:
        """Of those who took back a leave when it could not be told to what had learned from theirs."""
        learners = {ident for some in (await self._acts.store.learned_from()).values() for ident in some}
        return [one for ident in sorted(learners) for one in await self._mark(ident, await self._withdrawn(ident))]

    async def _withdrawn(self, ident: str) -> list[Stale]:
        one, lineage = await self._acts.store.get(ident), await self._acts.store.lineage(ident)
        if one is None or lineage is None or one.entry.stale:
            return []
        above = [split_served_name(parent.name) for parent in lineage.parents if parent.kind is ParentKind.ADAPTER]
        learned = [ident, *(digest for _, digest in filter(None, above))]  # and what it was built from, all of it
        exchanges = set().union(*[await asyncio.to_thread(self._given, each) for each in learned])
        back = {person for person, exchange in exchanges if await self._acts.leaves.taken_back(person, exchange)}
        return [Stale(Cause.SUBJECT_WITHDREW, person) for person in sorted(back)]

    def _given(self, ident: str) -> frozenset[tuple[str, UUID]]:
        """The exchanges in an adapter's own training set."""
        try:
            manifest = self._acts.weights.training_set(ident)
            return frozenset() if manifest is None else given(manifest)
        except AdapterFault:  # not the file that it was, which is told elsewhere
            return frozenset()

    async def _mark(self, ident: str, causes: Collection[Stale]) -> list[Finding]:
        """Once more changes nothing, and finishes what was cut off."""
        one = await self._acts.store.get(ident)
        new = () if one is None else tuple(sorted(set(causes) - set(one.entry.stale)))
        if new:
            await self._acts.decided(ident, LINEAGE, "stale", partial(_step, GoStale(new)), narrows=True)
        if erased(causes):
            await asyncio.to_thread(self._acts.weights.drop, ident)
        if one is None or not new:
            return []
        _log.warning("adapter_stale", adapter=one.name, causes=len(new))
        return [Finding(one.name, f"learned what has gone ({', '.join(sorted({each.cause for each in new}))})")]

    def _sweep(self, known: Mapping[str, Registered]) -> None:
        weights = self._acts.weights
        weights.tidy()
        for ident in weights.kept():
            if ident not in known and self._signed_here(ident):
                weights.drop(ident)
        for one in known.values():
            if self._older(one):
                weights.keep_manifest(one.id, self._acts.signed(one.manifest))

    def _signed_here(self, ident: str) -> bool:
        """Whether this server began to keep it: the folder may be another one's too."""
        try:
            data = self._acts.weights.manifest(ident)
            return data is not None and parse_signed(data, self._acts.public_key).identity.digest == ident
        except AdapterFault:
            return False

    def _older(self, one: Registered) -> bool:
        """Whether what stands beside the weights is this server's own, and says of the gate something else."""
        try:
            data = self._acts.weights.manifest(one.id)
            return data is not None and parse_signed(data, self._acts.public_key) != one.manifest
        except AdapterFault:
            return False

    def _beside(self, one: Registered) -> str | None:
        try:
            data = self._acts.weights.manifest(one.id)
            if data is None:
                return "its manifest is not there"
            same = parse_signed(data, self._acts.public_key).identity == one.identity
        except AdapterFault as fault:
            return str(fault)
        return None if same else "its manifest is that of another adapter"


def erased(causes: Iterable[Stale]) -> bool:
    """Whether something of it may be kept nowhere."""
    return any(each.cause in (Cause.DOCUMENT_ERASED, Cause.SUBJECT_ERASED) for each in causes)


def passes(one: Registered, bounds: Bounds) -> bool:
    gate = one.entry.gate
    return gate is not None and judge(bounds, gate.measured).outcome is Outcome.PASSED


def _step(taken: Step, one: Registered, _acting: Acting, _now: datetime) -> Registered | Refused:
    return moved(one, taken)
