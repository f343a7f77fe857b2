"""Who gains or loses what by a change of policy, for every time of day and every purpose at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TypeVar

from usher_policy.book import RuleBook, holders
from usher_policy.catalog import Catalog, restricts
from usher_policy.conditions import ALWAYS
from usher_policy.rights import READ, Asked, Rights, RightsOf, Things
from usher_policy.rules import Rules
from usher_policy.vocabulary import Effect

T = TypeVar("T", str, Asked)


@dataclass(frozen=True, slots=True)
class Delta:
    """What a change takes away from a policy and what it adds."""

    removed: Rules
    added: Rules

    @classmethod
    def between(cls, before: Rules, after: Rules) -> Delta:
        """Lines that were moved, or written twice, are no change."""
        return cls(_without(before, after), _without(after, before))

    @property
    def subjects(self) -> frozenset[str]:
        """Who the changed rules name, and who is given or loses a role."""
        sides = (self.removed, self.added)
        links = {link.member for side in sides for link in side.links}
        return frozenset(links.union(rule.sub for side in sides for rule in side.permissions))


def _without(rules: Rules, others: Rules) -> Rules:
    permissions, links = frozenset(others.permissions), frozenset(others.links)
    return Rules(
        tuple(rule for rule in rules.permissions if rule not in permissions),
        tuple(link for link in rules.links if link not in links),
    )


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the directory. Or, not `known` to it: a user whom rules name, or with only a group, whoever may come
    with it. What else such a person is nobody can say."""

    user: str | None
    groups: frozenset[str] = frozenset()
    known: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for some people: access classes that they may read at some time when they could not before, and
    the other way round; requirements to which the same happened, whether a document has them or not (the name of a
    collection stands for what lies in it and has no name here of its own); and rights that are about no document."""

    gained: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    rights_gained: tuple[Asked, ...] = ()
    rights_lost: tuple[Asked, ...] = ()
    reads_gained: tuple[str, ...] = ()
    reads_lost: tuple[str, ...] = ()

    @property
    def gains(self) -> bool:
        return bool(self.gained or self.rights_gained or self.reads_gained)

    def __or__(self, other: Change) -> Change:
        return Change(
            self.gained | other.gained,
            self.lost | other.lost,
            _merged(self.rights_gained, other.rights_gained),
            _merged(self.rights_lost, other.rights_lost),
            _merged(self.reads_gained, other.reads_gained),
            _merged(self.reads_lost, other.reads_lost),
        )


def _merged(one: tuple[T, ...], other: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(sorted(set(one) | set(other))) if one and other else one or other


@dataclass(frozen=True, slots=True)
class Group:
    """People for whom the same changes."""

    change: Change
    people: tuple[Person, ...]


def impact(
    before: RuleBook, after: RuleBook, delta: Delta, catalog: Catalog, people: Iterable[Person]
) -> tuple[Group, ...]:
    """Everybody whose rights change, in groups; those with the most to gain first. Exact where no condition takes
    part; where one does, a gain that only a combination of conditions would show that cannot hold is a gain too.
    People who are not known may have any right that somebody has: what is denied to them less is a gain, too.

    1. who could be concerned at all: the delta's subjects and whoever has them as a role
    2. for each set of roles among those, once: the rights before and after, and their difference
    3. the same difference, the same group
    """
    concerned = holders(delta.subjects, before, after)
    judged = _Judged(before, after, catalog)
    groups: dict[Change, list[Person]] = defaultdict(list)
    for person in people:
        names = [name for name in (person.user, *person.groups) if name is not None]
        if not concerned.isdisjoint(names):
            groups[judged.change(person)].append(person)
    groups.pop(Change(), None)
    found = [Group(change, tuple(some)) for change, some in groups.items()]
    return tuple(sorted(found, key=lambda group: (not group.change.gains, -len(group.people))))


def freed(
    before: RuleBook, after: RuleBook, delta: Delta, catalog: Catalog, people: Iterable[Person]
) -> Iterator[Person]:
    """Those of these people whom the change forbids less of what some group may: on the day that they come with that
    group they may do more than they could have by the policy before. Groups are their identity provider's to give, and
    those in the directory are of their last login."""
    denies = any(rule.eft == Effect.DENY for rule in delta.removed.permissions)
    if not (denies or delta.removed.links):
        return
    concerned, judged = holders(delta.subjects, before, after), _Judged(before, after, catalog)
    for person in people:
        if not concerned.isdisjoint((person.user, *person.groups)) and judged.freed(person):
            yield person


class _Judged:
    """What changes for whom between two policies, each set of roles judged once."""

    def __init__(self, before: RuleBook, after: RuleBook, catalog: Catalog) -> None:
        self._things = Things.of(catalog, (before, after))
        self._old, self._new = (RightsOf(book, catalog, self._things) for book in (before, after))
        self._classes = Classes(catalog, self._things)
        self._changes: dict[tuple[frozenset[str], frozenset[str], bool], Change] = {}
        self._freed: dict[tuple[frozenset[str], frozenset[str]], bool] = {}
        self._policies = catalog, before, after

    def freed(self, person: Person) -> bool:
        """Whether less is forbidden to them of what a group may."""
        user = person.user or ""
        key = (self._old.entries(user, person.groups), self._new.entries(user, person.groups))
        if key not in self._freed:
            old, new = self._old.together(key[0]), self._new.together(key[1])
            both = Rights({ALWAYS: self._allowed_to_groups})
            self._freed[key] = old.deny != new.deny and self._classes.change(old | both, new | both).gains
        return self._freed[key]

    @cached_property
    def _allowed_to_groups(self) -> int:
        groups = _groups(*self._policies)
        every = (rights.together(rights.entries("", groups)) for rights in (self._old, self._new))
        return reduce(int.__or__, (bits for rights in every for bits in rights.allow.values()), 0)

    def change(self, person: Person) -> Change:
        user = person.user or ""
        key = (self._old.entries(user, person.groups), self._new.entries(user, person.groups), person.known)
        if key not in self._changes:
            old, new = self._old.together(key[0]), self._new.together(key[1])
            known = self._classes.change(old, new)
            self._changes[key] = known if person.known else known | self._possible(old, new)
        return self._changes[key]

    def _possible(self, old: Rights, new: Rights) -> Change:
        """What changes for somebody who has, from elsewhere, every right that anybody has by either policy."""
        if old.deny == new.deny:
            return Change()
        return self._classes.change(old | self._anything, new | self._anything)

    @cached_property
    def _anything(self) -> Rights:
        return Rights({ALWAYS: self._old.allowed_to_any | self._new.allowed_to_any})


def anyone_in(*books: RuleBook) -> Sequence[Person]:
    """For each group that a rule or a link names: whoever may come with it, known or not."""
    return [Person(None, frozenset({name}), known=False) for name in _named("group:", books)]


def strangers(people: Iterable[Person], *books: RuleBook) -> Sequence[Person]:
    """The users that a rule or a link names, and none of these people is."""
    known = {person.user for person in people}
    return [Person(name, known=False) for name in _named("user:", books) if name not in known]


def _named(kind: str, books: Iterable[RuleBook]) -> Sequence[str]:
    return sorted({name for book in books for name in (*book.of_subject, *book.parents) if name.startswith(kind)})


def _groups(catalog: Catalog, *books: RuleBook) -> Sequence[str]:
    """Those that a rule, a link or a list of readers names."""
    listed = {name for names in catalog.readers.values() for name in names if name.startswith("group:")}
    return [*listed, *_named("group:", books)]


class Classes:
    """The access classes by their requirements."""

    def __init__(self, catalog: Catalog, things: Things) -> None:
        self._things = things
        numbers = {asked.obj: n for n, asked in enumerate(things.names) if asked.act == READ}
        self._requiring: dict[str, list[int]] = defaultdict(list)
        self._needs: dict[int, int] = {}
        for ident, requirements in catalog.classes.items():
            if ident > 0 and restricts(requirements):
                if len(requirements) > 1:
                    self._needs[ident] = things.bits(numbers[name] for name in requirements)
                for name in requirements:
                    self._requiring[name].append(ident)

    def change(self, before: Rights, after: Rights) -> Change:
        gained, lost = after.beyond(before), before.beyond(after)
        more, less = list(self._things.named(gained)), list(self._things.named(lost))
        return Change(
            self._readable(more, after.at_best),
            self._readable(less, before.at_best),
            tuple(asked for asked in more if asked.act != READ),
            tuple(asked for asked in less if asked.act != READ),
            tuple(asked.obj for asked in more if asked.act == READ),
            tuple(asked.obj for asked in less if asked.act == READ),
        )

    def _readable(self, changed: Iterable[Asked], at_best: int) -> frozenset[int]:
        """Classes with one of these requirements whose every requirement is permitted at some time."""
        with_it = (ident for asked in changed if asked.act == READ for ident in self._requiring.get(asked.obj, ()))
        return frozenset(ident for ident in with_it if not self._needs.get(ident, 0) & ~at_best)
