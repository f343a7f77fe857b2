"""What a policy would have allowed somebody whom the record knows only in part.

The record has a person's roles as they were evaluated, but not their groups; it has the instant, but not the purpose
that a key was issued for. So a question has three answers here: it would have been allowed whatever the record leaves
open, it would have been denied whatever it leaves open, or it cannot be known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from usher_policy.compile import Matched, Snapshot
from usher_policy.conditions import ALWAYS, Context, evaluate
from usher_policy.decide import roles_of
from usher_policy.rules import Permission
from usher_policy.vocabulary import Action, Principal

_BY_PURPOSE = "purpose:"
_GROUP = "group:"


class Verdict(StrEnum):
    """Whether the other policy would have allowed it."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Somebody at an instant: the groups that they must have been in, for the roles that were recorded, and those that
    they may have been in."""

    least: Principal
    most: Principal
    at: datetime


@dataclass(frozen=True, slots=True)
class Hindsight:
    """Two policies: `then`, by which roles were evaluated, and the `other`. `gives`: the roles that each group known to
    either gave then."""

    then: Snapshot
    other: Snapshot
    gives: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, then: Snapshot, other: Snapshot) -> Self:
        return cls(then, other, {group: _given(then, group) for group in _groups(then, other)})

    def recorded(self, user: str, roles: Collection[str], at: datetime) -> Recorded:
        """A group that would have given them a role beyond those that were recorded, they were not in."""
        had = frozenset(roles)
        possible = frozenset(group for group, given in self.gives.items() if given <= had)
        missing = had.difference(roles_of(self.then, Principal(user)))
        givers = [[group for group in possible if role in self.gives[group]] for role in missing]
        certain = frozenset(some[0] for some in givers if len(some) == 1)
        return Recorded(Principal(user, certain), Principal(user, possible), at)


def _given(policy: Snapshot, group: str) -> frozenset[str]:
    """The roles that a group gives to whoever is in it."""
    reached = policy.book.closure(Principal(group))  # a group's own links are followed as a user's are
    return frozenset(name for name in reached if name.startswith("role:"))


def _groups(*policies: Snapshot) -> set[str]:
    """All groups that a rule, a link or a reader list names."""
    found: set[str] = set()
    for policy in policies:
        for names in (policy.book.parents, policy.book.of_subject, policy.shelves.lists_naming):
            found.update(name for name in names if name.startswith(_GROUP))
    return found


def would_allow(policy: Snapshot, recorded: Recorded, action: Action, target: str) -> Verdict:
    """The other policy's answer to one question."""
    least, most = _matched(policy, recorded.least, action, target), _matched(policy, recorded.most, action, target)
    if least is None or most is None or least.problem is not None:
        return Verdict.DENIED
    if not (most.listed or _may_hold(most.allow, recorded.at)) or _must_hold(least.deny, recorded.at):
        return Verdict.DENIED
    if (least.listed or _must_hold(least.allow, recorded.at)) and not _may_hold(most.deny, recorded.at):
        return Verdict.ALLOWED
    return Verdict.UNKNOWN


def would_allow_all(policy: Snapshot, recorded: Recorded, requirements: Iterable[str]) -> dict[str, Verdict]:
    """The answer for each requirement of a document; it is readable if all are."""
    return {name: would_allow(policy, recorded, Action.DOCUMENT_READ, name) for name in sorted(requirements)}


def together(verdicts: Collection[Verdict]) -> Verdict:
    """Of a document, from those of its requirements: one that is denied is enough. None at all is a denial."""
    if not verdicts or Verdict.DENIED in verdicts:
        return Verdict.DENIED
    return Verdict.UNKNOWN if Verdict.UNKNOWN in verdicts else Verdict.ALLOWED


def _matched(policy: Snapshot, principal: Principal, action: Action, target: str) -> Matched | None:
    standing = policy.standing(principal)
    return None if standing is None else policy.matched(standing, target, action)


def _must_hold(rules: Iterable[Permission], at: datetime) -> bool:
    """Whether one of the rules held, whatever is not recorded."""
    return any(_held(rule, at) for rule in rules if not rule.cond.startswith(_BY_PURPOSE))


def _may_hold(rules: Iterable[Permission], at: datetime) -> bool:
    """Whether one of the rules may have held."""
    return any(rule.cond.startswith(_BY_PURPOSE) or _held(rule, at) for rule in rules)


def _held(rule: Permission, at: datetime) -> bool:
    return rule.cond == ALWAYS or evaluate(rule.cond, rule.eft, Context(at)).holds
