"""What an exchange has shown, and whether it may be shown again: judged by each document's requirements of now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

WIDTH = 16
"""Bytes of a document's id in packed exposures."""

CurrentClasses = Mapping[UUID, Collection[int]]
"""Each document's access class in force and that of a change that is pending. A document that is not there is unknown,
and in nobody's scope; one that was deleted keeps its last."""


def pack(documents: Iterable[UUID]) -> bytes:
    """The set of documents as bytes, in order and each once: equal sets give equal bytes."""
    return b"".join(sorted({document.bytes for document in documents}))


def unpack(packed: bytes) -> frozenset[UUID]:
    return frozenset(UUID(bytes=document) for document in _each(packed))


def closed(documents: Iterable[UUID], earlier: Iterable[bytes]) -> bytes:
    """The exposures of an exchange whose prompt holds passages of `documents` and exchanges with these exposures."""
    return b"".join(sorted({document.bytes for document in documents} | _united(earlier)))


def documents_of(exposures: Iterable[bytes]) -> list[UUID]:
    """Every document in any of them, once."""
    return [UUID(bytes=document) for document in _united(exposures)]


def forbidden(classes: CurrentClasses, documents: Iterable[UUID], scope: Collection[int]) -> frozenset[bytes]:
    """The documents (ids as bytes) that are unknown, or of which any class is outside the scope."""
    allowed = frozenset(scope)
    return frozenset(d.bytes for d in documents if not (found := classes.get(d)) or not allowed.issuperset(found))


def permitted(exposures: bytes, forbidden: Collection[bytes]) -> bool:
    """True if nothing of what was shown is forbidden now. Raises `ValueError` for bytes that are no exposures."""
    return not forbidden or not any(document in forbidden for document in _each(exposures))


def _united(exposures: Iterable[bytes]) -> set[bytes]:
    """In many small steps, so that other threads get their turns. Many exchanges of a conversation have the same."""
    united: set[bytes] = set()
    for packed in set(exposures):
        united.update(_each(packed))
    return united


def _each(packed: bytes) -> list[bytes]:
    if len(packed) % WIDTH:
        raise ValueError("exposures: not a whole number of ids")
    return [packed[start : start + WIDTH] for start in range(0, len(packed), WIDTH)]
