"""The metadata database: identity, people, keys, policy versions, documents, and the outbox between databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from usher.core.late import TokenVectors
from usher.core.passages import Label, Passage
from usher.core.standing import Credential, Standing, Versions
from usher_policy.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Change:
    """An outbox row: a change that is pending until its event stands in the ledger."""

    id: int
    kind: str
    payload: Mapping[str, Any]


class Outbox(Protocol):
    """Changes between two databases: what is pending here is recorded there, then finished here."""

    async def pending(self) -> list[Change]: ...

    async def finish(self, changes: Sequence[Change]) -> None:
        """Make the changes active and forget their rows, in one transaction. Idempotent."""


class Identity(Protocol):
    """Credentials to standing, from the database as it is at the moment of the call."""

    async def resolve(self, secret: str, now: datetime) -> Standing | None:
        """The standing of a presented key; None for a string that is no key of ours."""

    async def recheck(self, credential: Credential, now: datetime) -> Standing:
        """The standing of a credential that was proven earlier."""


@dataclass(frozen=True, slots=True)
class Person:
    user: str
    active: bool
    groups: tuple[str, ...]
    source: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class KeyInfo:
    id: str
    user: str
    purpose: str | None
    issuer: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Directory(Protocol):
    """People. A change comes back as an outbox row: widening waits for it, narrowing binds at once."""

    async def put_person(self, user: str, groups: Sequence[str], by: str, now: datetime) -> Change: ...

    async def deactivate(self, user: str, by: str, now: datetime) -> Change | None: ...

    async def person(self, user: str) -> Person | None: ...

    async def people(self, after: str, limit: int) -> list[Person]: ...


KeyMaker = Callable[[], tuple[str, str, bytes]]
"""A new key: its id, the full text that is shown once, and the digest to store."""


class Keys(Protocol):
    """API keys; only a digest of the secret is stored."""

    async def put_key(self, key: KeyInfo, digest: bytes) -> Change: ...

    async def revoke(self, key: str, by: str, now: datetime) -> Change | None: ...

    async def keys(self, user: str | None) -> list[KeyInfo]: ...


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    version: int
    digest: str
    rules: str
    documents: Mapping[str, str]
    created_at: datetime


class Policies(Protocol):
    """Policy versions and the labels that a snapshot is compiled over."""

    async def versions(self) -> Versions: ...

    async def load(self, version: int) -> StoredPolicy | None: ...

    async def propose(self, policy: StoredPolicy, by: str) -> Change | None:
        """Store it as pending; None if another version is pending or `policy.version` is taken."""

    async def catalog(self, known: Catalog) -> Catalog:
        """Every access class and reader list as of now, given those that the caller already has."""


class Documents(Protocol):
    """Reading documents: the label, the text and the token vectors of a passage come from one query."""

    async def passages(self, chunks: Sequence[UUID]) -> dict[UUID, Passage]: ...

    async def labels(self, chunks: Sequence[UUID]) -> dict[UUID, Label]: ...

    async def current_classes(self, documents: Sequence[UUID]) -> dict[UUID, tuple[int, ...]]:
        """For each known document its access class (a deleted one's last) and, while a change is pending, that one's
        too: all must be in a scope for what was shown of the document to be shown again."""

    async def page(self, classes: Sequence[int], after: UUID | None, limit: int) -> list[DocumentInfo]: ...

    async def get(self, document: UUID, classes: Sequence[int]) -> DocumentInfo | None:
        """The document if it is in the scope: a foreign id and an absent one are the same None."""


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
    """`kind` is put (a staged version becomes current), label (another class) or delete."""

    kind: str
    document: UUID
    version: int | None
    access_class: int


@dataclass(frozen=True, slots=True)
class Uncarried:
    """An active label that the store may not hold yet: chunks to move to the class, and chunks to delete."""

    document: UUID
    access_class: int
    move: tuple[UUID, ...]
    delete: tuple[UUID, ...]


class Intake(Protocol):
    """Documents coming in. Each method is one transaction; the caller keeps the order of commitment."""

    async def source(self, name: str) -> SourceState | None: ...

    async def remember_source(self, name: str, state: SourceState, now: datetime) -> None: ...

    async def shelf(self, source: str) -> dict[str, Shelved]: ...

    async def intern(self, sets: Sequence[frozenset[str]], readers: Mapping[str, frozenset[str]]) -> list[int]:
        """The access class id of each requirement set, new ones made; `readers` are the lists that they name."""

    async def stage(self, versions: Sequence[Staged], now: datetime) -> None: ...

    async def begin(self, changes: Sequence[LabelChange], by: str, now: datetime) -> list[Change]:
        """Put the labels to pending beside the old ones, each with its outbox row."""

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


class Folder(Protocol):
    """A folder as a source of documents."""

    root: Path

    def walk(self) -> Iterator[FoundFile | BadFile]:
        """Every file, in path order. Raises OSError if a folder cannot be read."""

    def read(self, path: str, limit: int) -> bytes:
        """The file's bytes, as they were at one time. Raises `FileRefused`."""
