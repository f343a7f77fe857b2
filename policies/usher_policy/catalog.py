"""What the metadata database knows of access: access classes with their requirements, and reader lists."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from usher_policy.vocabulary import REQUIREMENT_KINDS, SUBJECT_KINDS, is_name, split_name, typed

_PLACES = frozenset({"coll", "readers"})


@dataclass(frozen=True)
class Catalog:
    """The access classes (id -> requirement names) and reader lists (`readers:<digest>` -> typed subjects) of one
    label version. Class 0 is a document not yet committed, and in nobody's scope. Treat the mappings as frozen."""

    label_version: int = 0
    classes: Mapping[int, frozenset[str]] = field(default_factory=dict)
    readers: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def by_collection(self) -> Mapping[str | None, frozenset[int]]:
        """Class ids by the collection that each requires; by None those that require none."""
        found: dict[str | None, list[int]] = defaultdict(list)
        for number, names in self.classes.items():
            collection = None
            for name in names:  # a loop, for there may be many classes
                if name[:5] == "coll:":
                    collection = name
            found[collection].append(number)
        return {collection: frozenset(numbers) for collection, numbers in found.items()}

    @cached_property
    def numbers(self) -> frozenset[int]:
        """All class ids."""
        return frozenset(self.classes)


def readers_digest(subjects: Iterable[str]) -> str:
    """The `readers:<digest>` name of a reader list: SHA-256 over its typed subjects, sorted, one a line.

    Raises ValueError for a subject that is not a canonical `user:`, `group:` or `role:` name.
    """
    distinct = sorted(set(subjects))
    for subject in distinct:
        if split_name(subject)[0] not in SUBJECT_KINDS:
            raise ValueError(f"{subject[:80]!r} cannot be a reader; name a user:, a group: or a role:")
    return typed("readers", hashlib.sha256("".join(f"{subject}\n" for subject in distinct).encode()).hexdigest())


def requirements(collection: str | None, readers: Iterable[str] | None, markings: Iterable[str]) -> frozenset[str]:
    """What a document requires. `collection` is a `coll:` name, `readers` typed subjects (an empty list admits
    nobody, None is no list), `markings` are `mark:` names.

    Raises ValueError for a name of another kind, and where there is neither a collection nor a reader list: such a
    document is refused, not public.
    """
    names = set(markings)
    if not all(is_name(mark, frozenset({"mark"})) for mark in names):
        raise ValueError("a marking is a mark: name, such as mark:pii")
    if collection is not None:
        if not is_name(collection, frozenset({"coll"})):
            raise ValueError(f"{collection[:80]!r} is not a collection; write it as coll:finance/payroll")
        names.add(collection)
    if readers is not None:
        names.add(readers_digest(readers))
    if not restricts(names):
        raise ValueError("a document needs a collection or a reader list; give one, it is never public")
    return frozenset(names)


def restricts(names: Iterable[str]) -> bool:
    """Whether requirements say whose the document is: all known kinds, at least one a collection or reader list."""
    kinds = {name.partition(":")[0] for name in names}
    return kinds <= REQUIREMENT_KINDS and not kinds.isdisjoint(_PLACES)
