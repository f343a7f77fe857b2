"""How one request is answered, and why: by the rules of `routing.yaml`, in their order. Values and decisions only.

Without rules every question is answered by retrieval. The first rule that applies decides; where it asks for an adapter
and none can serve, it says what happens instead. Of a question only the words that a rule names are looked at.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from usher_policy.vocabulary import ancestors


class RouteKind(StrEnum):
    """`retrieve`: from passages that the person may read. `adapter`: by an adapter alone. `adapter+retrieve`: by an
    adapter that is shown passages. `refuse`: not at all."""

    RETRIEVE = "retrieve"
    ADAPTER = "adapter"
    BOTH = "adapter+retrieve"
    REFUSE = "refuse"


CHAT_NOT_ALLOWED = "chat_not_allowed"
SCOPE_EMPTY = "scope_empty"
TURNS_LEFT_OUT = "earlier_turns_left_out"
BY_RULE = "by_rule"
REFUSED_BY_RULE = "refused_by_rule"
NO_ELIGIBLE_ADAPTER = "no_eligible_adapter"
"""None is there, or none that the person may use: the same words for both."""
ADAPTER_NOT_FRESH = "adapter_not_fresh"
ADAPTER_NOT_SERVED = "adapter_not_served"
SEVERAL_ADAPTERS = "several_adapters"
"""With their number, where the rule's order left a choice: the one fewest of whose documents have changed was taken,
then the one trained last, then the first by name."""
MODEL_SERVER_DOWN = "model_server_down"
ROUTING_CHANGES = "routing_changes"
"""Two versions of the policy are in force, until the new one is recorded, and they do not agree."""


class Why(StrEnum):
    """What a rule came to: `applies`, or why it does not."""

    APPLIES = "applies"
    COLLECTION = "nothing_readable_in_its_collection"
    ROLE = "not_its_role"
    WORDS = "none_of_its_words"
    VOLUME = "too_few_requests_a_day"


@dataclass(frozen=True, slots=True)
class Rule:
    """It applies to somebody with `role`, who may read something in `collection`, where the role asks at least
    `min_per_day` questions and this one has one of `words` (casefolded); None and empty are any.

    An adapter can serve that is one of `adapters` (objects, the first that can is taken; empty: any, or with a
    `collection` any that learned from nothing outside it), of which at most `max_changed_percent` of the documents have
    changed since it was trained, at most `max_age_days` ago. Where none can: `otherwise`.
    """

    name: str
    route: RouteKind
    collection: str | None = None
    role: str | None = None
    words: frozenset[str] = frozenset()
    min_per_day: int = 0
    adapters: tuple[str, ...] = ()
    max_age_days: int | None = None
    max_changed_percent: float | None = None
    otherwise: RouteKind = RouteKind.RETRIEVE

    def judge(self, facts: Facts) -> Why:
        """Whether it is about this request."""
        if self.role is not None and self.role not in facts.roles:
            return Why.ROLE
        if self.collection is not None and self.collection not in facts.collections:
            return Why.COLLECTION
        if self.min_per_day and facts.per_day.get(self.role or "", 0) < self.min_per_day:
            return Why.VOLUME
        if self.words and self.words.isdisjoint(facts.words):
            return Why.WORDS
        return Why.APPLIES

    def rank(self, adapter: UsableAdapter) -> int | None:
        """Where the rule's order has it, from 0; None: not at all."""
        if self.adapters:
            return self.adapters.index(adapter.policy_object) if adapter.policy_object in self.adapters else None
        return 0 if self.collection is None or adapter.learned_within(self.collection) else None

    def fresh(self, adapter: UsableAdapter) -> bool:
        return (self.max_age_days is None or adapter.age_days <= self.max_age_days) and (
            self.max_changed_percent is None or adapter.changed_percent <= self.max_changed_percent
        )


@dataclass(frozen=True, slots=True)
class UsableAdapter:
    """An adapter that the person may use now. `collections` are those of its documents (None: one in no collection),
    `age_days` is since its training data was read, `changed_percent` how many of its documents have another version
    now. `served`: a model server that is up has it."""

    name: str
    policy_object: str
    collections: frozenset[str | None]
    age_days: float = 0.0
    changed_percent: float = 0.0
    served: bool = True

    def learned_within(self, collection: str) -> bool:
        return all(one is not None and collection in (one, *ancestors(one)) for one in self.collections)


@dataclass(frozen=True)
class Facts:
    """What rules may look at. `roles` as evaluated; `collections` those of the documents in the scope with all above
    them (see `with_those_above`); `per_day` the questions of the last day by role; `adapters` the eligible ones, and
    never another."""

    question: str = ""
    roles: Collection[str] = ()
    collections: Collection[str] = ()
    per_day: Mapping[str, int] = field(default_factory=dict)
    adapters: Sequence[UsableAdapter] = ()
    model_up: bool = True

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(re.findall(r"\w+", folded(self.question)))


@dataclass(frozen=True, slots=True)
class Route:
    """`reasons` are short codes, some with a count (`earlier_turns_left_out:3`); the client sees them. `adapter` is the
    served name of the one that answers, `rule` the name of the rule that decided: for the record."""

    kind: RouteKind
    reasons: tuple[str, ...]
    adapter: str | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Routing:
    """Sets of rules, all of which must choose the same: those in force and, while a change is on its way, the new ones
    too. Where they differ a question is refused if one of them refuses it, and otherwise answered by retrieval."""

    sets: tuple[tuple[Rule, ...], ...] = ((),)

    def __and__(self, other: Routing) -> Routing:
        return Routing(tuple(dict.fromkeys((*self.sets, *other.sets))))


RETRIEVE_ONLY = Routing()


def route(
    *,
    may_chat: bool,
    classes: Sequence[int],
    dropped_turns: int,
    routing: Routing = RETRIEVE_ONLY,
    facts: Facts | None = None,
) -> Route:
    """The route of a request by somebody whose scope has these access classes.

    An empty scope is not refused: it is answered as a search that found nothing, in the same words, so that it tells
    nothing about what exists. `scope_empty` says only what `/api/me` says of the person's own rights.
    """
    if not may_chat:
        return Route(RouteKind.REFUSE, (CHAT_NOT_ALLOWED,))
    told = facts or Facts()
    chosen = _agreed([_by(rules, told) for rules in routing.sets])
    reasons = [SCOPE_EMPTY] if not classes else []
    if dropped_turns:
        reasons.append(f"{TURNS_LEFT_OUT}:{dropped_turns}")
    if not told.model_up:
        reasons.append(MODEL_SERVER_DOWN)
    return Route(chosen.kind, (*chosen.reasons, *reasons), chosen.adapter, chosen.rule)


def explain(routing: Routing, facts: Facts) -> tuple[tuple[str, Why], ...]:
    """Each rule in turn, up to the one that decides, and what it came to. Those of a pending version come after."""
    told = []
    for rules in routing.sets:
        for rule in rules:
            told.append((rule.name, rule.judge(facts)))
            if told[-1][1] is Why.APPLIES:
                break
    return tuple(told)


def with_those_above(collections: Iterable[str]) -> frozenset[str]:
    """The collections and every one above them."""
    return frozenset(name for one in collections for name in (one, *ancestors(one)))


def folded(text: str) -> str:
    """The form in which words are compared."""
    return unicodedata.normalize("NFKC", text).casefold()


def _agreed(chosen: Sequence[Route]) -> Route:
    first = chosen[0] if chosen else Route(RouteKind.RETRIEVE, ())
    if all((one.kind, one.adapter) == (first.kind, first.adapter) for one in chosen):
        return first
    refusing = next((one for one in chosen if one.kind is RouteKind.REFUSE), None)
    return refusing or Route(RouteKind.RETRIEVE, (ROUTING_CHANGES,))


def _by(rules: Sequence[Rule], facts: Facts) -> Route:
    rule = next((rule for rule in rules if rule.judge(facts) is Why.APPLIES), None)
    if rule is None:
        return Route(RouteKind.RETRIEVE, ())
    if rule.route in (RouteKind.ADAPTER, RouteKind.BOTH):
        return _by_adapter(rule, facts)
    return _without(rule, rule.route, BY_RULE)


def _without(rule: Rule, kind: RouteKind, reason: str) -> Route:
    refused = (REFUSED_BY_RULE,) if kind is RouteKind.REFUSE else ()
    return Route(kind, (*refused, reason), None, rule.name)


def _by_adapter(rule: Rule, facts: Facts) -> Route:
    """1. those that the rule names, 2. of these the fresh ones, 3. of these those that are served, 4. the best one."""
    named = [(rank, one) for one in facts.adapters if (rank := rule.rank(one)) is not None]
    fresh = [(rank, one) for rank, one in named if rule.fresh(one)]
    served = [(rank, one) for rank, one in fresh if one.served and facts.model_up]
    if not served:
        reason = ADAPTER_NOT_SERVED if fresh else ADAPTER_NOT_FRESH if named else NO_ELIGIBLE_ADAPTER
        return _without(rule, rule.otherwise, reason)
    best = min(rank for rank, _ in served)
    equal = [one for rank, one in served if rank == best]
    chosen = min(equal, key=lambda one: (one.changed_percent, one.age_days, one.name))
    tie = (f"{SEVERAL_ADAPTERS}:{len(equal)}",) if len(equal) > 1 else ()
    return Route(rule.route, (BY_RULE, *tie), chosen.name, rule.name)
