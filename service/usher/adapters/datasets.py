"""Data sets for adapters: made of what every reader of the adapter may read, recorded before they leave.

1. whoever asks is judged; what the role opens at any time, to everybody who has it, is worked out
2. where a model makes pairs, that it will be shown these documents stands in the record before it is asked
3. the texts are read one by one, each from the query that finds it standing as it was judged; pairs are made of them.
   Before each that a model is shown, policy, labels and whoever asks are judged again
4. policy, labels, directory and each document are judged again: what has changed meanwhile is left out, and the set is
   put together from the rest
5. that it is made stands in the record, by digests, ids and counts
6. all is judged once more, and only what still holds as a whole leaves; else 4
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from usher.adapters.acts import refused
from usher.adapters.asking import Asking
from usher.adapters.consented import Consented
from usher.adapters.deciders import Acting, Caller, Deciders
from usher.adapters.listing import entries
from usher.adapters.material import Material, Materials, Wanted
from usher.errors import UserError
from usher.ledger.sequencer import Ledger
from usher.ports.datasets import Standing, Text, TrainingDocuments
from usher.viewing import ATTEMPTS, Changing
from usher_lora.canonical import sha256
from usher_lora.dataset import About, Document, Exchange, Made, assemble
from usher_lora.dataset_pairs import Pair, pairs
from usher_lora.faults import AdapterFault
from usher_lora.plan import collection_of
from usher_policy.vocabulary import Action, split_name

STRUCTURE: Final = "structure"
MODEL: Final = "model"
EXCHANGES: Final = "exchanges"
MAKERS: Final = (STRUCTURE, MODEL, EXCHANGES)


@dataclass(frozen=True, slots=True)
class Progress:
    """How many documents are read, of how many."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A data set that may leave. `refused` counts documents' classes that the role opens and one of its holders, or who
    asked, may not read; `holders` the active people who have the role."""

    made: Made
    holders: int
    refused: int


class DataSets:
    """The use case. Raises `UserError`, `NotPermitted`, `Changing`, `LedgerUnavailable`."""

    def __init__(
        self,
        deciders: Deciders,
        ledger: Ledger,
        materials: Materials,
        documents: TrainingDocuments,
        consented: Consented,
        asking: Asking,
    ) -> None:
        self._deciders, self._ledger, self._materials = deciders, ledger, materials
        self._documents, self._consented, self._asking = documents, consented, asking

    async def steps(self, wanted: Wanted, by: Caller) -> AsyncIterator[Progress | Ready]:
        """How far it is, and the data set as the last one."""
        _checked(wanted)
        acting = await self._judged(wanted, by)
        if MODEL in wanted.makers:
            self._asking.check()
        material = await self._materials.judged(wanted, by.grant)
        if not material.documents:
            raise nothing(wanted)
        listed = sorted(material.documents.items())
        if MODEL in wanted.makers:
            await self._record_asking(acting, material)
        read: list[tuple[Text, tuple[Pair, ...]]] = []
        not_believed = 0
        for done, (document, standing) in enumerate(listed, 1):
            if MODEL in wanted.makers:
                material = await self._again(wanted, by, material)
            text = await self._text(document, standing, material)
            if text is not None:
                made, more = await self._pairs(text, wanted)
                read.append((text, made))
                not_believed += more
            yield Progress(done, len(listed))
        yield await self._ready(wanted, by, acting, read, not_believed)

    async def _again(self, wanted: Wanted, by: Caller, material: Material) -> Material:
        """What may be learned now: the same object while nothing that it hangs on has changed."""
        await self._judged(wanted, by)
        if await self._materials.hold(material):
            return material
        return await self._materials.judged(wanted, by.grant)

    async def _text(self, document: UUID, standing: Standing, material: Material) -> Text | None:
        if material.documents.get(document) != standing:
            return None
        return await self._documents.text(document, standing)

    async def _pairs(self, text: Text, wanted: Wanted) -> tuple[tuple[Pair, ...], int]:
        made = await asyncio.to_thread(pairs, text.title, text.text) if STRUCTURE in wanted.makers else []
        if MODEL not in wanted.makers:
            return tuple(made), 0
        more, not_believed = await self._asking.pairs(text.title, text.text)
        return (*made, *more), not_believed

    async def _ready(
        self,
        wanted: Wanted,
        by: Caller,
        acting: Acting,
        read: Sequence[tuple[Text, tuple[Pair, ...]]],
        not_believed: int,
    ) -> Ready:
        for _ in range(ATTEMPTS):
            material = await self._materials.judged(wanted, by.grant)
            talks = await self._talks(wanted, material)
            made = await self._assembled(wanted, material, read, talks, not_believed)
            await self._record(made, acting, material)
            acting = await self._judged(wanted, by)
            now = await self._materials.judged(wanted, by.grant)
            if _holds(made, now) and await self._talks(wanted, now) == talks:
                return Ready(made, material.target.holders, len(material.target.refused))
        raise Changing("documents", "are changing all the time", "make the data set in a while")

    async def _talks(self, wanted: Wanted, material: Material) -> list[Exchange]:
        if EXCHANGES not in wanted.makers:
            return []
        return await self._consented.exchanges(material.documents)

    async def _assembled(
        self,
        wanted: Wanted,
        material: Material,
        read: Sequence[tuple[Text, tuple[Pair, ...]]],
        talks: Sequence[Exchange],
        not_believed: int,
    ) -> Made:
        documents = [
            _document(text, made, material)
            for text, made in read
            if material.documents.get(text.document) == text.standing
        ]
        people = tuple(split_name(one.user)[1] for one in await self._materials.people())
        about = About(
            wanted.role,
            wanted.collections,
            material.versions.policy,
            material.versions.label,
            wanted.seed,
            people,
            not_believed,
            tuple(sorted(wanted.makers)),
        )
        try:
            return await asyncio.to_thread(assemble, documents, talks, about)
        except AdapterFault as fault:
            raise refused(fault) from None

    async def _judged(self, wanted: Wanted, by: Caller) -> Acting:
        """The operator, or a person with the right to train the adapter that they name."""
        if by.grant is not None and wanted.name is None:
            raise UserError("name", "is missing", "name the adapter that you have the right to train")
        return await self._deciders.judged(by, f"adapter:{wanted.name}", Action.ADAPTER_TRAIN)

    async def _record(self, made: Made, acting: Acting, material: Material) -> None:
        """Which documents leave in it. The set's digest binds the events, where there are several."""
        listed = {document: version for document, (version, _) in made.documents.items()}
        await self._append(_body(made, acting, material), listed)

    async def _record_asking(self, acting: Acting, material: Material) -> None:
        """Which documents the model will be shown."""
        body = _acting("dataset_asked", acting, material) | {"model": self._asking.name}
        await self._append(body, {document: one.version for document, one in material.documents.items()})

    async def _append(self, body: Mapping[str, Any], documents: Mapping[UUID, int]) -> None:
        listed = [[str(document), version] for document, version in sorted(documents.items())]
        await self._ledger.append(entries(body, listed))


def _checked(wanted: Wanted) -> None:
    unknown = sorted(wanted.makers.difference(MAKERS))
    if unknown or not wanted.makers:
        raise UserError("makers", "are not known" if unknown else "are missing", f"choose of {', '.join(MAKERS)}")
    if not wanted.collections:
        raise UserError("collection", "is missing", "name at least one, such as coll:handbook")


def nothing(wanted: Wanted) -> UserError:
    problem = f"have nothing that {wanted.role} opens at any time to everybody who has it"
    return UserError("collections", problem, "name others, or a role that alone may read all of them")


def _document(text: Text, made: tuple[Pair, ...], material: Material) -> Document:
    names = tuple(sorted(material.catalog.classes.get(text.standing.access_class, ())))
    collection = collection_of(material.catalog, text.standing.access_class)
    standing: Standing = text.standing
    return Document(text.document, standing.version, standing.access_class, collection, names, text.text, made)


def _holds(made: Made, now: Material) -> bool:
    """Whether all that is in the set may still be learned, as it was judged."""
    classes = {one.document: one.access_class for one in made.lineage.documents}
    return all(_stands(document, version, classes, now) for document, (version, _) in made.documents.items())


def _stands(document: UUID, version: int, classes: Mapping[UUID, int], now: Material) -> bool:
    standing = now.documents.get(document)
    if standing is None or standing.version != version:
        return False
    return classes.get(document, standing.access_class) == standing.access_class


def _acting(act: str, acting: Acting, material: Material) -> dict[str, Any]:
    return {
        "act": act,
        "by": acting.name,
        "rules": list(acting.rules),
        "policy_version": material.versions.policy,
        "label_version": material.versions.label,
    }


def _body(made: Made, acting: Acting, material: Material) -> dict[str, Any]:
    return _acting("dataset", acting, material) | {
        "digest": made.digest,
        "files": {name: sha256(data) for name, data in sorted(made.files.items())},
        "lineage": made.lineage.digest,
        "examples": {
            part: counts.rows
            for part, counts in (
                ("train", made.card.train),
                ("held_out", made.card.held_out),
                ("others", made.card.others),
            )
        },
        "subjects": list(made.lineage.subjects),
    }
