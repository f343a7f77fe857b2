"""What a change of policy gives and takes, as people read it: "12 people gain `finance/payroll` (41 documents)".

Nothing is lost in the words: each access class, right and person of the groups is told once, or counted where a list
would be too long. A collection is told whole where all that lies in it is gained, else as a part of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from usher_policy.catalog import Catalog, restricts
from usher_policy.impact import Change, Group, Person
from usher_policy.rights import Asked
from usher_policy.vocabulary import ancestors

MAX_GROUPS: Final = 40
"""Groups that are told; the people of the others are counted."""
MAX_SHELVES: Final = 25
MAX_NAMES: Final = 12
"""Names in one list; the others are counted."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Some names, and how many more there are."""

    names: tuple[str, ...] = ()
    more: int = 0

    @classmethod
    def of(cls, names: Iterable[str], most: int = MAX_NAMES) -> Self:
        found = tuple(names)
        return cls(found[:most], max(len(found) - most, 0))

    @property
    def count(self) -> int:
        return len(self.names) + self.more

    def __bool__(self) -> bool:
        return bool(self.names or self.more)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Documents with one place: a collection (`coll:…`, `whole` if that is all that lies in it and below), or a reader
    list (`readers:…`) of those whom it names. `markings` are those that some of them have."""

    place: str
    whole: bool
    classes: int
    documents: int
    markings: tuple[str, ...] = ()
    readers: Listed = Listed()


@dataclass(frozen=True, slots=True)
class Shelves:
    """What may be read: the places with most documents, and of the others how many they are and have."""

    told: tuple[Shelf, ...] = ()
    more: int = 0
    more_classes: int = 0
    more_documents: int = 0


@dataclass(frozen=True, slots=True)
class OtherRight:
    """A right that is about no document, and on what."""

    action: str
    objects: Listed


@dataclass(frozen=True, slots=True)
class Side:
    """What is gained, or what is lost. `reads` are places and markings that may be read, though that opens no document
    that is there now, or none that is told by them."""

    shelves: Shelves = Shelves()
    rights: tuple[OtherRight, ...] = ()
    reads: Listed = Listed()

    def __bool__(self) -> bool:
        return bool(self.shelves.told or self.rights or self.reads)


@dataclass(frozen=True, slots=True)
class Whom:
    """People of the directory, users whom rules name and the directory does not, and whoever comes with a group."""

    people: Listed = Listed()
    strangers: Listed = Listed()
    anyone_in: Listed = Listed()


@dataclass(frozen=True, slots=True)
class GroupWords:
    """The same for all of these people. `gains` says whether anybody's right widens."""

    whom: Whom
    gained: Side
    lost: Side
    gains: bool


@dataclass(frozen=True, slots=True)
class ImpactWords:
    """All that changes. Of the groups beyond the first `MAX_GROUPS` only the people are counted; `gaining` and `losing`
    count those of all."""

    groups: tuple[GroupWords, ...] = ()
    more_groups: int = 0
    more_people: int = 0
    gaining: int = 0
    losing: int = 0


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is to be read: the access classes, and how many documents each has now."""

    catalog: Catalog
    documents: Mapping[int, int]
    places: Mapping[str, frozenset[int]]
    """Each collection, also each above one, and each reader list of documents without a collection, with its classes
    and those below it."""

    @classmethod
    def of(cls, catalog: Catalog, documents: Mapping[int, int]) -> Stock:
        places: dict[str, set[int]] = defaultdict(set)
        for ident, requirements in catalog.classes.items():
            if ident > 0 and restricts(requirements):
                for place in _homes(requirements):
                    for above in (place, *ancestors(place)):
                        places[above].add(ident)
        return cls(catalog, documents, {place: frozenset(idents) for place, idents in places.items()})

    def shelf(self, place: str, whole: bool, idents: Collection[int]) -> Shelf:
        names = {name for ident in idents for name in self.catalog.classes[ident]}
        marks = tuple(sorted(name for name in names if name.startswith("mark:")))
        readers = Listed.of(sorted(self.catalog.readers.get(place, ())))
        documents = sum(self.documents.get(ident, 0) for ident in idents)
        return Shelf(place, whole, len(idents), documents, marks, readers)


def impact_words(groups: Sequence[Group], stock: Stock) -> ImpactWords:
    """The groups of an impact in words, in their order."""
    told = tuple(_group(group, stock) for group in groups[:MAX_GROUPS])
    rest = groups[MAX_GROUPS:]
    return ImpactWords(
        groups=told,
        more_groups=len(rest),
        more_people=sum(len(group.people) for group in rest),
        gaining=sum(len(group.people) for group in groups if group.change.gains),
        losing=sum(len(group.people) for group in groups if _loses(group.change)),
    )


def _loses(change: Change) -> bool:
    return bool(change.lost or change.rights_lost or change.reads_lost)


def _group(group: Group, stock: Stock) -> GroupWords:
    change = group.change
    gained = _side(change.gained, change.rights_gained, change.reads_gained, stock)
    lost = _side(change.lost, change.rights_lost, change.reads_lost, stock)
    return GroupWords(_whom(group.people), gained, lost, change.gains)


def _whom(people: Iterable[Person]) -> Whom:
    known: list[str] = []
    outside: list[str] = []
    anyone: list[str] = []
    for person in people:
        if person.user is None:
            anyone.append(" and ".join(sorted(person.groups)))
        else:
            (known if person.known else outside).append(person.user)
    return Whom(*(Listed.of(sorted(names)) for names in (known, outside, anyone)))


def _side(classes: frozenset[int], rights: Sequence[Asked], reads: Sequence[str], stock: Stock) -> Side:
    shelves = sorted(_shelves(classes, frozenset(reads), stock), key=lambda shelf: (-shelf.documents, shelf.place))
    rest = shelves[MAX_SHELVES:]
    told = Shelves(
        told=tuple(shelves[:MAX_SHELVES]),
        more=len(rest),
        more_classes=sum(shelf.classes for shelf in rest),
        more_documents=sum(shelf.documents for shelf in rest),
    )
    whole = {shelf.place for shelf in shelves if shelf.whole}
    parts = {shelf.place for shelf in shelves}
    open_ = sorted(name for name in reads if name not in parts and whole.isdisjoint((name, *ancestors(name))))
    return Side(told, tuple(_rights(rights)), Listed.of(open_))


def _shelves(classes: frozenset[int], reads: frozenset[str], stock: Stock) -> Iterator[Shelf]:
    """Each class in one place: the highest that is gained whole, else the one that it lies in itself. A place of which
    neither a rule nor a document is directly is no place: more may come below it than was gained."""
    homes: dict[str, list[int]] = defaultdict(list)
    for ident in classes:
        homes[_homes(stock.catalog.classes[ident])[0]].append(ident)
    at: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for home, idents in homes.items():
        direct = [place for place in (home, *ancestors(home)) if place == home or place in reads or place in homes]
        whole = [place for place in direct if stock.places[place] <= classes]
        at[(whole[-1], True) if whole else (home, False)] += idents
    for (place, is_whole), idents in at.items():
        yield stock.shelf(place, is_whole, idents)


def _homes(requirements: Iterable[str]) -> list[str]:
    """Where a document of these requirements lies: its collection, or else its reader list. (Somebody may have made a
    class with two: then the first of each in order.)"""
    names = sorted(requirements)
    collections = [name for name in names if name.startswith("coll:")]
    return collections or [name for name in names if name.startswith("readers:")]


def _rights(rights: Sequence[Asked]) -> Iterator[OtherRight]:
    by_action: dict[str, list[str]] = defaultdict(list)
    for asked in rights:
        by_action[str(asked.act)].append(asked.obj)
    for action, objects in sorted(by_action.items()):
        yield OtherRight(action, Listed.of(sorted(objects)))
