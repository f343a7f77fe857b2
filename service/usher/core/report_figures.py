"""The figures of a report, as values: what was counted, over which events. Times are as events have them (UTC)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

HOUR, DAY, MONTH = 13, 10, 7
"""Widths of a bucket's name: so many characters of an event's time."""
_HOURS_UP_TO = timedelta(days=3)
_DAYS_UP_TO = timedelta(days=92)
MOST_BUCKETS = 1_200
"""A century of months. What lies before these is not drawn."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Questions, searches or views (`kind`) that took this route (none: the kind has none), and ended so."""

    kind: str
    route: str | None
    outcome: str | None
    denied: bool
    count: int


@dataclass(frozen=True, slots=True)
class ByRole:
    """Questions and searches of people who had this role then; somebody of two roles counts in both."""

    role: str
    answered: int
    nothing: int
    denied: int
    other: int


@dataclass(frozen=True, slots=True)
class Denials:
    reason: str
    action: str | None
    count: int
    people: int


@dataclass(frozen=True, slots=True)
class DocumentShown:
    """How often a document was shown (in a prompt, a search's result or a view) and cited, and to how many people."""

    document: str
    shown: int
    cited: int
    people: int


@dataclass(frozen=True, slots=True)
class Exposures:
    """Entries, by bucket, that showed documents of a marking; and those that found or inherited them only."""

    marking: str
    shown: Mapping[str, int]
    inherited: Mapping[str, int]
    people: int


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """A policy version under which something was decided: the first and the last such event, and how many entries."""

    version: int
    first: int
    last: int
    since: str
    until: str
    count: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What the index has of a span, by the first `indexed` of the log's events."""

    indexed: int
    activity: Sequence[tuple[str, str, int]]
    """Bucket, `answered`, `denied` or `other`, and how many."""
    answers: Sequence[Answers]
    roles: Sequence[ByRole]
    denials: Sequence[Denials]
    documents: Sequence[DocumentShown]
    exposures: Sequence[Exposures]
    policies: Sequence[PolicyUse]
    acts: Sequence[int]
    """The numbers of `policy` events, of uses of break-glass, and of readings that name an exchange."""
    looks: Sequence[int] = ()
    """The numbers of other readings of the log."""


@dataclass(frozen=True, slots=True)
class Act:
    """One event that is listed: who did it, by pseudonym (none: nobody in particular) and in what capacity."""

    number: int
    time: str
    pseudonym: str | None
    actor: str
    what: str


@dataclass(frozen=True, slots=True)
class Looks:
    """How often somebody put a question to the log, and when last."""

    pseudonym: str | None
    actor: str
    question: str
    count: int
    last: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page says: of the events numbered `first` to `last`, whose first and last `times` these are.
    `people` and `titles` name pseudonyms and documents, where names were asked for; `looks` is None where its reader
    may not know who looked at the log."""

    origin: str
    key: str
    checkpoint: str
    size: int
    made_at: str
    since: str | None
    until: str | None
    first: int
    last: int
    times: tuple[str, str] | None
    width: int
    figures: Figures
    changes: Sequence[Act]
    break_glass: Sequence[Act]
    unseals: Sequence[Act]
    looks: Sequence[Looks] | None
    people: Mapping[str, str | None] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def buckets(self) -> list[str]:
        """Every bucket of the span of its events, also those in which nothing happened."""
        return [] if self.times is None else list(buckets(*self.times, self.width))


def width_of(first: str, last: str) -> int:
    """How finely a span of events is drawn: by the hour up to three days, by the day up to three months, by month."""
    span = _moment(last) - _moment(first)
    return HOUR if span <= _HOURS_UP_TO else DAY if span <= _DAYS_UP_TO else MONTH


def buckets(first: str, last: str, width: int) -> Iterator[str]:
    """The names of the buckets from one event's time to another's, the newest `MOST_BUCKETS` of them."""
    names: list[str] = []
    at = last[:width]
    while at >= first[:width] and len(names) < MOST_BUCKETS:
        names.append(at)
        at = _before(at, width)
    return reversed(names)


def _before(name: str, width: int) -> str:
    if width == MONTH:
        year, month = int(name[:4]), int(name[5:7])
        return f"{year - (month == 1):04d}-{(month - 2) % 12 + 1:02d}"
    step = timedelta(hours=1) if width == HOUR else timedelta(days=1)
    return (datetime.fromisoformat(name) - step).isoformat()[:width]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
