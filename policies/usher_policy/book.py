"""A policy's rules by what they are looked up by."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from usher_policy.conditions import ALWAYS
from usher_policy.links import MAX_LINKS
from usher_policy.rules import Permission, RoleLink, Rules
from usher_policy.vocabulary import Effect, Principal

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The rules by what they are looked up by. Reader lists are not among them."""

    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    of_subject: Mapping[str, tuple[Permission, ...]] = field(default_factory=dict)
    on_object: Mapping[tuple[str, str], tuple[Permission, ...]] = field(default_factory=dict)
    conditions: Mapping[tuple[str, Effect], int] = field(default_factory=dict)
    """How many rules wait for each condition with each effect; `always` is none."""

    @classmethod
    def of(cls, rules: Rules) -> RuleBook:
        parents: dict[str, list[str]] = defaultdict(list)
        of_subject: dict[str, list[Permission]] = defaultdict(list)
        on_object: dict[tuple[str, str], list[Permission]] = defaultdict(list)
        conditions: Counter[tuple[str, Effect]] = Counter()
        for link in rules.links:
            parents[link.member].append(link.role)
        for rule in rules.permissions:
            of_subject[rule.sub].append(rule)
            on_object[rule.obj, rule.act].append(rule)
            if rule.cond != ALWAYS:
                conditions[rule.cond, rule.eft] += 1
        return cls(_frozen(parents), _frozen(of_subject), _frozen(on_object), conditions)

    def changed(self, removed: Rules, added: Rules) -> RuleBook:
        """The book without the removed lines, all that are equal to them, and with the added ones. It costs what the
        change touches, and a copy of the three indexes."""
        parents, of_subject, on_object = dict(self.parents), dict(self.of_subject), dict(self.on_object)
        conditions = Counter(self.conditions)
        for link in removed.links:
            _drop(parents, link.member, link.role)
        for rule in removed.permissions:
            gone = _drop(of_subject, rule.sub, rule)
            _drop(on_object, (rule.obj, rule.act), rule)
            conditions.subtract({(rule.cond, rule.eft): gone} if rule.cond != ALWAYS else {})
        for link in added.links:
            parents[link.member] = (*parents.get(link.member, ()), link.role)
        for rule in added.permissions:
            of_subject[rule.sub] = (*of_subject.get(rule.sub, ()), rule)
            on_object[rule.obj, rule.act] = (*on_object.get((rule.obj, rule.act), ()), rule)
            conditions.update([(rule.cond, rule.eft)] if rule.cond != ALWAYS else [])
        return RuleBook(parents, of_subject, on_object, +conditions)

    @property
    def subjects(self) -> frozenset[str]:
        """Every subject that a rule or a link names, and every role that one gives."""
        given = frozenset(role for roles in self.parents.values() for role in roles)
        return given.union(self.parents, self.of_subject)

    @property
    def rules(self) -> Rules:
        """All of them, one after the other."""
        permissions = tuple(rule for rules in self.of_subject.values() for rule in rules)
        return Rules(permissions, tuple(RoleLink(m, role) for m, roles in self.parents.items() for role in roles))

    def closure(self, principal: Principal) -> frozenset[str]:
        """The user, the groups and every role reached from them within the links that Casbin follows."""
        reached = {principal.user}
        edge = {*principal.groups, *self.parents.get(principal.user, ())} - reached
        for _ in range(MAX_LINKS):
            reached |= edge
            edge = {role for name in edge for role in self.parents.get(name, ())} - reached
        return frozenset(reached)


def holders(subjects: Iterable[str], *books: RuleBook) -> frozenset[str]:
    """The subjects, and whoever has one of them as a role by any of these policies, over however many links."""
    members: dict[str, list[str]] = defaultdict(list)
    for book in books:
        for member, roles in book.parents.items():
            for role in roles:
                members[role].append(member)
    reached = set(subjects)
    edge = list(reached)
    while edge:
        edge = list({member for role in edge for member in members.get(role, ()) if member not in reached})
        reached.update(edge)
    return frozenset(reached)


def _frozen(lists: Mapping[K, list[V]]) -> dict[K, tuple[V, ...]]:
    return {key: tuple(values) for key, values in lists.items()}


def _drop(index: dict[K, tuple[V, ...]], key: K, value: V) -> int:
    """Take all that equal `value` out, and the key with the last of them; returns how many there were."""
    old = index.get(key, ())
    kept = tuple(other for other in old if other != value)
    if kept:
        index[key] = kept
    else:
        index.pop(key, None)
    return len(old) - len(kept)
