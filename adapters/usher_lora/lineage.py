"""Lineage: what an adapter was trained on, exactly, and whose exchanges it used.

What it inherits from other adapters, or from a base model that was itself trained on documents, is written out in it:
whoever judges an adapter needs nothing but its own lineage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, NamedTuple
from uuid import UUID

from msgspec import Meta, Struct

from usher_lora.canonical import Digest, decode, encode, in_order, sha256
from usher_lora.faults import AdapterFault


class Learned(Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """One version of a document. `access_class` is the one that it had when it was learned, `digest` the SHA-256 of
    its text."""

    document: UUID
    version: Annotated[int, Meta(ge=1)]
    access_class: Annotated[int, Meta(ge=1)]
    digest: Digest


class ParentKind(StrEnum):
    """What something was built from: another adapter, or a base model that has a lineage."""

    ADAPTER = "adapter"
    BASE = "base"


class Parent(Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """`name` is the adapter's served name or the base model's id; `lineage` is its lineage's digest."""

    kind: ParentKind
    name: Annotated[str, Meta(min_length=1, max_length=300)]
    lineage: Digest


class Lineage(Struct, frozen=True, forbid_unknown_fields=True):
    """Each of the three sorted and without repetition. `documents` and `subjects` (pseudonyms of those whose exchanges
    were used) hold what was inherited too, `parents` those of parents too. Make it with `lineage`."""

    documents: tuple[Learned, ...]
    subjects: tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...]
    parents: tuple[Parent, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes."""
        return sha256(canonical(self))

    @property
    def trained_classes(self) -> frozenset[int]:
        """The access classes that its documents had when they were learned."""
        return frozenset(learned.access_class for learned in self.documents)

    @property
    def document_ids(self) -> frozenset[UUID]:
        return frozenset(learned.document for learned in self.documents)


Inherited = tuple[ParentKind, str, Lineage]
"""What something is built from: its kind, its name and its lineage."""


def lineage(documents: Iterable[Learned], subjects: Iterable[str] = (), parents: Iterable[Inherited] = ()) -> Lineage:
    """The lineage of what was trained on `documents` and exchanges of `subjects`, starting from `parents`.

    Raises `AdapterFault` where nothing was learned or one version of a document is given with two digests.
    """
    above = tuple(parents)
    made = Lineage(
        tuple(sorted({*documents, *(one for _, _, their in above for one in their.documents)})),
        tuple(sorted({*subjects, *(one for _, _, their in above for one in their.subjects)})),
        tuple(
            sorted(
                {Parent(kind, name, their.digest) for kind, name, their in above}
                | {one for _, _, their in above for one in their.parents}
            )
        ),
    )
    _check(made)
    return parse(canonical(made))  # what is no lineage of anything is not made either


def canonical(value: Lineage) -> bytes:
    return encode(value)


def parse(data: bytes) -> Lineage:
    """The lineage that these bytes are. Raises `AdapterFault`."""
    value = decode(data, Lineage, "lineage")
    _check(value)
    return value


def _check(value: Lineage) -> None:
    in_order("lineage.documents", value.documents)
    in_order("lineage.subjects", value.subjects)
    in_order("lineage.parents", value.parents)
    if not value.documents:
        raise AdapterFault("lineage.documents", "is empty", "name the documents: what has none serves nobody")
    digests: dict[tuple[UUID, int], str] = {}
    for one in value.documents:
        if digests.setdefault((one.document, one.version), one.digest) != one.digest:
            problem = f"has version {one.version} of {one.document} with two digests"
            raise AdapterFault("lineage.documents", problem, "read the document anew: a version never changes")


class Cause(StrEnum):
    """Why what was learned may no longer be known. A document is deleted or erased; a subject is erased or took back
    the leave to learn from their exchanges."""

    DOCUMENT_DELETED = "document_deleted"
    DOCUMENT_ERASED = "document_erased"
    SUBJECT_ERASED = "subject_erased"
    SUBJECT_WITHDREW = "subject_withdrew"


class Stale(NamedTuple):
    """`about` is the document's id or the subject's pseudonym."""

    cause: Cause
    about: str


def stale(
    value: Lineage,
    documents: Mapping[UUID, Cause],
    subjects: Mapping[str, Cause],
    known: Collection[UUID] | None = None,
) -> tuple[Stale, ...]:
    """Why the lineage is stale, in order; empty if it is not. With `known`, every document that exists, one that is
    not among them counts as erased."""
    learned = value.document_ids
    gone = {document: cause for document, cause in documents.items() if document in learned}
    if known is not None:
        gone = dict.fromkeys(learned.difference(known), Cause.DOCUMENT_ERASED) | gone
    found = [Stale(cause, str(document)) for document, cause in gone.items()]
    found += [Stale(cause, subject) for subject, cause in subjects.items() if subject in set(value.subjects)]
    return tuple(sorted(found))
