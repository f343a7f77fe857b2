"""How far a right of the audit log goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from usher_policy.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Reach:
    """What a reviewer may know of: `everything` also what is about no document; else only what is about documents of
    these access `classes`. `whole`: nothing at all is cut out."""

    everything: bool
    classes: frozenset[int]
    whole: bool = False

    @property
    def nothing(self) -> bool:
        return not self.everything and not self.classes

    def covers(self, access_class: int | None) -> bool:
        """Whether a document of this access class (None: unknown) lies within it."""
        return access_class in self.classes or (access_class is None and self.everything)

    def __and__(self, other: Reach) -> Reach:
        same = self.classes is other.classes  # as those of one catalog are that are without a limit
        both = self.everything and other.everything, self.classes if same else self.classes & other.classes
        return Reach(*both, self.whole and other.whole)


def reach(everywhere: bool, catalog: Catalog, may: Callable[[str], bool], denied: Callable[[str], bool]) -> Reach:
    """The reach of a right: everywhere, but for collections on which it is `denied`; or where it is `may`, by
    collection. A document without a collection is within a right that holds everywhere only."""

    def within(collection: str | None) -> bool:
        if collection is None:
            return everywhere
        return not denied(collection) if everywhere else may(collection)

    shelves = catalog.by_collection
    inside = [numbers for collection, numbers in shelves.items() if within(collection)]
    whole = len(inside) == len(shelves)
    return Reach(everywhere, catalog.numbers if whole else frozenset().union(*inside), everywhere and whole)
