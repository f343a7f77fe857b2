"""What somebody whose right to edit is scoped may change: rules about documents on the collections that they govern,
and who has the roles that they govern, as long as such a role opens nothing else.

So whatever they change, nobody's rights change but those to documents on collections that they govern: a changed rule
is about such a collection, and a changed link passes on what its role carries, which is nothing but such rules.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import islice
from typing import Final

from usher_policy.book import RuleBook
from usher_policy.catalog import Catalog
from usher_policy.impact import Delta
from usher_policy.rules import Permission, RoleLink
from usher_policy.vocabulary import is_name

MAX_REASONS: Final = 100
"""A change of a million lines is refused as soon as this many are; the reasons then say that there are more."""

Governs = Callable[[str], bool]
"""Whether a right to edit holds on a `coll:` or `role:` name, as `may` answers by the policy before the change: a
right on what is above by path counts, and so does a deny."""


def ungoverned(before: RuleBook, after: RuleBook, delta: Delta, governs: Governs, catalog: Catalog) -> tuple[str, ...]:
    """Why somebody who may edit only what they govern may not make a change: a reason for each line of it that is not
    theirs to change, with its number where it is known. None if it is wholly within what they govern. Of rules that
    are not theirs a reason tells no more than the object.

    1. a changed rule: about documents (`document.*`), on a collection that is governed with all that lies in it
    2. a changed link: its role is governed, and so is every right that the role carries by either policy, through all
       that it inherits; what reader lists give a role is never governed
    3. anything else is not theirs
    """
    bounds = _Bounds((before, after), governs, catalog)
    reasons = list(islice(_reasons(bounds, delta), MAX_REASONS + 1))
    if len(reasons) > MAX_REASONS:
        reasons[-1] = "and more lines; only the first are shown"
    return tuple(reasons)


def _reasons(bounds: _Bounds, delta: Delta) -> Iterator[str]:
    for done, rules in (("removed", delta.removed), ("added", delta.added)):
        for rule in rules.permissions:
            yield from _told(done, rule, bounds.against_rule(rule))
        for link in rules.links:
            yield from _told(done, link, bounds.against_link(link))


def _told(done: str, line: Permission | RoleLink, problem: str | None) -> Iterator[str]:
    if problem is not None:
        yield f"{done} line{f' {line.line}' if line.line else ''}: {line.canonical}: {problem}"


class _Bounds:
    """What somebody governs, seen from two policies."""

    def __init__(self, books: tuple[RuleBook, RuleBook], governs: Governs, catalog: Catalog) -> None:
        self._books, self._governs, self._catalog = books, governs, catalog
        self.whole = lru_cache(maxsize=None)(self._whole)
        self.carried = lru_cache(maxsize=None)(self._carried)

    def against_rule(self, rule: Permission) -> str | None:
        if not rule.act.startswith("document."):
            return f"{rule.act} is for those who may edit the whole policy"
        return self.whole(rule.obj)

    def against_link(self, link: RoleLink) -> str | None:
        if not (is_name(link.role, frozenset({"role"})) and self._governs(link.role)):
            return f"{link.role} is not governed"
        return self.carried(link.role)

    def _whole(self, obj: str) -> str | None:
        """Why a collection with all that lies in it is not governed. Rights to edit can be denied further down, and
        such a place is named by a rule."""
        if not is_name(obj, frozenset({"coll"})):
            return f"{obj} is not a collection"
        name = next((name for name in (obj, *self._inside(obj)) if not self._governs(name)), None)
        return None if name is None else f"{name} is not governed"

    def _inside(self, obj: str) -> Iterable[str]:
        names = self._collections
        return names[bisect_left(names, f"{obj}/") : bisect_left(names, f"{obj}0")]  # 0 is what comes after a slash

    @cached_property
    def _collections(self) -> list[str]:
        return sorted({obj for book in self._books for obj, _ in book.on_object if obj.startswith("coll:")})

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset[str]().union(*self._catalog.readers.values())

    def _carried(self, role: str) -> str | None:
        """What a role carries by either policy that is not governed."""
        for name in sorted(self._above(role)):
            if name in self._listed:
                return f"{role} carries what a reader list gives"
            for rule in (rule for book in self._books for rule in book.of_subject.get(name, ())):
                if self.against_rule(rule) is not None:  # whose rule it is and when it holds is not theirs to know
                    return f"{role} carries {rule.act} on {rule.obj}, which is not wholly governed"
        return None

    def _above(self, role: str) -> set[str]:
        """The role and all that it inherits by any of the links of either policy, however far."""
        reached, edge = {role}, [role]
        while edge:
            edge = list({up for name in edge for book in self._books for up in book.parents.get(name, ())} - reached)
            reached.update(edge)
        return reached
