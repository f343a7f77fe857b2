"""Documents: reading them, taking them in, and the folders that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from usher.core.late import TokenVectors
from usher.core.passages import Label, Passage
from usher.ports.data import Change


class Documents(Protocol):
    """Reading documents: the label, the text and the token vectors of a passage come from one query."""

    async def passages(self, chunks: Sequence[UUID]) -> dict[UUID, Passage]: ...

    async def labels(self, chunks: Sequence[UUID]) -> dict[UUID, Label]: ...

    async def current_classes(self, documents: Sequence[UUID]) -> dict[UUID, tuple[int, ...]]:
        """For each known document its access class (a deleted one's last) and, while a change is pending, that one's
        too: all must be in a scope for what was shown of the document to be shown again. A part of what an adapter
        learned (`core/learned.py`) has those of all its documents."""

    async def per_class(self) -> dict[int, int]:
        """How many documents each access class has now: without those that are deleted or not yet in."""

    async def page(self, classes: Sequence[int], after: UUID | None, limit: int) -> list[DocumentInfo]: ...

    async def open(self, document: UUID, classes: Sequence[int], chunk: UUID | None = None) -> Opened | None:
        """The document's text if it is in the scope; with `chunk`, the version that this chunk is of, if the class
        that this version had is in the scope too. One query: what is foreign and what is absent are the same None."""


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    id: UUID
    source: str
    path: str
    title: str
    version: int
    media_type: str
    size: int
    chunks: int
    requirements: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """One version of a document with its text. `passage` is where the chunk begins and ends in it, in characters."""

    info: DocumentInfo
    current_version: int
    text: str
    passage: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SourceState:
    """What a source's last run was given: a later run must be given the same kinds."""

    used_acl: bool
    used_rules: bool


@dataclass(frozen=True, slots=True)
class Shelved:
    """A document as an ingest run finds it: its current version's digest and recipe, its class, or its deletion."""

    document: UUID
    version: int | None
    last_version: int
    digest: str | None
    recipe: str | None
    access_class: int
    chunks: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """A document that is in, wherever it is shelved: nothing here has been judged. `pending` while it changes."""

    source: str
    path: str
    requirements: frozenset[str]
    pending: bool
    shelved: Shelved


@dataclass(frozen=True, slots=True)
class StagedChunk:
    id: UUID
    start: int
    end: int
    headings: tuple[str, ...]
    tokens: TokenVectors | None = None


@dataclass(frozen=True, slots=True)
class Staged:
    """A new version of a document: stored, in class 0, not yet anybody's to see."""

    document: UUID
    source: str
    path: str
    version: int
    digest: str
    recipe: str
    title: str
    media_type: str
    size: int
    text: str
    chunks: tuple[StagedChunk, ...]


@dataclass(frozen=True, slots=True)
class LabelChange:
    """`kind` is put (a staged version becomes current), label (another class) or delete. `why` goes into its event:
    the decision that allowed it to a person, without names."""

    kind: str
    document: UUID
    version: int | None
    access_class: int
    why: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Uncarried:
    """An active label that the store may not hold yet: chunks to move to the class, and chunks to delete."""

    document: UUID
    access_class: int
    move: tuple[UUID, ...]
    delete: tuple[UUID, ...]


class NotStaged(Exception):
    """A change names a version that is not there: its server had lost its turn, and another one has forgotten it."""


class Intake(Protocol):
    """Documents coming in. Each method is one transaction; the caller keeps the order of commitment."""

    def turn(self, patience: float | None = None) -> AbstractAsyncContextManager[None]:
        """No other server changes documents meanwhile. Raises `LedgerUnavailable` where one does not end; `patience`
        is in seconds."""

    async def source(self, name: str) -> SourceState | None: ...

    async def remember_source(self, name: str, state: SourceState, now: datetime) -> None: ...

    async def shelf(self, source: str) -> dict[str, Shelved]: ...

    async def placed(self, document: UUID) -> Placed | None:
        """The document, unless it is absent, deleted or not yet in."""

    async def placed_at(self, source: str, path: str) -> list[Placed]:
        """The documents of that source and path, as `placed`."""

    async def intern(self, sets: Sequence[frozenset[str]], readers: Mapping[str, frozenset[str]]) -> list[int]:
        """The access class id of each requirement set, new ones made; `readers` are the lists that they name."""

    async def stage(self, versions: Sequence[Staged], now: datetime) -> None: ...

    async def begin(self, changes: Sequence[LabelChange], by: str, now: datetime) -> list[Change]:
        """Put the labels to pending beside the old ones, each with its outbox row. Raises `NotStaged`, and nothing is
        pending."""

    async def uncarried(self) -> list[Uncarried]: ...

    async def carried(self, documents: Sequence[UUID]) -> None: ...

    async def leftovers(self) -> list[UUID]:
        """Chunks of staged versions that no label change ever named: an ingest was cut off."""

    async def discard(self) -> None:
        """Forget those staged versions, once the store holds none of their chunks."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file by its path relative to its folder, with `/`. `supported` tells by its suffix."""

    path: str
    supported: bool
    size: int


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that cannot be a document, with what is wrong and what to do."""

    path: str
    problem: str
    remedy: str


class FileRefused(Exception):
    """A file cannot be taken in: `problem` and `remedy` say why, without its content."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem, self.remedy = problem, remedy


class Files(Protocol):
    """Where a document's bytes are read from."""

    def read(self, path: str, limit: int) -> bytes:
        """The file's bytes, as they were at one time. Raises `FileRefused`."""


class Folder(Files, Protocol):
    """A folder as a source of documents."""

    root: Path

    def walk(self) -> Iterator[FoundFile | BadFile]:
        """Every file, in path order. Raises OSError if a folder cannot be read."""
