"""What sets of subjects may do, as integers used as sets: one bit for each thing that can be asked.

Here conditions are not evaluated but kept apart, each with the bits that depend on it: so two policies can be compared
for every time of day and every purpose at once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from itertools import chain
from typing import Final, NamedTuple

from usher_policy.book import RuleBook
from usher_policy.catalog import Catalog
from usher_policy.conditions import ALWAYS
from usher_policy.vocabulary import Action, Effect, ancestors

READ: Final = Action.DOCUMENT_READ
_NOT_ZERO: Final = re.compile(rb"[^\0]")


class Asked(NamedTuple):
    """What can be asked for: an action on an object. Documents are asked for by their requirements."""

    obj: str
    act: str


@dataclass(frozen=True, slots=True)
class Things:
    """All that can be asked under some policies over one catalog, numbered; `below` has for each object and action
    that a rule may name the numbers of what it covers."""

    names: tuple[Asked, ...]
    below: Mapping[tuple[str, str], tuple[int, ...]]

    @classmethod
    def of(cls, catalog: Catalog, books: Iterable[RuleBook]) -> Things:
        """The requirements that occur in a class, and whatever a rule of any of these policies is about: also a
        collection or a marking that no document has yet."""
        asked = {Asked(name, READ) for names in catalog.classes.values() for name in names}
        asked.update(Asked(obj, act) for book in books for obj, act in book.on_object)
        return cls.about(sorted(asked))

    @classmethod
    def about(cls, asked: Iterable[Asked]) -> Things:
        """These, in their order."""
        names = tuple(asked)
        below: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (obj, act) in enumerate(names):
            for above in (obj, *ancestors(obj)):
                below[above, act].append(number)
        return cls(names, {name: tuple(numbers) for name, numbers in below.items()})

    def bits(self, numbers: Iterable[int]) -> int:
        """The set of these numbers."""
        packed = bytearray(len(self.names) // 8 + 1)
        for number in numbers:
            packed[number >> 3] |= 1 << (number & 7)
        return int.from_bytes(packed, "little")

    def named(self, bits: int) -> Iterator[Asked]:
        """What is in a set, in order."""
        packed = bits.to_bytes(len(self.names) // 8 + 1, "little")
        for found in _NOT_ZERO.finditer(packed):  # sets are sparse, and this skips zeros fast
            first, byte = found.start() * 8, packed[found.start()]
            yield from (self.names[first + bit] for bit in range(8) if byte >> bit & 1)


@dataclass(frozen=True, slots=True)
class Rights:
    """What is allowed and what is denied, each by the condition under which it is."""

    allow: Mapping[str, int] = field(default_factory=dict)
    deny: Mapping[str, int] = field(default_factory=dict)

    def __or__(self, other: Rights) -> Rights:
        return Rights(_both(self.allow, other.allow), _both(self.deny, other.deny))

    @property
    def at_best(self) -> int:
        """What is permitted at some time: an allowing condition holds, and no denying one does."""
        return _any(self.allow.values()) & ~self.deny.get(ALWAYS, 0)

    def beyond(self, other: Rights) -> int:
        """What these permit under some condition under which `other` does not. Conditions are taken to be independent
        of each other: what this leaves out is no gain at any time, for any purpose."""
        others = other.allow.get(ALWAYS, 0)
        more_allowed = _any(bits & ~(other.allow.get(cond, 0) | others) for cond, bits in self.allow.items())
        less_denied = _any(bits & ~self.deny.get(cond, 0) for cond, bits in other.deny.items())
        return self.at_best & (more_allowed | less_denied)


NOTHING: Final = Rights()


def _both(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    if not one or not other:
        return one or other
    return {cond: one.get(cond, 0) | other.get(cond, 0) for cond in {*one, *other}}


def _any(sets: Iterable[int]) -> int:
    return reduce(int.__or__, sets, 0)


class RightsOf:
    """The rights of subjects under one policy. Each is worked out once, with those of the roles above it.

    For policies that pass lint: no circle of roles and no chain that Casbin would cut.
    """

    def __init__(self, book: RuleBook, catalog: Catalog, things: Things) -> None:
        self._book, self._things = book, things
        lists: dict[str, list[int]] = defaultdict(list)
        for name, subjects in catalog.readers.items():
            for subject in subjects:
                lists[subject].extend(things.below.get((name, READ), ()))
        self._lists: Mapping[str, list[int]] = lists
        self._known: dict[str, Rights] = {}

    def entries(self, user: str, groups: Iterable[str]) -> frozenset[str]:
        """Where a person's rights come from: the roles given to them and to their groups, and themselves where a rule
        or a reader list names them. Equal for people with equal rights, as far as links tell."""
        own = [name for name in (user, *groups) if name in self._book.of_subject or name in self._lists]
        return frozenset(own).union(*(self._book.parents.get(name, ()) for name in (user, *groups)))

    def together(self, entries: Iterable[str]) -> Rights:
        """The rights of all these subjects and of every role above them."""
        return reduce(Rights.__or__, (self._closed(name) for name in entries), NOTHING)

    @cached_property
    def allowed_to_any(self) -> int:
        """What some rule or reader list allows to somebody, under whatever condition."""
        objects = (asked for asked, rules in self._book.on_object.items() if any(r.eft == Effect.ALLOW for r in rules))
        listed = chain.from_iterable(self._lists.values())
        return self._things.bits(chain((n for asked in objects for n in self._things.below.get(asked, ())), listed))

    def _closed(self, name: str) -> Rights:
        known = self._known.get(name)
        if known is None:
            above = self._book.parents.get(name, ()) if name.startswith("role:") else ()
            known = self._known[name] = reduce(Rights.__or__, (self._closed(role) for role in above), self._own(name))
        return known

    def _own(self, name: str) -> Rights:
        allow: dict[str, list[int]] = defaultdict(list)
        deny: dict[str, list[int]] = defaultdict(list)
        for rule in self._book.of_subject.get(name, ()):
            of_effect = allow if rule.eft == Effect.ALLOW else deny
            of_effect[rule.cond].extend(self._things.below.get((rule.obj, rule.act), ()))
        allow[ALWAYS].extend(self._lists.get(name, ()))
        return Rights(self._bits(allow), self._bits(deny))

    def _bits(self, numbers: Mapping[str, list[int]]) -> dict[str, int]:
        return {cond: self._things.bits(some) for cond, some in numbers.items() if some}
