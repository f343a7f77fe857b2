"""Two people for one act: what was proposed, who approved exactly that, and whether it may be carried out now.

Values and decisions only. The caller gives the instant (aware) and the facts: who holds the right to approve, at the
approval *and again* when the act is carried out. It keeps the values, and must store each result only over the value
that it was decided on, so that of two acts that race one is decided anew.

A person is the `user` of a principal, whichever credential proved it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from usher.errors import UserError
from usher_policy.vocabulary import Principal

LIFE = timedelta(days=7)
LONGEST_LIFE = timedelta(days=30)

_LABEL = b"usher proposal v1"

Pseudonym = Callable[[str], str]
"""A person's pseudonym: the JSON forms hold nothing else of a person, and no text that anybody typed."""


class Outcome(StrEnum):
    """How a proposal ended. Each is final."""

    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    CARRIED_OUT = "carried_out"


class Denial(StrEnum):
    """Why an act is not allowed."""

    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    CARRIED_OUT = "carried_out"
    EXPIRED = "expired"
    CLOCK = "clock_went_back"
    NO_PERSON = "no_person"
    NO_RIGHT = "no_right"
    SAME_PERSON = "same_person"
    NOT_PROPOSER = "not_proposer"
    OTHER_CONTENT = "other_content"
    REPEATED = "repeated"
    TOO_FEW = "too_few_approvals"
    RIGHT_LOST = "approver_lost_right"
    STILL_OPEN = "still_open"


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's yes to exactly the bytes with this digest."""

    approver: str
    digest: str
    at: datetime

    def as_json(self, pseudonym: Pseudonym) -> dict[str, object]:
        return {"approver": pseudonym(self.approver), "digest": self.digest, "at": instant_text(self.at)}


@dataclass(frozen=True, slots=True)
class End:
    """How a proposal ended, by whom and when."""

    outcome: Outcome
    by: str
    at: datetime

    def as_json(self, pseudonym: Pseudonym) -> dict[str, object]:
        return {"outcome": self.outcome.value, "by": pseudonym(self.by), "at": instant_text(self.at)}


@dataclass(frozen=True, slots=True)
class Proposal:
    """An act that waits for others' approval. What was proposed never changes: something else is another proposal.

    `digest` is `digest_of` the act. Open from `at` until before `expires_at`. Raises `UserError`.
    """

    id: str
    kind: str
    digest: str
    proposer: str
    at: datetime
    expires_at: datetime
    needed: int = 1
    approvals: tuple[Approval, ...] = ()
    end: End | None = None

    def __post_init__(self) -> None:
        check_person("proposer", self.proposer)
        check_span("expires_at", self.expires_at - self.at, LONGEST_LIFE)
        if self.needed < 1:
            raise UserError("needed", "is less than 1", "ask for the approval of at least one other person")

    def as_json(self, pseudonym: Pseudonym) -> dict[str, object]:
        return {
            "id": self.id,
            "kind": self.kind,
            "digest": self.digest,
            "proposer": pseudonym(self.proposer),
            "at": instant_text(self.at),
            "expires_at": instant_text(self.expires_at),
            "needed": self.needed,
            "approvals": [approval.as_json(pseudonym) for approval in self.approvals],
            "end": self.end and self.end.as_json(pseudonym),
        }


def digest_of(kind: str, *parts: bytes) -> str:
    """The SHA-256, in hex, of an act: its kind and the exact bytes of all that it depends on, in order.

    Kind and parts each have their length before them, under a label: no two different acts are hashed as the same
    bytes, nor as anything else that Usher hashes.
    """
    encoded = (_LABEL, kind.encode(), *parts)
    return hashlib.sha256(b"".join(b"%d:%b," % (len(part), part) for part in encoded)).hexdigest()


def propose(
    id: str,
    kind: str,
    parts: tuple[bytes, ...],
    by: Principal,
    now: datetime,
    *,
    life: timedelta = LIFE,
    needed: int = 1,
) -> Proposal:
    """A new proposal of exactly these bytes. Raises `UserError`."""
    return Proposal(id, kind, digest_of(kind, *parts), by.user, now, now + life, needed)


def approve(proposal: Proposal, by: Principal, digest: str, now: datetime, *, may_approve: bool) -> Proposal | Denial:
    """The proposal with one more approval. `digest` is that of the bytes which the person was shown."""
    if denial := _denied(proposal, by, now) or denied_as_other(proposal.proposer, by, may=may_approve):
        return denial
    if digest != proposal.digest:
        return Denial.OTHER_CONTENT
    if any(approval.approver == by.user for approval in proposal.approvals):
        return Denial.REPEATED
    return replace(proposal, approvals=(*proposal.approvals, Approval(by.user, digest, now)))


def refuse(proposal: Proposal, by: Principal, now: datetime, *, may_approve: bool) -> Proposal | Denial:
    """The proposal, ended by somebody who might approve it, even if they had."""
    denial = _denied(proposal, by, now) or denied_as_other(proposal.proposer, by, may=may_approve)
    return denial or replace(proposal, end=End(Outcome.REFUSED, by.user, now))


def withdraw(proposal: Proposal, by: Principal, now: datetime) -> Proposal | Denial:
    """The proposal, ended by whoever made it."""
    if denial := _denied(proposal, by, now):
        return denial
    if by.user != proposal.proposer:
        return Denial.NOT_PROPOSER
    return replace(proposal, end=End(Outcome.WITHDRAWN, by.user, now))


def carry_out(
    proposal: Proposal, by: Principal, digest: str, now: datetime, *, may_approve: AbstractSet[str]
) -> Proposal | Denial:
    """The proposal, ended: what has this `digest`, taken of the very bytes that will be used, may be done, once.

    `may_approve` are the people who are active and hold the right to approve *now*; nobody else's approval counts.
    Every approval is judged again. Whether `by` may carry out such an act is the caller's to decide.
    """
    if denial := _denied(proposal, by, now):
        return denial
    if digest != proposal.digest:
        return Denial.OTHER_CONTENT
    approvers = {
        approval.approver
        for approval in proposal.approvals
        if approval.approver != proposal.proposer
        and approval.digest == proposal.digest
        and proposal.at <= approval.at <= now
    }
    if len(approvers) < proposal.needed:
        return Denial.TOO_FEW
    if len(approvers & may_approve) < proposal.needed:
        return Denial.RIGHT_LOST
    return replace(proposal, end=End(Outcome.CARRIED_OUT, by.user, now))


def _denied(proposal: Proposal, by: Principal, now: datetime) -> Denial | None:
    if proposal.end is not None:
        return Denial(proposal.end.outcome)
    return outside(proposal.at, proposal.expires_at, now) or (Denial.NO_PERSON if by.problem else None)


def denied_as_other(first: str, by: Principal, *, may: bool) -> Denial | None:
    if by.problem:
        return Denial.NO_PERSON
    if by.user == first:
        return Denial.SAME_PERSON
    return None if may else Denial.NO_RIGHT


def outside(begin: datetime, end: datetime, now: datetime) -> Denial | None:
    if now < begin:
        return Denial.CLOCK
    return Denial.EXPIRED if now >= end else None


def check_person(name: str, user: str) -> None:
    if Principal(user).problem:
        raise UserError(name, "is no person", "act as a person, by their credential")


def check_span(name: str, span: timedelta, longest: timedelta) -> None:
    if not timedelta() < span <= longest:
        raise UserError(name, "is not after the beginning, or too far from it", f"give at most {longest} from then")


def instant_text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")
