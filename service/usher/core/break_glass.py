"""Break-glass: what one person did alone because nobody could be waited for, and the review that it leaves open.

It is a value of its own: no proposal and no approval ever turns into it, and nothing makes one but `break_glass`.
Whoever keeps it raises the alarm. Instants are aware; the facts are the caller's, as with approvals.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from usher.core.approval import (
    Denial,
    Pseudonym,
    check_person,
    check_span,
    denied_as_other,
    digest_of,
    instant_text,
    outside,
)
from usher.errors import UserError
from usher_policy.vocabulary import Principal

BOX = timedelta(hours=1)
LONGEST_BOX = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Review:
    """Who closed the review, and when."""

    by: str
    at: datetime

    def as_json(self, pseudonym: Pseudonym) -> dict[str, object]:
        return {"by": pseudonym(self.by), "at": instant_text(self.at)}


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """One person's leave to do alone exactly what has this digest, from `at` until before `ends_at`, for a reason
    that they typed. It waits for the review of somebody else, however long. Raises `UserError`.
    """

    id: str
    kind: str
    digest: str
    person: str
    reason: str = field(repr=False)
    at: datetime
    ends_at: datetime
    reviewed: Review | None = None

    def __post_init__(self) -> None:
        check_person("person", self.person)
        check_span("ends_at", self.ends_at - self.at, LONGEST_BOX)
        if not self.reason.strip():
            raise UserError("reason", "is empty", "say why nobody else can be waited for")

    def as_json(self, pseudonym: Pseudonym) -> dict[str, object]:
        return {
            "id": self.id,
            "kind": self.kind,
            "digest": self.digest,
            "break_glass": True,
            "person": pseudonym(self.person),
            "at": instant_text(self.at),
            "ends_at": instant_text(self.ends_at),
            "reviewed": self.reviewed and self.reviewed.as_json(pseudonym),
        }


def break_glass(
    id: str,
    kind: str,
    parts: tuple[bytes, ...],
    by: Principal,
    reason: str,
    now: datetime,
    *,
    may_break_glass: bool,
    box: timedelta = BOX,
) -> BreakGlass | Denial:
    """Leave for one person to do exactly this until `box` has passed. Raises `UserError`."""
    if not may_break_glass:
        return Denial.NO_RIGHT
    return BreakGlass(id, kind, digest_of(kind, *parts), by.user, reason, now, now + box)


def denied_by_glass(glass: BreakGlass, by: Principal, digest: str, now: datetime) -> Denial | None:
    """Why this leave does not cover what has this digest now, or None if it does."""
    if by.user != glass.person:
        return Denial.NO_RIGHT
    return outside(glass.at, glass.ends_at, now) or (None if digest == glass.digest else Denial.OTHER_CONTENT)


def review(glass: BreakGlass, by: Principal, now: datetime, *, may_review: bool) -> BreakGlass | Denial:
    """The break-glass with its review closed by somebody else: once, and not before its time is over."""
    if glass.reviewed is not None:
        return Denial.REPEATED
    if denial := denied_as_other(glass.person, by, may=may_review):
        return denial
    return replace(glass, reviewed=Review(by.user, now)) if now >= glass.ends_at else Denial.STILL_OPEN
