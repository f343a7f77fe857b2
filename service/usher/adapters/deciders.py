"""Who decides on adapters: by which right, and whether they still hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from usher.authority import Authority, Grant
from usher.core.approval import Proposal
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action, Principal, split_name, typed

MANAGE: Final = (Action.ADAPTER_TRAIN, Action.ADAPTER_APPROVE, Action.ADAPTER_PUBLISH)
"""Whoever holds one of these on an adapter may know of it, and may stop it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a person by their grant, or the operator (no grant), whom the operating system stops or nobody does.
    `actor` is the operator, or the part of Usher that acts by itself, as the record names them."""

    grant: Grant | None
    actor: str


@dataclass(frozen=True, slots=True)
class Acting:
    """Somebody who was judged: `name` (a pseudonym, or the operator) stands in events, `rules` say why they may.
    `right`: by a right, not as the operator."""

    principal: Principal
    name: str
    right: bool
    rules: tuple[str, ...] = ()


class Deciders:
    """Judges whoever decides on an adapter. While somebody has broken the glass, the version before must allow it too:
    what they decide outlives that. Raises `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, authority: Authority, ledger: Ledger) -> None:
        self._authority, self._ledger = authority, ledger

    async def judged(self, by: Caller, policy_object: str, *rights: Action) -> Acting:
        """Whoever asks, as one who acts by the first of these rights that they hold on the adapter."""
        if by.grant is None:
            return Acting(Principal(typed("user", by.actor)), by.actor, right=False)
        grant = await self._authority.lasting(await self._authority.again(by.grant))
        decisions = [grant.may(right, policy_object) for right in rights]
        decision = next((one for one in decisions if one.allowed), None)
        if decision is None:
            raise NotPermitted("key", f"may not do {rights[0]} ({decisions[0].reason})", "ask your administrator")
        pseudonym = await self._ledger.pseudonym(grant.credential.user)
        return Acting(Principal(typed("user", pseudonym)), pseudonym, right=True, rules=decision.rules)

    async def may_still(self, proposal: Proposal, policy_object: str) -> frozenset[str]:
        """Of those who approved, as users by pseudonym: who is active and may approve this adapter now."""
        may = set()
        for one in proposal.approvals:
            try:
                user = await self._ledger.subjects.name_of(split_name(one.approver)[1])
            except SealBroken:  # erased since
                continue
            if user is not None and (await self._authority.holds(user, Action.ADAPTER_APPROVE, policy_object)).allowed:
                may.add(one.approver)
        return frozenset(may)


def manages_any(grant: Grant) -> bool:
    """Whether somebody holds such a right on any adapter that a rule names."""
    named = {obj for snapshot in grant.snapshots for obj, action in snapshot.book.on_object if action in MANAGE}
    return any(may_know(grant, one) for one in named)


def may_know(grant: Grant, policy_object: str) -> bool:
    """Whether somebody may know of an adapter: by the grant as it is."""
    return any(grant.may(right, policy_object).allowed for right in MANAGE)
