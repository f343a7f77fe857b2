"""How an adapter comes in: its weights looked through, what it says of itself held against them, then registered.

1. the folder is read, and everything in it that can be wrong looked at
2. the manifest says what the files, the lineage, the training set and the base are, the training set's what the
   lineage is; each is compared
3. whoever registers it may train an adapter of that name
4. every document of the lineage is in, with that version and text; every subject is known and not erased; the leave to
   learn from each exchange of the training set stands; what it was built from, the base too, is inherited whole
5. the manifest, signed, and the weights are copied, whole or not at all
6. the record says what it learned, document by document: whoever has only the record can tell what its answers showed
7. the registry's row with its event: a draft

Cut off between any two, nothing is registered: what was copied is taken away at the next start, and the record names an
adapter that never answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from uuid import UUID

from usher.adapters.acts import Acts, event, refused
from usher.adapters.deciders import Acting, Caller
from usher.adapters.listing import of_lineage
from usher.core.adapters import Registered, draft
from usher.errors import UserError
from usher.ledger.sealing import SealBroken
from usher.ports.adapters import LearnedTexts, Package
from usher_lora.canonical import sha256
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Lineage, Parent, ParentKind
from usher_lora.lineage import parse as parse_lineage
from usher_lora.manifest import Identity, Manifest, split_served_name
from usher_lora.manifest import parse as parse_manifest
from usher_lora.peft_config import ServerLimits
from usher_lora.training_set import given, lineage_digest, made_for
from usher_policy.vocabulary import Action

_ANEW = "train it anew: its manifest is written with it"


class Registering:
    """The use case. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, acts: Acts, texts: LearnedTexts) -> None:
        self._acts, self._texts = acts, texts
        self._own = asyncio.Lock()

    async def register(self, folder: Path, by: Caller) -> Registered:
        """Take in what a training left in this folder of the server's machine, as a draft. One that is there already is
        left as it stands."""
        limits = self._limits()
        try:
            package = await asyncio.to_thread(self._acts.weights.read, folder, limits)
            manifest, lineage = await asyncio.to_thread(opened, package)
            await self.check_base(manifest.identity)
            acting = await self._acts.deciders.judged(by, manifest.identity.policy_object, Action.ADAPTER_TRAIN)
            await self._check_lineage(lineage, given(package.training_set))
            return await self._kept(folder, manifest, lineage, package, acting)
        except AdapterFault as fault:
            raise refused(fault) from None
        except OSError as error:
            problem = f"cannot be copied ({error.strerror})"
            raise UserError("folder", problem, "make room, and give the server the right to read it") from None

    async def check_base(self, identity: Identity) -> None:
        """Raises `AdapterFault` for an adapter that was trained on another base than the server's, or where that is
        not there any more."""
        limits = self._limits()
        if identity.base.model != limits.base_model:
            raise AdapterFault("manifest.base.model", "is another base model", f"train it on {limits.base_model}")
        digest = await asyncio.to_thread(self._acts.base.digest)
        if digest is not None and digest != identity.base.digest:
            raise AdapterFault("manifest.base.digest", "is of other files than the base model's", "train it on these")

    def _limits(self) -> ServerLimits:
        if self._acts.limits is None:
            raise UserError("USHER_MODEL", "is not set, so nothing serves adapters", "name the model server's base")
        return self._acts.limits

    async def _check_lineage(self, lineage: Lineage, exchanges: Collection[tuple[str, UUID]]) -> None:
        remedy = "make the data set anew from what is there now, and train on that"
        unknown = await self._acts.store.unknown(lineage)
        if unknown:
            raise AdapterFault("lineage.documents", f"name {unknown[0]}", remedy)
        other = await self._texts.other(lineage.documents)
        if other is not None:
            raise AdapterFault("lineage.documents", f"have another text of document {other} than is there", remedy)
        for subject in lineage.subjects:
            try:
                known = await self._acts.ledger.subjects.known(subject)
            except SealBroken:
                known = None
            if known is None:
                raise AdapterFault("lineage.subjects", "name somebody who is not known, or was erased", remedy)
        for subject, exchange in exchanges:
            if not await self._acts.leaves.stands(subject, exchange):
                problem = "has an exchange that its person lets nobody learn from any more"
                raise AdapterFault("training_set", problem, remedy)
        inherited = await self._inherited(lineage)
        if set(lineage.subjects) != {subject for subject, _ in exchanges}.union(*(one.subjects for one in inherited)):
            raise AdapterFault("training_set", "does not name the exchanges of all people of the lineage", remedy)

    async def _inherited(self, lineage: Lineage) -> list[Lineage]:
        """What the adapters and the base that it was built from have learned: all of it is in its lineage."""
        above = [await self._parent(one) for one in lineage.parents if one.kind is ParentKind.ADAPTER]
        base = await asyncio.to_thread(self._acts.base.lineage)
        if base is not None:
            if Parent(ParentKind.BASE, self._limits().base_model, base.digest) not in lineage.parents:
                raise AdapterFault("lineage.parents", "leave out the base model, which learned documents itself", _ANEW)
            above.append(base)
        for one in above:
            for field in ("documents", "subjects", "parents"):
                if not set(getattr(one, field)) <= set(getattr(lineage, field)):
                    raise AdapterFault(f"lineage.{field}", "leave out what a parent learned", _ANEW)
        return above

    async def _parent(self, parent: Parent) -> Lineage:
        """It is registered here, and what it learned may still be known."""
        split = split_served_name(parent.name)
        one = None if split is None else await self._acts.store.get(split[1])
        above = None if one is None else await self._acts.store.lineage(one.id)
        if one is None or above is None or above.digest != parent.lineage:
            raise AdapterFault("lineage.parents", "name an adapter that is not registered so", "register that first")
        if one.entry.stale:
            raise AdapterFault("lineage.parents", "name an adapter that learned what may no longer be known", _ANEW)
        return above

    async def _kept(
        self, folder: Path, manifest: Manifest, lineage: Lineage, package: Package, acting: Acting
    ) -> Registered:
        acts, identity = self._acts, manifest.identity
        async with self._own, acts.store.turn():
            await acts.courier.recover()
            there = await acts.store.get(identity.digest)
            if there is not None:
                return there
            await asyncio.to_thread(acts.weights.keep_manifest, identity.digest, acts.signed(manifest))
            files, training_set = identity.files, package.training_set
            await asyncio.to_thread(acts.weights.keep, folder, identity.digest, files, training_set)
            await acts.ledger.append(of_lineage(identity.served_name, lineage, acting.name))
            made = draft(identity, acting.name, acts.clock())
            change = await acts.store.add(made, lineage, event("registered", acting, made, lineage=lineage.digest))
        if change is None:
            await acts.courier.recover()
            return await acts.found(identity.digest, Caller(None, acting.name))
        return await acts.carried(identity.digest, change)


def opened(package: Package) -> tuple[Manifest, Lineage]:
    """The manifest, and the lineage that it names. Raises `AdapterFault` for the first thing that is not so."""
    manifest, lineage = parse_manifest(package.manifest), parse_lineage(package.lineage)
    identity = manifest.identity
    if manifest.gate is not None:
        raise AdapterFault("manifest.gate", "was found elsewhere", "register it without, and evaluate it here")
    if identity.files != package.inspected.files:
        raise AdapterFault("manifest.files", "are not those of the folder", _ANEW)
    if identity.peft != package.inspected.peft:
        raise AdapterFault("manifest.peft", "is not what the adapter's settings say", _ANEW)
    if identity.lineage != sha256(package.lineage):
        raise AdapterFault("manifest.lineage", "is that of another lineage", _ANEW)
    if identity.training_set != sha256(package.training_set):
        raise AdapterFault("manifest.training_set", "is that of another training set", _ANEW)
    if identity.made_for != made_for(package.training_set):
        raise AdapterFault("manifest.made_for", "is not what the training set was made for", _ANEW)
    if lineage_digest(package.training_set) != sha256(package.own_lineage):
        raise AdapterFault("lineage", "is not that of the training set", _ANEW)
    own = parse_lineage(package.own_lineage)
    if not set(own.documents) <= set(lineage.documents) or not set(own.subjects) <= set(lineage.subjects):
        raise AdapterFault("lineage", "leaves out what was trained on", _ANEW)
    return manifest, lineage
