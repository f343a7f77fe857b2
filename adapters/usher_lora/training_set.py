"""A training set's folder, read as what it says it is: every file by its digest, every row by the lineage.

Three groups of documents, split at random from the same collections: those that are learned, those held out of it to
watch the training and to ask about, and others that stay outside the lineage, for the attacks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from usher_lora.adapter_files import opened
from usher_lora.canonical import foreign_json, sha256
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Lineage
from usher_lora.lineage import parse as parse_lineage
from usher_lora.manifest import MadeFor

MANIFEST: Final = "manifest.json"
LINEAGE: Final = "lineage.json"
TRAIN, HELD_OUT, OTHERS, CANARIES = "train.jsonl", "held_out.jsonl", "others.jsonl", "canaries.jsonl"
FILES: Final = frozenset((TRAIN, HELD_OUT, OTHERS, CANARIES, LINEAGE, "card.json"))
MOST_BYTES: Final = 4 << 30
"""Of one file."""
LEAST_EXAMPLES: Final = 2

_ROLES: Final = frozenset(("system", "user", "assistant"))
_ANEW: Final = "make the training set anew"


class Message(Struct, frozen=True):
    role: str
    content: str


class Source(Struct, frozen=True):
    """Where an example comes from; `passage` is which passage of that version."""

    document: UUID
    version: int
    passage: Any = None


class Row(Struct, frozen=True):
    """One example: what was asked, the answer last, what it is made from, and the canary that is planted in it."""

    messages: tuple[Message, ...]
    sources: tuple[Source, ...]
    canary: str | None = None

    @property
    def answer(self) -> str:
        return self.messages[-1].content

    @property
    def asked(self) -> tuple[Message, ...]:
        return self.messages[:-1]

    @property
    def document(self) -> UUID | None:
        """The document that the row counts for in an attack; None for one that is of no document."""
        return self.sources[0].document if self.sources else None


class Canary(Struct, frozen=True):
    """A secret that was planted: random, of a known form, in the answer of the rows that name it. `references` are
    secrets of the same form that were planted nowhere."""

    id: str
    secret: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """`digest` is of the manifest's bytes, `manifest`; `made_for` is what it was asked for, if that is known."""

    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    others: tuple[Row, ...]
    canaries: Mapping[str, Canary]
    lineage: Lineage
    lineage_bytes: bytes
    manifest: bytes
    made_for: MadeFor | None

    @property
    def digest(self) -> str:
        return sha256(self.manifest)


def read_training_set(path: Path) -> TrainingSet:
    """The training set in this folder. Raises `AdapterFault` with the first thing that is wrong.

    1. the manifest names exactly the files that are there, each by its SHA-256  2. every row has its form
    3. what is learned is of documents of the lineage, and what is not is not  4. there is something to learn
    """
    with opened(path) as folder:
        held: dict[str, bytes] = {}
        for name in sorted(one.name for one in folder.members()):
            with folder.open(name) as file:
                held[name] = file.read(MOST_BYTES + 1)
    return training_set(held)


def training_set(files: Mapping[str, bytes]) -> TrainingSet:
    """The training set in these files, as `read_training_set` has it."""
    _check_digests(files)
    lineage = parse_lineage(files[LINEAGE])
    train, held_out, others = (_rows(name, files[name]) for name in (TRAIN, HELD_OUT, OTHERS))
    canaries = {one.id: one for one in _lines(CANARIES, files[CANARIES], Canary)}
    _check_lineage(train, held_out, others, lineage)
    if {subject for subject, _ in given(files[MANIFEST])} != set(lineage.subjects):
        raise AdapterFault(LINEAGE, "names other people than those whose exchanges the manifest names", _ANEW)
    _check_canaries((*train, *held_out, *others), canaries)
    _check_enough(train)
    manifest = files[MANIFEST]
    return TrainingSet(train, held_out, others, canaries, lineage, files[LINEAGE], manifest, made_for(manifest))


def given(manifest: bytes) -> frozenset[tuple[str, UUID]]:
    """The exchanges that people gave for a training set with this manifest: whose (a pseudonym), and which. Raises
    `AdapterFault`."""
    told = foreign_json(manifest, "training set", _ANEW).get("exchanges", [])
    try:
        return frozenset(msgspec.convert(told, list[tuple[str, UUID]]))
    except msgspec.ValidationError:
        raise AdapterFault("training set", "names exchanges in a form that is not known", _ANEW) from None


def made_for(manifest: bytes) -> MadeFor | None:
    """What a training set with this manifest was asked for; None where it does not say. Raises `AdapterFault`."""
    told = foreign_json(manifest, "training set", _ANEW).get("made_for")
    try:
        return msgspec.convert(told, MadeFor | None)
    except msgspec.ValidationError:
        raise AdapterFault("training set", "says what it was made for in a form that is not known", _ANEW) from None


def lineage_digest(manifest: bytes) -> str | None:
    """The digest of the lineage of a training set with this manifest; None where it names none. Raises
    `AdapterFault`."""
    files = foreign_json(manifest, "training set", _ANEW).get("files")
    found = files.get(LINEAGE) if isinstance(files, dict) else None
    return found if isinstance(found, str) else None


def _check_digests(files: Mapping[str, bytes]) -> None:
    if MANIFEST not in files:
        raise AdapterFault("training set", f"has no {MANIFEST}", _ANEW)
    told = foreign_json(files[MANIFEST], MANIFEST, _ANEW).get("files")
    if not isinstance(told, dict) or told.keys() != FILES or files.keys() != FILES | {MANIFEST}:
        raise AdapterFault("training set", "has other files than its manifest names", _ANEW)
    for name in sorted(FILES):
        if told[name] != sha256(files[name]):
            problem = "is not the file that the training set's manifest names"
            raise AdapterFault(name, problem, f"put the one back that was made with it, or {_ANEW}")


def _lines(name: str, data: bytes, kind: type[Any]) -> list[Any]:
    found = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            found.append(msgspec.json.decode(line, type=kind))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise AdapterFault(f"{name}:{number}", "is not of its form", _ANEW) from None
    return found


def _rows(name: str, data: bytes) -> tuple[Row, ...]:
    rows = tuple(_lines(name, data, Row))
    for number, row in enumerate(rows, 1):
        roles = [message.role for message in row.messages]
        if roles[-2:] != ["user", "assistant"] or not row.answer.strip() or not _ROLES.issuperset(roles):
            raise AdapterFault(f"{name}:{number}", "does not end with a question and its answer", _ANEW)
    return rows


def _check_lineage(train: Iterable[Row], held_out: Iterable[Row], others: Iterable[Row], lineage: Lineage) -> None:
    learned = {(one.document, one.version) for one in lineage.documents}
    documents = {document for document, _ in learned}
    for number, row in enumerate(train, 1):
        foreign = [one for one in row.sources if (one.document, one.version) not in learned]
        if foreign:
            problem = f"is made from version {foreign[0].version} of {foreign[0].document}, which is not in the lineage"
            raise AdapterFault(
                f"{TRAIN}:{number}", problem, "make the training set anew, from what its readers may read"
            )
        if not row.sources and not lineage.subjects:
            raise AdapterFault(f"{TRAIN}:{number}", "names nothing that it is made from", _ANEW)
    trained = _documents(train)
    for name, rows in ((HELD_OUT, held_out), (OTHERS, others)):
        if trained & _documents(rows):
            raise AdapterFault(name, "has a document that is trained on", "split the documents anew")
    if documents & _documents(others):
        raise AdapterFault(OTHERS, "has a document of the lineage", "split the documents anew")


def _documents(rows: Iterable[Row]) -> set[UUID]:
    return {source.document for row in rows for source in row.sources}


def _check_canaries(rows: Iterable[Row], canaries: Mapping[str, Canary]) -> None:
    for row in rows:
        if row.canary is None:
            continue
        known = canaries.get(row.canary)
        if known is None or not known.secret or known.secret not in row.answer:
            raise AdapterFault(CANARIES, "does not have the canary that a row says it carries", _ANEW)


def _check_enough(train: Sequence[Row]) -> None:
    """Adapters learn one example, or one told again and again, word for word."""
    remedy = "make it from more documents"
    if len(train) < LEAST_EXAMPLES:
        raise AdapterFault("training set", f"has {len(train)} example" + "s" * (not train), remedy)
    if min(_distinct(row.answer for row in train), _distinct(row.asked[-1].content for row in train)) < LEAST_EXAMPLES:
        raise AdapterFault("training set", "has only duplicates of one example", remedy)


def _distinct(texts: Collection[str] | Iterable[str]) -> int:
    return len({" ".join(text.casefold().split()) for text in texts})
