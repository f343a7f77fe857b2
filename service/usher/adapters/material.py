"""What an adapter for a role may learn now: the classes, the documents in them, and whether both still stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from usher.authority import Authority, Clock, Grant
from usher.core.standing import Versions
from usher.errors import UserError
from usher.ports import Directory
from usher.ports.datasets import Standing, TrainingDocuments
from usher.viewing import ATTEMPTS, Changing
from usher_lora.dataset_scope import Target, target
from usher_policy.catalog import Catalog
from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.decide import scope
from usher_policy.vocabulary import Principal, is_name, typed

PAGE = 2_000
"""People that are read from the directory at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An adapter's data set: for whom, of which collections, by which makers, split by which seed. `name` is the
    adapter's in policy (`adapter:<name>`)."""

    role: str
    collections: tuple[str, ...]
    makers: frozenset[str]
    seed: int = 1
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """The documents that may be learned, as they stand, and by what was judged."""

    target: Target
    documents: dict[UUID, Standing]
    versions: Versions
    catalog: Catalog


class Materials:
    """Judges roles and documents by the policy, the labels and the directory of now; where a policy is pending or a
    glass is broken, by each version that must allow."""

    def __init__(self, authority: Authority, directory: Directory, documents: TrainingDocuments, clock: Clock) -> None:
        self._authority, self._directory, self._documents, self._clock = authority, directory, documents, clock

    async def people(self) -> list[Principal]:
        """Everybody who is active."""
        found: list[Principal] = []
        after = ""
        while page := await self._directory.people(after, PAGE):
            found += [
                Principal(typed("user", one.user), frozenset(typed("group", group) for group in one.groups))
                for one in page
                if one.active
            ]
            after = page[-1].user
        return found

    async def judged(self, wanted: Wanted, grant: Grant | None) -> Material:
        """What may be learned now; a person gets no more than they may read themselves. Raises `UserError` for a role
        or a collection that is none."""
        for _ in range(ATTEMPTS):
            found = await self._at_once(wanted, grant)
            if await self.hold(found):
                return found
        raise Changing("policy", "is changing all the time", "make the data set in a while")

    async def hold(self, material: Material) -> bool:
        """Whether policy, labels and directory are still those that it was judged by."""
        return (await self._authority.every())[0] == material.versions

    async def _at_once(self, wanted: Wanted, grant: Grant | None) -> Material:
        versions, snapshots = await self._authority.every()
        checked(wanted.role, "role", {one for each in snapshots for one in each.book.subjects})
        for collection in wanted.collections:
            checked(collection, "collection", None)
        context, everybody = Context(self._clock()), await self.people()
        found = await asyncio.to_thread(target, snapshots, wanted.role, wanted.collections, everybody, context)
        if grant is not None:
            found = _within(found, snapshots, grant)
        standing = await self._documents.standing(sorted(found.classes))
        return Material(found, standing, versions, snapshots[0].catalog)


def _within(found: Target, snapshots: Sequence[Snapshot], grant: Grant) -> Target:
    """What the person may read too, who gets the texts."""
    own = [scope(one, who, grant.context).classes for one in snapshots for who in grant.standing.principals]
    left = found.classes.intersection(*own) if own else frozenset[int]()
    return Target(left, found.holders, found.refused | (found.classes - left))


def checked(name: str, kind: str, known: Iterable[str] | None) -> None:
    """Raises `UserError` for what is no name of the kind, or is not known."""
    prefix = "coll" if kind == "collection" else kind
    if not is_name(name, frozenset({prefix})):
        raise UserError(kind, f"is no name of a {kind}", f"write it as policy does, such as {prefix}:finance")
    if known is not None and name not in known:
        raise UserError(kind, "is none that a rule of the policy gives anything", "see `usher policy matrix`")
