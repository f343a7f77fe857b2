"""Who may use which adapters: all of them judged in one call, at each request.

An adapter is eligible for somebody who has the right to use it and in whose scope is every access class of every
document that it learned, the class of that time and those of now. Sets of adapters are integers, one bit for each, kept
by class: a class outside a scope takes all that need it out at once, however many documents it stands for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from typing import Final, TypeVar
from uuid import UUID

from usher_lora.faults import AdapterFault
from usher_lora.lineage import Lineage
from usher_lora.manifest import Identity
from usher_policy.compile import Snapshot, Standing
from usher_policy.conditions import Context
from usher_policy.decide import may
from usher_policy.vocabulary import Action, Principal

_REMEMBERED: Final = 4_096
_NOBODYS: Final = 0
"""The access class that is in no scope. A document of which nothing is known counts as in it."""
_FREE: Final = ""
"""The name of a place that an adapter left, which the next one gets."""
_BITS: Final = bytes.maketrans(b"01", b"\0\1")

K = TypeVar("K")


class Reason(StrEnum):
    """Why an adapter is not eligible. Somebody without the right to use it hears nothing of what it learned."""

    NO_RIGHT = "no_right_to_use"
    OUTSIDE = "learned_what_is_outside_the_scope"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A published adapter: its served name, the object of rules on it, the documents of its lineage, and the access
    classes that these had when they were learned. One that learned nothing is nobody's."""

    name: str
    policy_object: str
    documents: Collection[UUID]
    trained: Collection[int]

    @classmethod
    def of(cls, identity: Identity, lineage: Lineage) -> Candidate:
        """Raises `AdapterFault` for a lineage that is not the one of the adapter's manifest."""
        if lineage.digest != identity.lineage:
            raise AdapterFault(
                "lineage", "is not the one that the manifest names", "take the one made with the adapter"
            )
        return cls(identity.served_name, identity.policy_object, lineage.document_ids, lineage.trained_classes)


@dataclass(frozen=True, slots=True)
class Judged:
    """The adapters by whether somebody may use them; the bits are places in `names`."""

    names: tuple[str, ...]
    allowed: int
    outside: int

    @property
    def eligible(self) -> tuple[str, ...]:
        return tuple(_chosen(self.names, self.allowed & ~self.outside))

    @property
    def ineligible(self) -> dict[str, Reason]:
        """Each of the others with its reason: for whoever administers adapters."""
        everyone = sum(1 << place for place, name in enumerate(self.names) if name)
        outside = _chosen(self.names, self.allowed & self.outside)
        no_right = _chosen(self.names, everyone & ~self.allowed)
        return dict.fromkeys(no_right, Reason.NO_RIGHT) | dict.fromkeys(outside, Reason.OUTSIDE)

    def reason(self, name: str) -> Reason | None:
        """None for an eligible one. One that is not there is answered like one without a right to it."""
        place = self.names.index(name) if name and name in self.names else None
        if place is None or not self.allowed >> place & 1:
            return Reason.NO_RIGHT
        return Reason.OUTSIDE if self.outside >> place & 1 else None


def _chosen(names: tuple[str, ...], bits: int) -> Iterable[str]:
    return compress(names, f"{bits:b}"[::-1].encode().translate(_BITS))


class Eligibility:
    """The published adapters, by what they need. Not a value: `add`, `remove` and `relabel` change it in place, each
    at once; one thread asks and changes it.

    What is remembered between calls: for one scope (the same tuple) which adapters need more than it has, and for one
    standing which objects its rules judge alike. A change of adapters or labels forgets it.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._objects: dict[str, int] = {}
        self._learners: dict[UUID, int] = {}
        self._classes: dict[UUID, frozenset[int]] = {}
        self._members: dict[int, set[UUID]] = defaultdict(set)
        self._now: dict[int, int] = {}
        self._trained: dict[int, int] = {}
        self._needed: dict[int, int] = {}
        self._outside: dict[int, tuple[tuple[int, ...], int]] = {}
        self._alike: dict[Standing, tuple[tuple[str, int], ...]] = {}

    @property
    def documents(self) -> Collection[UUID]:
        """All that any of the adapters learned: the documents whose labels matter."""
        return self._learners.keys()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self._names if name)

    def learned(self, document: UUID) -> tuple[str, ...]:
        """The adapters that learned it."""
        return tuple(_chosen(self._names, self._learners.get(document, 0)))

    def add(self, adapter: Candidate, classes: Mapping[UUID, Collection[int]]) -> None:
        """Take an adapter in. `classes` has for each of its documents the access class in force and that of a change
        that is pending; a document without one is nobody's. Raises `ValueError` for a name that is there already."""
        if not adapter.name or adapter.name in self._names:
            raise ValueError(f"{adapter.name!r} is no name of a new adapter")
        place = self._names.index(_FREE) if _FREE in self._names else len(self._names)
        self._names = (*self._names[:place], adapter.name, *self._names[place + 1 :])
        bit = 1 << place
        self._objects[adapter.policy_object] = self._objects.get(adapter.policy_object, 0) | bit
        trained = frozenset(adapter.trained) if adapter.documents else frozenset({_NOBODYS})
        now: set[int] = set()
        others: dict[UUID, Collection[int]] = {}
        for document in adapter.documents:
            self._learners[document] = self._learners.get(document, 0) | bit
            told, known = classes.get(document, ()), self._classes.get(document, frozenset())
            now |= known
            if not known or len(told) != len(known) or not known.issuperset(told):
                others[document] = told
        for sets, numbers in ((self._trained, trained), (self._now, now)):
            for number in numbers:
                sets[number] = sets.get(number, 0) | bit
        self.relabel(others)
        self._changed(trained | now)
        self._alike.clear()

    def remove(self, name: str) -> bool:
        """Nobody may use it from here on. False if it is not there."""
        if not name or name not in self._names:
            return False
        place = self._names.index(name)
        self._names = (*self._names[:place], _FREE, *self._names[place + 1 :])
        _without(self._objects, 1 << place)
        _without(self._learners, 1 << place)
        _without(self._now, 1 << place)
        _without(self._trained, 1 << place)
        for document in self._classes.keys() - self._learners.keys():
            for number in self._classes.pop(document):
                self._members[number].discard(document)
        self._alike.clear()
        self._changed(self._needed)
        return True

    def relabel(self, classes: Mapping[UUID, Collection[int]]) -> None:
        """The labels of these documents are others now; those that no adapter learned are passed over."""
        touched: set[int] = set()
        for document in classes.keys() & self._learners.keys():
            new, old = frozenset(classes[document]) or frozenset({_NOBODYS}), self._classes.get(document, frozenset())
            if new == old:
                continue
            self._classes[document] = new
            for number in old - new:
                self._leave(number, document)
            for number in new - old:
                self._members[number].add(document)
                self._now[number] = self._now.get(number, 0) | self._learners[document]
            touched |= new ^ old
        self._changed(touched)

    def _leave(self, number: int, document: UUID) -> None:
        """Those of its learners that need the class for no other document do not need it any more."""
        self._members[number].discard(document)
        alone = self._learners[document]
        for other in self._members[number]:
            alone &= ~self._learners[other]
            if not alone:
                return
        self._now[number] &= ~alone

    def _changed(self, numbers: Iterable[int]) -> None:
        for number in tuple(numbers):
            needing = self._now.get(number, 0) | self._trained.get(number, 0)
            if needing:
                self._needed[number] = needing
            else:
                self._needed.pop(number, None)
        self._outside.clear()

    def judge(
        self, classes: tuple[int, ...], snapshots: Sequence[Snapshot], principals: Sequence[Principal], context: Context
    ) -> Judged:
        """All adapters, for somebody whose scope has these access classes. While a change is pending there are several
        snapshots or principals, and each must have the right."""
        known = self._outside.get(id(classes))
        if known is None or known[0] is not classes:
            if len(self._outside) >= _REMEMBERED:
                self._outside.clear()
            known = self._outside[id(classes)] = (classes, self._beyond(classes))  # held, so the id stays its own
        allowed = -1 if snapshots and principals else 0
        for snapshot in snapshots:
            for principal in principals:
                allowed &= self._rights(snapshot, principal, context)
        return Judged(self._names, allowed, known[1])

    def missing(self, name: str, classes: Collection[int]) -> frozenset[int]:
        """The access classes that the adapter needs and that are not among these: for admins only."""
        if not name or name not in self._names:
            return frozenset()
        place = self._names.index(name)
        return frozenset(number for number, needing in self._needed.items() if needing >> place & 1).difference(classes)

    def _beyond(self, classes: Iterable[int]) -> int:
        """The adapters that need a class which is not among these."""
        outside = self._needed.get(_NOBODYS, 0)
        for number in self._needed.keys() - frozenset(classes):
            outside |= self._needed[number]
        return outside

    def _rights(self, snapshot: Snapshot, principal: Principal, context: Context) -> int:
        """The adapters that the principal has the right to use. Of objects whose rules have the same conditions one
        is asked about, and stands for all."""
        standing = snapshot.standing(principal)
        if standing is None:
            return 0
        alike = self._alike.get(standing)
        if alike is None:
            if len(self._alike) >= _REMEMBERED:
                self._alike.clear()
            alike = self._alike[standing] = self._grouped(snapshot, standing)
        return sum(bits for one, bits in alike if may(snapshot, principal, one, Action.ADAPTER_USE, context).allowed)

    def _grouped(self, snapshot: Snapshot, standing: Standing) -> tuple[tuple[str, int], ...]:
        groups: dict[object, tuple[str, int]] = {}
        for one, bits in self._objects.items():
            matched = snapshot.matched(standing, one, Action.ADAPTER_USE)
            conditions = [frozenset(rule.cond for rule in rules) for rules in (matched.allow, matched.deny)]
            key = (*conditions, matched.listed, matched.problem)
            first, sofar = groups.get(key, (one, 0))
            groups[key] = (first, sofar | bits)
        return tuple(groups.values())


def _without(sets: dict[K, int], bit: int) -> None:
    """Take one adapter out of every set, and out of the mapping the sets that had nobody else."""
    for key in [key for key, bits in sets.items() if bits & bit]:
        sets[key] &= ~bit
        if not sets[key]:
            del sets[key]
