"""What an adapter for a role may learn: what the role alone opens at any time, and everybody who has it may read now.

An adapter answers from all that it learned, so a document that one of its readers may not read is none for it, however
many others may. The rule is by access class: of a document only its labels count, never a word of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from usher_lora.plan import collection_of, readable_by_roles
from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.decide import roles_of, scope
from usher_policy.vocabulary import Principal, ancestors


@dataclass(frozen=True, slots=True)
class Target:
    """The access classes of an adapter for a role; `holders` are the people who have it. `refused` are classes of these
    collections that the role opens and one of them may not read."""

    classes: frozenset[int]
    holders: int
    refused: frozenset[int] = frozenset()


NOTHING = Target(frozenset(), 0)


def target(
    snapshots: Sequence[Snapshot],
    role: str,
    collections: Iterable[str],
    people: Iterable[Principal],
    context: Context,
) -> Target:
    """The classes of documents in the collections, or below them, that the role alone may read at any time by every
    one of the snapshots, and that each of the people who have the role may read at `context`.

    Of documents that stand in no collection none is learned. No snapshot, or a role that is none: nothing.
    """
    wanted = frozenset(collections)
    if not snapshots:
        return NOTHING
    opened = frozenset.intersection(*(readable_by_roles(one).get(role, frozenset()) for one in snapshots))
    opened = frozenset(number for number in opened if all(_within(one, number, wanted) for one in snapshots))
    left, holders = opened, 0
    for who in people:
        giving = [one for one in snapshots if role in roles_of(one, who)]
        holders += bool(giving)
        for one in giving:
            left = left.intersection(scope(one, who, context).classes)
    return Target(left, holders, opened - left)


def _within(snapshot: Snapshot, access_class: int, collections: frozenset[str]) -> bool:
    """A class that has several collections is in these only if each of them is."""
    names = [name for name in snapshot.catalog.classes.get(access_class, ()) if name.startswith("coll:")]
    shelved = collection_of(snapshot.catalog, access_class) in names
    return shelved and all(not collections.isdisjoint((name, *ancestors(name))) for name in names)
