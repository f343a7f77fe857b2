"""What every act on an adapter goes through: judged, decided on what stands, stored over exactly that, recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from usher.adapters.consented import Leaves
from usher.adapters.deciders import Acting, Caller, Deciders, may_know
from usher.audit.proposals import NotNow, refusal
from usher.authority import Authority, Clock
from usher.core.adapters import Registered
from usher.core.approval import Denial
from usher.errors import UserError
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.ports import Change
from usher.ports.adapters import AdapterStore, BaseFiles, Weights
from usher.viewing import ATTEMPTS, Changing
from usher_lora.faults import AdapterFault
from usher_lora.gates import Bounds
from usher_lora.manifest import Manifest, SignedManifest, bytes_to_sign, encode_signed
from usher_lora.peft_config import ServerLimits
from usher_lora.registry import Refused
from usher_policy.vocabulary import Action

Decision = Registered | Refused | Denial
Decide = Callable[[Registered, Acting, datetime], Awaitable[Decision] | Decision]
Sign = Callable[[bytes], bytes]
"""The server's Ed25519 signature."""


class NoSuchAdapter(UserError):
    """There is no such adapter, or none that this person may know of."""

    status = 404

    def __init__(self) -> None:
        super().__init__("adapter", "is none that you may decide on", "give a name as the list of adapters shows it")


@dataclass(frozen=True, slots=True)
class Acts:
    """The parts that all acts on adapters share. `limits`: what the model server takes; None where there is none.
    Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    store: AdapterStore
    weights: Weights
    base: BaseFiles
    leaves: Leaves
    limits: ServerLimits | None
    deciders: Deciders
    authority: Authority
    ledger: Ledger
    courier: Courier
    sign: Sign
    public_key: bytes
    clock: Clock

    async def found(self, ident: str, by: Caller) -> Registered:
        """The adapter. Raises `NoSuchAdapter`: what is foreign and what is absent are the same."""
        one = await self.store.get(ident)
        if one is None or not await self._may_know(one, by):
            raise NoSuchAdapter
        return one

    async def _may_know(self, one: Registered, by: Caller) -> bool:
        return by.grant is None or may_know(await self.authority.again(by.grant), one.policy_object)

    async def decided(
        self, ident: str, by: Caller, act: str, decide: Decide, *rights: Action, narrows: bool = False
    ) -> Registered:
        """The adapter with what was decided on it, stored only over what it was decided on. What `narrows` binds even
        where the ledger cannot record it now: it is finished later."""
        for _ in range(ATTEMPTS):
            if not narrows:
                await self.courier.recover()
            one = await self.found(ident, by)
            acting = await self.deciders.judged(by, one.policy_object, *rights)
            now = self.clock()
            given = decide(one, acting, now)
            after = taken(given if isinstance(given, Decision) else await given)
            if (after.entry, after.proposal) == (one.entry, one.proposal):
                return one
            change = await self.store.put(after, event(act, acting, after), now, narrows=narrows)
            if change is not None:
                return await self.carried(ident, change)
        raise Changing("adapter", "is changing all the time", "look at it again in a while")

    async def carried(self, ident: str, change: Change) -> Registered:
        """The adapter once its change is recorded and in force."""
        await self.courier.carry([change])
        one = await self.store.get(ident)
        if one is None:
            raise NoSuchAdapter
        return one

    async def bounds(self) -> Bounds:
        """What the gate asks by the policy in force."""
        _, documents = await self.authority.documents()
        return documents.gates

    def signed(self, manifest: Manifest) -> bytes:
        """The manifest as it is kept beside the weights."""
        return encode_signed(SignedManifest(manifest, self.sign(bytes_to_sign(manifest))))


def event(act: str, acting: Acting, one: Registered, **more: Any) -> Mapping[str, Any]:
    """What the record says of an act, beside how the adapter stands then."""
    approved = {} if one.digest is None else {"digest": one.digest}
    return {"act": act, "by": acting.name, "rules": list(acting.rules), **approved, **more}


def taken(given: Decision) -> Registered:
    """Raises why it cannot be."""
    if isinstance(given, Denial):
        raise refusal(given, "adapter")
    if isinstance(given, Refused):
        raise NotNow("adapter", given.problem, given.remedy)
    return given


def refused(fault: AdapterFault) -> UserError:
    """What is wrong with a file, to whoever gave it."""
    return UserError(fault.field, fault.problem, fault.remedy)
