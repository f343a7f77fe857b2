"""How far a right of the audit log goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

_COLLECTION = "coll:"


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
        both = self.everything and other.everything, self.classes & other.classes
        return Reach(*both, self.whole and other.whole)


def reach(
    everywhere: bool, classes: Mapping[int, Collection[str]], may: Callable[[str], bool], denied: Callable[[str], bool]
) -> Reach:
    """The reach of a right: everywhere, but for collections on which it is `denied`; or where it is `may`, by
    collection. A document without a collection is within a right that holds everywhere only."""
    verdicts: dict[str, bool] = {}

    def within(requirements: Collection[str]) -> bool:
        for name in requirements:
            if name.startswith(_COLLECTION):
                if name not in verdicts:
                    verdicts[name] = not denied(name) if everywhere else may(name)
                return verdicts[name]
        return everywhere

    found = frozenset(number for number, names in classes.items() if within(names))
    return Reach(everywhere, found, everywhere and len(found) == len(classes))
