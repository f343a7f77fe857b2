"""Who gains or loses what by a change of policy, for every time of day and every purpose at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from usher_policy.book import RuleBook
from usher_policy.catalog import Catalog, restricts
from usher_policy.rights import READ, Asked, Rights, RightsOf, Things
from usher_policy.rules import Rules


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
    """Somebody in the directory; or with only a group, whoever may come with it."""

    user: str | None
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for some people: access classes that they may read at some time when they could not before, and
    the other way round; and rights that are about no document, the same."""

    gained: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    rights_gained: tuple[Asked, ...] = ()
    rights_lost: tuple[Asked, ...] = ()

    @property
    def gains(self) -> bool:
        return bool(self.gained or self.rights_gained)


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

    1. who could be concerned at all: the delta's subjects and whoever has them as a role
    2. for each set of roles among those, once: the rights before and after, and their difference
    3. the same difference, the same group
    """
    concerned = _below(delta.subjects, before, after)
    things = Things.of(catalog, (before, after))
    old, new = RightsOf(before, catalog, things), RightsOf(after, catalog, things)
    classes = Classes(catalog, things)
    changes: dict[tuple[frozenset[str], frozenset[str]], Change] = {}
    groups: dict[Change, list[Person]] = defaultdict(list)
    for person in people:
        names = [name for name in (person.user, *person.groups) if name is not None]
        if concerned.isdisjoint(names):
            continue
        user = person.user or ""
        key = (old.entries(user, person.groups), new.entries(user, person.groups))
        if key not in changes:
            changes[key] = classes.change(old.together(key[0]), new.together(key[1]))
        groups[changes[key]].append(person)
    groups.pop(Change(), None)
    found = [Group(change, tuple(some)) for change, some in groups.items()]
    return tuple(sorted(found, key=lambda group: (not group.change.gains, -len(group.people))))


def anyone_in(*books: RuleBook) -> Sequence[Person]:
    """For each group that a rule or a link names: whoever may come with it, known or not."""
    named = {name for book in books for name in (*book.of_subject, *book.parents) if name.startswith("group:")}
    return [Person(None, frozenset({name})) for name in sorted(named)]


def _below(subjects: Iterable[str], *books: RuleBook) -> frozenset[str]:
    """The subjects and whoever has them as a role, by any of these policies."""
    members: dict[str, list[str]] = defaultdict(list)
    for book in books:
        for member, roles in book.parents.items():
            for role in roles:
                members[role].append(member)
    reached, edge = set(subjects), list(subjects)
    while edge:
        edge = [member for role in edge for member in members.get(role, ()) if member not in reached]
        reached.update(edge)
    return frozenset(reached)


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
        )

    def _readable(self, changed: Iterable[Asked], at_best: int) -> frozenset[int]:
        """Classes with one of these requirements whose every requirement is permitted at some time."""
        with_it = (ident for asked in changed if asked.act == READ for ident in self._requiring.get(asked.obj, ()))
        return frozenset(ident for ident in with_it if not self._needs.get(ident, 0) & ~at_best)
