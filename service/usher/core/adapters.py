"""Adapters as the registry keeps them, and what two people decide on one: who made it never approves it.

Values and decisions only. What the gate passed is proposed by whoever made the adapter; the approval is of exactly
that adapter and that gate, and judged again when it is published.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from usher.core import approval
from usher.core.approval import LONGEST_LIFE, Denial, Proposal, digest_of
from usher_lora.canonical import encode
from usher_lora.gates import Bounds
from usher_lora.manifest import Gate, Identity, Manifest
from usher_lora.registry import Approve, Entry, Evaluate, Publish, Refused, Reopen, State, Step, step
from usher_policy.vocabulary import Principal, split_name, typed

ADAPTER: Final = "adapter"
"""The kind of these proposals."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One adapter: what it is, where it stands, and the proposal to take it on, once a gate was passed.

    `recorded`: that it stands so is in the ledger; until then nothing that widens comes after it. `serves`: it is
    published, and no change that is on its way says otherwise.
    """

    identity: Identity
    entry: Entry
    created_at: datetime
    proposal: Proposal | None = None
    revision: int = 0
    recorded: bool = False
    serves: bool = False

    @property
    def id(self) -> str:
        """The digest of all that it is."""
        return self.identity.digest

    @property
    def name(self) -> str:
        """Its served name."""
        return self.identity.served_name

    @property
    def policy_object(self) -> str:
        return self.identity.policy_object

    @property
    def manifest(self) -> Manifest:
        return Manifest(self.identity, self.entry.gate)

    @property
    def digest(self) -> str | None:
        """Of what is to be approved: this adapter with this gate; None while there is no gate."""
        return None if self.entry.gate is None else digest_of(ADAPTER, *_parts(self.identity, self.entry.gate))


def draft(identity: Identity, author: str, now: datetime) -> Registered:
    """A new adapter; `author` is a pseudonym, or the operator."""
    return Registered(identity, Entry(identity.served_name, author), now)


def evaluated(one: Registered, gate: Gate, ident: str, now: datetime) -> Registered | Refused:
    """The adapter with this gate; where it passed, proposed anew under the id `ident`."""
    entry = step(one.entry, Evaluate(gate))
    if isinstance(entry, Refused):
        return entry
    if entry.state is not State.EVALUATED:
        return replace(one, entry=entry, proposal=None)
    maker = Principal(typed("user", entry.author))
    proposed = approval.propose(ident, ADAPTER, _parts(one.identity, gate), maker, now, life=LONGEST_LIFE)
    return replace(one, entry=entry, proposal=proposed)


def approved(
    one: Registered, by: Principal, digest: str, bounds: Bounds, now: datetime, *, may: bool
) -> Registered | Refused | Denial:
    """The adapter with one more person's yes to what has this digest; `may`: they have the right to give it."""
    if one.proposal is None or one.entry.state is not State.EVALUATED:
        return _refused(one, Approve(_name(by), bounds))
    given = approval.approve(one.proposal, by, digest, now, may_approve=may)
    if isinstance(given, Denial):
        return given
    entry = step(one.entry, Approve(_name(by), bounds))
    return entry if isinstance(entry, Refused) else replace(one, entry=entry, proposal=given)


def published(
    one: Registered, by: Principal, digest: str, bounds: Bounds, now: datetime, may_approve: frozenset[str]
) -> Registered | Refused | Denial:
    """The adapter, to be served from now on. `may_approve` are the people who hold the right to approve it now."""
    entry = step(one.entry, Publish(bounds))
    if isinstance(entry, Refused):
        return entry
    if one.proposal is None:
        return Refused("was approved by nobody", "evaluate it, and have it approved")
    done = approval.carry_out(one.proposal, by, digest, now, may_approve=may_approve)
    return done if isinstance(done, Denial) else replace(one, entry=entry, proposal=done)


def moved(one: Registered, taken: Step) -> Registered | Refused:
    """The adapter after any other step; one that begins again is proposed by nobody."""
    entry = step(one.entry, taken)
    if isinstance(entry, Refused):
        return entry
    return replace(one, entry=entry, proposal=None if isinstance(taken, Reopen) else one.proposal)


def to_train_anew(newest_first: Iterable[Registered]) -> list[Registered]:
    """Those that learned what may no longer be known, and in whose place nobody has registered another since: one under
    the same name that was made for the same."""
    latest: dict[object, Registered] = {}
    for one in newest_first:
        latest.setdefault((one.policy_object, one.identity.made_for), one)
    return [one for one in latest.values() if one.entry.stale]


def _refused(one: Registered, taken: Step) -> Refused:
    given = step(one.entry, taken)
    return given if isinstance(given, Refused) else Refused("was proposed by nobody", "evaluate it anew")


def _parts(identity: Identity, gate: Gate) -> tuple[bytes, bytes]:
    return identity.served_name.encode(), encode(gate)


def _name(by: Principal) -> str:
    return split_name(by.user)[1]
