"""What a replay is made of: what the record says of an exchange, and who judges it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

from usher.core.exposures import CurrentClasses
from usher.core.replay import Judge, Judges, judge_then, possible_groups
from usher.ports.audit_exchanges import Exchange
from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.rules import Rules
from usher_policy.vocabulary import Principal

SETTLING = timedelta(seconds=5)
"""How long before its event was written a decision may have been made."""
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Then:
    """Who asked: `known` is false where their name can be opened no more. Groups are those of now."""

    principal: Principal
    roles: tuple[str, ...]
    known: bool
    purpose: str | None
    purpose_known: bool


@dataclass(frozen=True, slots=True)
class Past:
    """What an event says that it was decided under, and that policy version's rules; `found` is the digest of those
    that are stored now (None: there are none). `following` are the rules of the next version, which was pending or in
    force from `following_since` on; `labels` is a snapshot over all labels, also those that came since."""

    version: int
    rules: Rules
    found: str | None
    following: Rules | None
    following_since: datetime | None
    labels: Snapshot
    label_version: int
    at: datetime
    valid_until: datetime | None
    scope_digest: str
    policy_digest: str | None


@dataclass(frozen=True)
class Facts:
    """All that a replay is made of."""

    exchange: Exchange
    decision: Mapping[str, Any]
    then: Then
    decided: Past
    shown_under: Past
    now: Judge
    pending_policy: int | None
    classes: CurrentClasses

    @cached_property
    def bench(self) -> Bench:
        """Who judges the recorded decision."""
        return Bench.of(self.decided, self.then)

    @cached_property
    def shown_bench(self) -> Bench:
        """Who judges what was shown."""
        return self.bench if self.shown_under is self.decided else Bench.of(self.shown_under, self.then)


@dataclass(frozen=True, slots=True)
class Bench:
    """A judge of then, all the `ways` in which it may have been judged, and the groups that the record leaves open."""

    judge: Judge
    ways: tuple[Judges, ...]
    groups: frozenset[str]
    known: bool

    @classmethod
    def of(cls, past: Past, then: Then) -> Self:

        user, roles = then.principal.user, then.roles
        groups = possible_groups(past.rules, past.labels.catalog, user, roles)
        principal = Principal(user, then.principal.groups & groups)
        at = past.at if past.valid_until is None else min(past.at, past.valid_until - _TICK)
        judge = judge_then(past.version, past.rules, past.labels, principal, roles, Context(at, then.purpose))
        earlier = replace(judge, context=Context(at - SETTLING, then.purpose))
        ways: list[Judges] = [[judge], [earlier]]
        if past.following is not None and past.following_since is not None and past.following_since <= past.at:
            number = past.version + 1
            other = judge_then(number, past.following, past.labels, principal, roles, judge.context)
            ways.append([judge, other])
        return cls(judge, tuple(ways), groups, then.known)
