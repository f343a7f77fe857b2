"""Conditions of rules: named, typed functions that also say until when their value holds.

Written `name` or `name:key=value;key=value`:

    always
    time:days=mon-fri;from=09:00;to=17:00;zone=Europe/Berlin
    purpose:is=audit

A day list is days and ranges joined by `+` (`mon-wed+sat`). A window is in the zone's wall-clock time, `from`
included, `to` excluded, within one day (`to=24:00` is its end); in an hour that the clock repeats both passes count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from usher_policy.vocabulary import Effect

ALWAYS: Final = "always"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
_HORIZON_DAYS: Final = 16
"""Two weeks and a bit: a window that a clock change swallows once opens a week later."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a condition may depend on: the instant (aware), and the purpose fixed on the credential at its issue."""

    now: datetime
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A condition's value, and the first instant (UTC) at which it can change; None: as long as the context stays."""

    holds: bool
    valid_until: datetime | None = None


class ConditionError(ValueError):
    """A condition is not written as it must be; the message says the remedy."""


class Condition(Protocol):
    """One parsed condition. `value` may raise: `evaluate` then fails closed."""

    def value(self, context: Context) -> Held: ...


@dataclass(frozen=True, slots=True)
class Always:
    """Holds, whatever the context."""

    def value(self, context: Context) -> Held:
        return Held(True)


@dataclass(frozen=True, slots=True)
class Purpose:
    """Holds where the credential was issued for exactly this purpose."""

    purpose: str

    def value(self, context: Context) -> Held:
        return Held(context.purpose == self.purpose)


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Holds on these weekdays (0 is Monday) from `start` to before `end`, in minutes of the zone's wall clock."""

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    def value(self, context: Context) -> Held:
        if context.now.tzinfo is None:
            raise ConditionError("the context's time has no zone; give an aware UTC time")
        holds = self._open(context.now)
        return Held(holds, self._next_change(context.now, holds))

    def _open(self, instant: datetime) -> bool:
        here = instant.astimezone(self.zone)
        return here.weekday() in self.days and self.start <= here.hour * 60 + here.minute < self.end

    def _next_change(self, now: datetime, holds: bool) -> datetime | None:
        if len(self.days) == len(_DAYS) and self.end - self.start == _DAY_MINUTES:
            return None
        first = now.astimezone(self.zone).date()
        latest = now.astimezone(UTC)
        for day in (first + timedelta(days=ahead) for ahead in range(-1, _HORIZON_DAYS)):
            for moment in sorted(self._edges(day)):
                if moment > now:
                    if self._open(moment) != holds:
                        return moment
                    latest = max(latest, moment)
        return latest

    def _edges(self, day: date) -> Iterator[datetime]:
        """The instants of one local day at which the value can change: its edges in both folds, and a clock change."""
        midnight = datetime(day.year, day.month, day.day)
        for minutes in {0, self.start, self.end}:
            for fold in (0, 1):
                wall = (midnight + timedelta(minutes=minutes)).replace(tzinfo=self.zone, fold=fold)
                yield wall.astimezone(UTC)
        yield from _clock_change(_midnight(day, self.zone), _midnight(day + timedelta(days=1), self.zone), self.zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _clock_change(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """The instant in (start, end] from which the zone has another offset, found by bisection to a second."""
    low, high = 0, int((end - start).total_seconds())

    def offset(seconds: int) -> timedelta | None:
        return (start + timedelta(seconds=seconds)).astimezone(zone).utcoffset()

    before = offset(low)
    if before == offset(high):
        return
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == before else (low, middle)
    yield start + timedelta(seconds=high)


def _day(text: str) -> int:
    if text not in _DAYS:
        raise ConditionError(f"{text[:20]!r} is no day; write one of {', '.join(_DAYS)}")
    return _DAYS.index(text)


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split("+"):
        first, dash, last = part.partition("-")
        begin = _day(first)
        span = (_day(last) - begin) % len(_DAYS) if dash else 0
        days.update((begin + step) % len(_DAYS) for step in range(span + 1))
    return frozenset(days)


def _minutes(key: str, text: str) -> int:
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", text)
    if found is None:
        raise ConditionError(f"{key}={text[:20]!r} is no time of day; write HH:MM, such as 09:00, up to 24:00")
    return _DAY_MINUTES if found[1] is None else int(found[1]) * 60 + int(found[2])


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (OSError, ValueError, KeyError):
        raise ConditionError(f"zone={text[:40]!r} is unknown here; write an IANA name such as Europe/Berlin") from None


def _window(values: Mapping[str, str]) -> Condition:
    start, end = _minutes("from", values["from"]), _minutes("to", values["to"])
    if start >= end:
        raise ConditionError("from must be before to; for a night write two rules, one to 24:00 and one from 00:00")
    return TimeWindow(_days(values["days"]), start, end, _zone(values["zone"]))


def _purpose(values: Mapping[str, str]) -> Condition:
    if re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", values["is"]) is None:
        raise ConditionError("a purpose has 1 to 64 of a-z, 0-9, '_', '.' and '-', such as audit")
    return Purpose(values["is"])


REGISTRY: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, str]], Condition]]]] = {
    ALWAYS: ((), lambda values: Always()),
    "time": (("days", "from", "to", "zone"), _window),
    "purpose": (("is",), _purpose),
}
"""Each condition's name, the keys that it must be given, and how it is made from their values."""


@lru_cache(maxsize=4096)
def parse_condition(text: str) -> Condition:
    """The condition that `text` writes. Raises ConditionError, naming what is wrong and the remedy."""
    name, colon, rest = text.partition(":")
    if name not in REGISTRY:
        raise ConditionError(f"{name[:40]!r} is no condition; write one of {', '.join(sorted(REGISTRY))}")
    keys, make = REGISTRY[name]
    pairs = [part.partition("=") for part in rest.split(";")] if colon else []
    if sorted(key for key, _, _ in pairs) != sorted(keys):
        form = f"{name}:{';'.join(f'{key}=…' for key in keys)}" if keys else name
        raise ConditionError(f"{name} needs exactly these keys, each once: {', '.join(keys) or 'none'}; write {form}")
    return make({key: value for key, _, value in pairs})


def evaluate(cond: str, effect: Effect, context: Context) -> Held:
    """The condition's value for a rule of `effect`. One that fails to evaluate does not allow, and does deny."""
    try:
        return parse_condition(cond).value(context)
    except Exception:  # whatever a condition raises, its rule must fail closed
        return Held(effect != Effect.ALLOW)
