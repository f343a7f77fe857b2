"""Which part of an answer a reviewer asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from usher.errors import UserError
from usher.ports.audit_index import Between

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_AFTER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Range:
    """After an entry's number, so many, from `since` (included) to `until` (excluded)."""

    after: int = 0
    limit: int = DEFAULT_LIMIT
    since: datetime | None = None
    until: datetime | None = None

    def between(self) -> Between:
        """Raises `UserError`."""
        if not 1 <= self.limit <= MAX_LIMIT:
            raise UserError("limit", f"is {str(self.limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")
        if not 0 <= self.after <= MAX_AFTER:
            raise UserError("after", "is no entry's number", "give the `next` of the page before, or leave it out")
        return Between(self.after, self.limit, _time("from", self.since), _time("to", self.until))

    def recorded(self) -> dict[str, Any]:
        """What the record says of it. Raises `UserError`."""
        since, until = utc("from", self.since), utc("to", self.until)
        return {
            "after": self.after,
            "limit": self.limit,
            "since": since and since.isoformat(),
            "until": until and until.isoformat(),
        }


def utc(name: str, instant: datetime | None) -> datetime | None:
    """A time that a reviewer gave, in UTC. Raises `UserError`."""
    if instant is None:
        return None
    if instant.tzinfo is None:
        raise UserError(name, "has no time zone", "write it as 2026-01-31T09:00:00Z")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise UserError(name, "is outside the calendar", "write it as 2026-01-31T09:00:00Z") from None


def _time(name: str, instant: datetime | None) -> str | None:
    at = utc(name, instant)
    return None if at is None else at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
