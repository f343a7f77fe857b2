"""Retention: how long content is kept, by the rules of `retention.yaml`. Values and decisions only.

What no rule is about is kept for ever. Where several rules are about the same, the one with the most days decides. An
exchange is kept as long as any part of it must be: each place that its documents were shelved in is asked for its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from usher.core.holds import Hold, Kept, held
from usher_policy.vocabulary import ancestors

MOST_DAYS = 36_500
MOST_BETWEEN = timedelta(days=7)
"""Between two runs that a server makes by itself."""
NO_LONGER_KEPT = "This part of the conversation is no longer kept: its time is over."
"""In the place of a question, an answer or the words of feedback that were dropped."""


class Type(StrEnum):
    """What is kept: the texts of an answered question, those of a search, the words of feedback on an answer."""

    CHAT = "chat"
    SEARCH = "search"
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is older than `days` goes. `type`, `collection` (a typed name, with what is below it) and `role` (a typed
    name, of who asked, as evaluated then) narrow it; None is any, and only a rule of any collection is about what
    showed no document, or one in no collection."""

    name: str
    days: int
    type: Type | None = None
    collection: str | None = None
    role: str | None = None

    def about(self, item: Item, place: str | None) -> bool:
        return (
            self.type in (None, item.type)
            and (self.role is None or self.role in item.roles)
            and (self.collection is None or (place is not None and self.collection in (place, *ancestors(place))))
        )


@dataclass(frozen=True, slots=True)
class Retention:
    """Sets of rules, each of which must let something go: the one in force and, while a change of it is on its way,
    that one too. The first is what is told of."""

    sets: tuple[tuple[Rule, ...], ...] = ((),)

    def __and__(self, other: Retention) -> Retention:
        return Retention(tuple(dict.fromkeys((*self.sets, *other.sets))))

    @property
    def shortest(self) -> int | None:
        """Nothing younger than so many days goes; None: nothing at all."""
        if not all(self.sets):
            return None
        return max(min(rule.days for rule in rules) for rules in self.sets)


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is kept since `at`. `kept` is what of it a hold may cover; `places` are the collections of each
    document that it showed, then and now (None: one in no collection, or no document)."""

    type: Type
    id: str
    at: datetime
    kept: Kept
    roles: frozenset[str] = field(default_factory=frozenset)
    places: frozenset[str | None] = frozenset({None})


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule` is the one that decides over an item, if it is old enough to go by it (None: it stays); `holds` keep it
    all the same."""

    rule: Rule | None
    holds: tuple[Hold, ...] = ()

    @property
    def goes(self) -> bool:
        return self.rule is not None and not self.holds


def judge(item: Item, retention: Retention, holds: Iterable[Hold], now: datetime) -> Verdict:
    """Whether an item goes now."""
    deciding = [_longest(item, rules) for rules in retention.sets]
    if not deciding or not all(rule is not None and _over(rule, item.at, now) for rule in deciding):
        return Verdict(None)
    return Verdict(deciding[0], held(item.kept, holds))


def jumped(now: datetime, last_run: datetime | None) -> bool:
    """Whether the clock stands so far after the last run that it may have gone ahead: what is let go by a clock that is
    wrong does not come back."""
    return last_run is not None and now - last_run > MOST_BETWEEN


def _over(rule: Rule, at: datetime, now: datetime) -> bool:
    return now - at > timedelta(days=rule.days)


def _longest(item: Item, rules: Sequence[Rule]) -> Rule | None:
    """The rule that keeps an item the longest; None: for ever."""
    deciding: list[Rule] = []
    for place in item.places or {None}:
        about = [rule for rule in rules if rule.about(item, place)]
        if not about:
            return None
        deciding += about
    return max(deciding, key=lambda rule: (rule.days, rule.name))
