"""The second look at what the store returned: a passage counts only if its label, as of now, is in the scope."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from usher.core.late import TokenVectors
from usher_policy.decide import Scope


@dataclass(frozen=True, slots=True)
class Label:
    """A chunk's document as the metadata database labels it now (never the store's own payload)."""

    chunk: UUID
    chunk_version: int
    version: int | None
    access_class: int
    label_version: int
    pending: bool
    carried: bool
    deleted: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """A permitted chunk with what people and models are shown of it."""

    label: Label
    document: UUID
    source: str
    path: str
    title: str
    headings: tuple[str, ...]
    position: int
    start: int
    end: int
    text: str
    digest: str
    tokens: TokenVectors | None = field(default=None, compare=False, repr=False)


class Recheck(StrEnum):
    OK = "ok"
    STALE_LABEL = "stale_label"
    LEAK = "leak"


def recheck(label: Label | None, label_version: int, classes: Collection[int]) -> Recheck:
    """Judge one passage against the scope that retrieved it: its label version and its access classes.

    A document that is changing, or changed after the scope was taken, is dropped quietly (`STALE_LABEL`); a passage
    that the store should never have returned under this scope is a `LEAK`, which the caller must alarm.
    """
    if label is None:
        return Recheck.LEAK
    changing = label.pending or not label.carried
    if changing or label.label_version > label_version or label.chunk_version != label.version:
        return Recheck.STALE_LABEL
    if label.deleted or label.access_class not in classes:
        return Recheck.LEAK
    return Recheck.OK


@dataclass(frozen=True, slots=True)
class Checked:
    """Passages in rank order, and the chunks that were dropped, by verdict."""

    passages: tuple[Passage, ...]
    stale: tuple[UUID, ...]
    leaks: tuple[UUID, ...]


def check_all(chunks: Iterable[UUID], found: Mapping[UUID, Passage], scope: Scope) -> Checked:
    """Judge `chunks` in order; a chunk without a passage in `found` is unknown to the database."""
    classes = frozenset(scope.classes)
    kept: list[Passage] = []
    dropped: dict[Recheck, list[UUID]] = {Recheck.STALE_LABEL: [], Recheck.LEAK: []}
    for chunk in chunks:
        passage = found.get(chunk)
        verdict = recheck(passage.label if passage else None, scope.label_version, classes)
        if passage is not None and verdict is Recheck.OK:
            kept.append(passage)
        else:
            dropped[verdict].append(chunk)
    return Checked(tuple(kept), tuple(dropped[Recheck.STALE_LABEL]), tuple(dropped[Recheck.LEAK]))


def still_readable(passages: Iterable[Passage], labels: Mapping[UUID, Label], scope: Scope) -> tuple[Passage, ...]:
    """The passages, retrieved earlier, whose labels of now are in the scope of now."""
    classes = frozenset(scope.classes)
    return tuple(
        passage
        for passage in passages
        if recheck(labels.get(passage.label.chunk), scope.label_version, classes) is Recheck.OK
    )
