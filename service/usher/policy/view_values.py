"""What people are told of a policy: answers as values, and as much of them as a right in some places reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from usher_policy.explain import Explanation, Line, Part
from usher_policy.rules import Permission, RoleLink
from usher_policy.vocabulary import Effect

Governs = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class RulePart:
    """A rule that took part: its line, whether its condition holds and until when, and how its subject is theirs."""

    id: str
    line: str
    effect: str
    condition: str
    holds: bool
    valid_until: datetime | None
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """One decision on somebody, with all that brought it about. `known`: they are in the directory and active; nobody
    else may do anything. `missing` is what it takes, in words; `to_remove`, `to_add` and `roles_to_give` are single
    lines, each of which alone would turn the decision round. `hidden`: more took part than this right reaches."""

    user: str
    known: bool
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    object: str
    action: str
    allowed: bool
    reason: str
    rules: tuple[RulePart, ...]
    listed: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...]
    to_remove: tuple[str, ...]
    to_add: tuple[str, ...]
    roles_to_give: tuple[str, ...]
    hidden: bool
    valid_until: datetime | None
    policy_version: int


@dataclass(frozen=True, slots=True)
class OwnExplained:
    """One decision on whoever asks, in words that tell of nothing but themselves."""

    user: str
    object: str
    action: str
    allowed: bool
    words: tuple[str, ...]
    valid_until: datetime | None
    policy_version: int


@dataclass(frozen=True, slots=True)
class WhoMay:
    """Those of the directory who may do it now, and the groups whose members may; `more` are not told."""

    object: str
    action: str
    users: tuple[str, ...]
    anyone_in: tuple[str, ...]
    more: int
    valid_until: datetime | None
    policy_version: int


@dataclass(frozen=True, slots=True)
class OneRight:
    """What is said to somebody of one object; it holds for all below it, but for what is listed of its own."""

    action: str
    object: str
    allowed: bool
    reason: str
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class WhatMay:
    """All that rules and reader lists say to one person."""

    user: str
    known: bool
    rights: tuple[OneRight, ...]
    policy_version: int


def explained(found: Explanation, version: int, *, known: bool, governs: Governs | None) -> Explained:
    """An explanation as far as a right reaches (None: everywhere). Who is not known is denied, whatever rules say."""
    told = found if governs is None else _cut(found, governs)
    decision = found.decision
    user = found.principal.user
    groups = {name for part in told.parts for name in part.path} if governs else found.principal.groups
    return Explained(
        user=user,
        known=known,
        groups=tuple(sorted(found.principal.groups.intersection(groups))),
        roles=tuple(sorted(name for name in told.subjects if name.startswith("role:"))),
        object=found.object,
        action=found.action,
        allowed=decision.allowed and known,
        reason=decision.reason if known else "person_inactive",
        rules=tuple(map(_part, told.parts)),
        listed=told.listed,
        missing=told.missing if governs is None else _missing(found, told, governs),
        to_remove=tuple(line.canonical for line in told.to_remove),
        to_add=tuple(line.canonical for line in told.to_add),
        roles_to_give=tuple(line.canonical for line in told.roles_to_give),
        hidden=len(told.parts) < len(found.parts) or len(told.listed) < len(found.listed),
        valid_until=decision.valid_until,
        policy_version=version,
    )


def _missing(found: Explanation, told: Explanation, governs: Governs) -> tuple[str, ...]:
    if any(part.holds and part.rule.eft == Effect.DENY and not governs(part.rule.obj) for part in found.parts):
        return ("a rule on what you do not govern forbids it",)
    return told.missing if told.parts or not found.parts else ()


def own(found: Explanation, user: str, version: int) -> OwnExplained:
    """An explanation for the person's own eyes. Nothing tells a list of readers that does not name them from none."""
    decision = found.decision
    nothing = not (decision.allowed or found.parts)
    words = found.own_words[:1] if nothing else found.own_words
    until = None if nothing else decision.valid_until
    return OwnExplained(user, found.object, found.action, decision.allowed, words, until, version)


def _part(part: Part) -> RulePart:
    rule = part.rule
    return RulePart(rule.id, rule.canonical, str(rule.eft), rule.cond, part.holds, part.valid_until, part.path)


def _cut(found: Explanation, governs: Governs) -> Explanation:
    """Without rules on what is not governed, without roles that are not, and without the way to those of a rule."""
    user = found.principal.user
    parts = tuple(replace(part, path=_way(part.path, governs)) for part in found.parts if governs(part.rule.obj))
    shown = {user, *(part.rule.sub for part in parts)}
    return replace(
        found,
        subjects=tuple(name for name in found.subjects if name in shown or governs(name)),
        parts=parts,
        listed=(),
        to_remove=tuple(line for line in found.to_remove if _governed(line, governs)),
        to_add=tuple(rule for rule in found.to_add if rule.sub in shown or governs(rule.sub)),
        roles_to_give=tuple(link for link in found.roles_to_give if governs(link.role)),
    )


def _way(path: tuple[str, ...], governs: Governs) -> tuple[str, ...]:
    """The first name and the last one, with those between that are governed."""
    return tuple(name for place, name in enumerate(path) if place in (0, len(path) - 1) or governs(name))


def _governed(line: Line, governs: Governs) -> bool:
    if isinstance(line, Permission):
        return governs(line.obj)
    return isinstance(line, RoleLink) and governs(line.role)
