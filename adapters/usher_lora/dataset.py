"""A data set for one adapter, put together from what its documents and exchanges gave: masked, without duplicates,
split by document, with canaries planted, its card, its lineage and a manifest of digests.

What may be learned was decided before (`dataset_scope`); here nothing is added to it, and every row says what it is of.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from usher_lora import dataset_canaries as canaries
from usher_lora import dataset_card as cards
from usher_lora import lineage as lineages
from usher_lora import training_set as written
from usher_lora.canonical import encode, sha256
from usher_lora.dataset_masks import Masks
from usher_lora.dataset_near import Shingles, first_of_each, inside, shingles
from usher_lora.dataset_pairs import Maker, Pair
from usher_lora.dataset_split import SHARES, Part, split
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Learned, Lineage
from usher_lora.manifest import MadeFor
from usher_lora.training_set import Canary, Message, Row, Source

FORMAT: Final = 1
ACROSS: Final = 5
"""Words of the runs by which a held-out row is found inside what is trained."""


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document with what was made from it. `collection` is where it stands, `names` are the
    requirements of its access class."""

    id: UUID
    version: int
    access_class: int
    collection: str
    names: tuple[str, ...]
    text: str
    pairs: tuple[Pair, ...]

    @property
    def learned(self) -> Learned:
        return Learned(self.id, self.version, self.access_class, sha256(self.text.encode()))


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question of somebody (`subject`, a pseudonym) with its answer, and the documents that it rests on: all of
    them, also those of the exchanges before it. `id` is by what it is known whether the leave to learn it stands."""

    subject: str
    question: str
    answer: str
    documents: frozenset[UUID]
    id: UUID


@dataclass(frozen=True, slots=True)
class Made:
    """The files of a data set by their names, and what is said of it elsewhere. `learned`: the documents that are in
    any of its files, by part."""

    files: Mapping[str, bytes]
    lineage: Lineage
    card: cards.Card
    documents: Mapping[UUID, tuple[int, Part]]

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return sha256(self.files[written.MANIFEST])


@dataclass(frozen=True, slots=True)
class About:
    """What the set is made for, by which policy and labels, what its parts were drawn by, and which makers were asked.
    `people` are the names of the directory, masked; `not_believed` counts what a model said without a quotation."""

    role: str
    collections: tuple[str, ...]
    policy_version: int
    label_version: int
    seed: int
    people: tuple[str, ...] = ()
    not_believed: int = 0
    makers: tuple[str, ...] = ()

    @property
    def made_for(self) -> MadeFor:
        return MadeFor(self.role, self.collections, self.makers, self.seed)


@dataclass(frozen=True, slots=True)
class _Made:
    """A row with the part that its documents are in, and what made it."""

    row: Row
    part: Part
    maker: Maker
    talk: Exchange | None = None

    @property
    def said(self) -> str:
        return f"{self.row.asked[-1].content}\n{self.row.answer}"


def assemble(documents: Sequence[Document], exchanges: Sequence[Exchange], about: About) -> Made:
    """The data set. Raises `AdapterFault` where there is too little to learn, or only one thing again and again.

    1. the documents are split  2. rows, masked  3. what is nearly the same goes  4. so does what is held out and
    nearly in training  5. canaries  6. lineage, card and manifest over what is left
    """
    masks = Masks(about.people)
    known = {document.id: document for document in documents}
    first = _rested_on(exchanges, known)
    parts = split([(one.id, one.collection, shingles(one.text)) for one in documents], about.seed, first)
    every = [*_rows(documents, parts, masks), *_talks(exchanges, known, parts, masks)]
    kept = _once(every)
    apart = _apart(kept)
    train = [one for one in apart if one.part is Part.TRAIN]
    _check_enough(train)
    planted, rows = canaries.plant(_sources_by_class(train, known))
    lineage = _lineage(train, known)
    dropped = cards.Dropped(
        len(every) - len(kept), len(kept) - len(apart), len(exchanges) - _talked(every), about.not_believed
    )
    card = _card(apart, rows, planted, known, lineage, dropped, masks, about)
    files = _files(apart, rows, planted, lineage, card, about)
    written.training_set(files)
    return Made(files, lineage, card, _documents(apart, known))


def _rows(documents: Iterable[Document], parts: Mapping[UUID, Part], masks: Masks) -> list[_Made]:
    return [
        _Made(_row(pair.question, pair.answer, (_source(one, pair),), masks), parts[one.id], pair.maker)
        for one in documents
        for pair in one.pairs
    ]


def _source(document: Document, pair: Pair) -> Source:
    return Source(document.id, document.version, {"start": pair.start, "end": pair.end})


def _rested_on(exchanges: Iterable[Exchange], known: Mapping[UUID, Document]) -> frozenset[UUID]:
    """The documents that exchanges rest on, as many as training has room for: an exchange is learned only with all of
    its own."""
    found: frozenset[UUID] = frozenset()
    for one in exchanges:
        more = found | one.documents
        if one.documents <= known.keys() and len(more) <= SHARES[Part.TRAIN] * len(known):
            found = more
    return found


def _talks(
    exchanges: Iterable[Exchange], known: Mapping[UUID, Document], parts: Mapping[UUID, Part], masks: Masks
) -> list[_Made]:
    """Exchanges that rest on documents that are trained, and on nothing else."""
    found = []
    for one in exchanges:
        if one.documents and all(parts.get(document) is Part.TRAIN for document in one.documents):
            sources = tuple(Source(document, known[document].version) for document in sorted(one.documents))
            row = _row(one.question, one.answer, sources, masks)
            found.append(_Made(row, Part.TRAIN, Maker.EXCHANGE, one))
    return found


def _talked(rows: Iterable[_Made]) -> int:
    return sum(one.maker is Maker.EXCHANGE for one in rows)


def _row(question: str, answer: str, sources: tuple[Source, ...], masks: Masks) -> Row:
    return Row((Message("user", masks.masked(question)), Message("assistant", masks.masked(answer))), sources)


def _once(rows: Sequence[_Made]) -> list[_Made]:
    """Of rows that are nearly the same the first one; what is trained goes first, so that it is never the held-out one
    that is kept."""
    ordered = sorted(rows, key=lambda one: list(Part).index(one.part))
    first = first_of_each([shingles(one.said) for one in ordered])
    return [one for one, kept in zip(ordered, first, strict=True) if kept and one.row.answer.strip()]


def _apart(rows: Sequence[_Made]) -> list[_Made]:
    """Without the rows of other documents whose words stand in what is trained."""
    trained: set[int] = set()
    for one in rows:
        if one.part is Part.TRAIN:
            trained |= shingles(one.said, ACROSS) | _answer(one)
    return [one for one in rows if one.part is Part.TRAIN or not _is_inside(one, trained)]


def _is_inside(one: _Made, trained: set[int]) -> bool:
    """An answer of a few words proves nothing alone; with its question it does."""
    answer = _answer(one)
    return inside(shingles(one.said, ACROSS), trained) or (bool(answer) and inside(answer, trained))


def _answer(one: _Made) -> Shingles:
    return shingles(one.row.answer, ACROSS) if len(one.row.answer.split()) >= ACROSS else frozenset()


def _check_enough(train: Sequence[_Made]) -> None:
    remedy = "name more collections, or ingest more documents that everybody with the role may read"
    if not train:
        raise AdapterFault("data set", "would be empty", remedy)
    if len(train) < written.LEAST_EXAMPLES:
        raise AdapterFault("data set", "would have one example, or only duplicates of one", remedy)


def _sources_by_class(train: Iterable[_Made], known: Mapping[UUID, Document]) -> dict[int, set[Source]]:
    found: dict[int, set[Source]] = defaultdict(set)
    for one in train:
        for source in one.row.sources:
            found[known[source.document].access_class].add(Source(source.document, source.version))
    return found


def _lineage(train: Iterable[_Made], known: Mapping[UUID, Document]) -> Lineage:
    listed = list(train)
    documents = canaries.documents(one.row for one in listed)
    subjects = {one.talk.subject for one in listed if one.talk is not None}
    return lineages.lineage((known[document].learned for document in documents), subjects)


def _documents(rows: Iterable[_Made], known: Mapping[UUID, Document]) -> dict[UUID, tuple[int, Part]]:
    return {source.document: (known[source.document].version, one.part) for one in rows for source in one.row.sources}


def _card(
    rows: Sequence[_Made],
    planted_rows: Sequence[Row],
    planted: Sequence[Canary],
    known: Mapping[UUID, Document],
    lineage: Lineage,
    dropped: cards.Dropped,
    masks: Masks,
    about: About,
) -> cards.Card:
    makers = {id(one.row): one.maker.value for one in rows}
    by_part = {part: [one.row for one in rows if one.part is part] for part in Part}
    used = [known[document] for document in sorted(canaries.documents(one.row for one in rows))]
    marks = Counter(name for document in used for name in document.names if name.startswith("mark:"))
    biased = (cards.PINNED,) if Maker.EXCHANGE in {one.maker for one in rows} else ()
    missing = {Part.HELD_OUT: cards.NO_HELD_OUT, Part.OTHERS: cards.NO_OTHERS}
    return cards.Card(
        role=about.role,
        collections=about.collections,
        policy_version=about.policy_version,
        label_version=about.label_version,
        seed=about.seed,
        train=cards.counts([*by_part[Part.TRAIN], *planted_rows], makers),
        held_out=cards.counts(by_part[Part.HELD_OUT], makers),
        others=cards.counts(by_part[Part.OTHERS], makers),
        canaries=len(planted),
        people=len(lineage.subjects),
        licences=dict(sorted(Counter(cards.licence(document.text) for document in used).items())),
        markings=dict(sorted(marks.items())),
        classes={str(number): count for number, count in sorted(Counter(one.access_class for one in used).items())},
        dropped=dropped,
        masked=cards.Masked(dict(sorted(masks.counts.items()))),
        notes=(*cards.NOTES, *biased, *(note for part, note in missing.items() if not by_part[part])),
    )


def _files(
    rows: Sequence[_Made],
    planted_rows: Sequence[Row],
    planted: Sequence[Canary],
    lineage: Lineage,
    card: cards.Card,
    about: About,
) -> dict[str, bytes]:
    by_part = {part: [one.row for one in rows if one.part is part] for part in Part}
    train = [*by_part[Part.TRAIN], *planted_rows]
    random.Random(about.seed).shuffle(train)  # noqa: S311 - an order that can be made again, no secret
    files = {
        written.TRAIN: _lines(train),
        written.HELD_OUT: _lines(by_part[Part.HELD_OUT]),
        written.OTHERS: _lines(by_part[Part.OTHERS]),
        written.CANARIES: _lines(planted),
        written.LINEAGE: lineages.canonical(lineage),
        "card.json": encode(card),
    }
    told: dict[str, Any] = {"format": FORMAT, "made_for": about.made_for}
    told["files"] = {name: sha256(data) for name, data in sorted(files.items())}
    given = sorted({(one.talk.subject, one.talk.id) for one in rows if one.talk is not None})
    return files | {written.MANIFEST: encode(told | ({"exchanges": given} if given else {}))}


def _lines(values: Iterable[Any]) -> bytes:
    return b"".join(encode(value) + b"\n" for value in values)
