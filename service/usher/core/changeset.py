"""A change of the policy that waits for its activation: what it would make of the policy, and who has agreed to it.

Values and decisions only; instants are aware. People appear by pseudonym. What is proposed never changes: an edit is
another changeset that supersedes the first.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from usher.core import approval
from usher.core.approval import Denial, End, Outcome, Proposal
from usher.core.break_glass import BreakGlass
from usher.core.policy_source import PolicySource
from usher_policy.vocabulary import Principal

POLICY = "policy"
"""The kind of every proposal and break-glass of a changeset."""


@dataclass(frozen=True, slots=True)
class Changeset:
    """A whole policy, made against version `base`, and how it stands.

    `by` made it: a pseudonym, or the operator. `comment` is what they typed, None once it can be opened no more; of a
    break-glass it is the reason. `rollback` is the version whose policy this one is again. `supersedes` is the
    changeset that this one took the place of, `version` what it became. `source` is None for whoever may not read the
    whole policy. `revision` is that of the state.
    """

    id: UUID
    base: int
    stands: Proposal | BreakGlass
    by: str
    created_at: datetime
    source: PolicySource | None = field(repr=False)
    comment: str | None = field(default=None, repr=False)
    rollback: int | None = None
    supersedes: UUID | None = None
    version: int | None = None
    revision: int = 0

    @property
    def digest(self) -> str:
        """What is approved: of the base and of all bytes of the policy."""
        return self.stands.digest

    def state(self, now: datetime) -> str:
        """`open`, `refused`, `withdrawn`, `carried_out` or `expired`; of a break-glass `unreviewed` or `reviewed`."""
        stands = self.stands
        if isinstance(stands, BreakGlass):
            return "unreviewed" if stands.reviewed is None else "reviewed"
        if stands.end is not None:
            return stands.end.outcome.value
        return "open" if now < stands.expires_at else "expired"


def parts_of(base: int, base_digest: str, source: PolicySource) -> tuple[bytes, ...]:
    """The bytes that an approval is of: the version that the changeset is against, and the policy."""
    return (str(base).encode(), base_digest.encode(), *source.parts)


def digest_of(base: int, base_digest: str, source: PolicySource) -> str:
    return approval.digest_of(POLICY, *parts_of(base, base_digest, source))


def approve(
    stands: Proposal, authors: AbstractSet[str], by: Principal, digest: str, now: datetime, *, may: bool
) -> Proposal | Denial:
    """The proposal with one more approval, of somebody who is none of the `authors` of what it grew out of."""
    decided = approval.approve(stands, by, digest, now, may_approve=may)
    return Denial.SAME_PERSON if isinstance(decided, Proposal) and by.user in authors else decided


def superseded(stands: Proposal, by: Principal, now: datetime) -> Proposal | Denial:
    """The proposal, ended because `by` proposes another in its place."""
    if stands.end is not None:
        return Denial(stands.end.outcome)
    return replace(stands, end=End(Outcome.WITHDRAWN, by.user, now))


def activated(
    stands: Proposal,
    authors: AbstractSet[str],
    by: Principal,
    digest: str,
    now: datetime,
    *,
    may_approve: AbstractSet[str],
    alone: bool,
) -> Proposal | Denial:
    """The proposal, carried out: `digest` is that of the very bytes that come into force.

    `may_approve` are those who hold the right to approve now, `authors` everybody who had a part in what is proposed:
    no approval of theirs counts. `alone`: nobody gains anything by it, so that it takes no approval.
    """
    if not alone:
        others = tuple(one for one in stands.approvals if one.approver not in authors)
        ended = approval.carry_out(replace(stands, approvals=others), by, digest, now, may_approve=may_approve)
        return replace(ended, approvals=stands.approvals) if isinstance(ended, Proposal) else ended
    if stands.end is not None:
        return Denial(stands.end.outcome)
    if denial := approval.outside(stands.at, stands.expires_at, now):
        return denial
    if digest != stands.digest:
        return Denial.OTHER_CONTENT
    return replace(stands, end=End(Outcome.CARRIED_OUT, by.user, now))
