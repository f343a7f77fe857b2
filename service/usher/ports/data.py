"""The metadata database: identity, people, keys, policy versions, and the outbox between databases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

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

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Nobody else carries changes meanwhile, of whatever server. Raises `LedgerUnavailable` when others do
        not end."""

    async def pending(self) -> list[Change]: ...

    async def finish(self, changes: Sequence[Change]) -> None:
        """Make the changes active and forget their rows, in one transaction. Idempotent."""


class Identity(Protocol):
    """Credentials to standing, from the database as it is at the moment of the call."""

    async def resolve(self, secret: str, now: datetime) -> Standing | None:
        """The standing of a presented key; None for a string that is no key of ours."""

    async def recheck(self, credential: Credential, now: datetime) -> Standing:
        """The standing of a credential that was proven earlier."""

    async def of_person(self, user: str, now: datetime) -> Standing:
        """What somebody stands for without any credential: denied if absent or inactive."""


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
    """A policy version, byte for byte as it was applied. `digest` is that of the rules' meaning, as `Rules.digest`.

    `base` is a version from which its rules differ by the lines `removed` and `added`, where they are few. `by` made it
    (a pseudonym or the operator) from `changeset`; `glass_until` is the end of a break-glass.
    """

    version: int
    digest: str
    rules: str
    documents: Mapping[str, str]
    created_at: datetime
    cases: Mapping[str, str] = field(default_factory=dict)
    base: int | None = None
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    by: str | None = None
    changeset: UUID | None = None
    activated_at: datetime | None = None
    glass_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PolicyDelta:
    """What makes a version of another one, `base`: lines of rules, in their canonical form. The rest as stored."""

    version: int
    digest: str
    base: int
    removed: tuple[str, ...]
    added: tuple[str, ...]
    documents: Mapping[str, str]


class Policies(Protocol):
    """Policy versions and the labels that a snapshot is compiled over."""

    async def versions(self) -> Versions: ...

    async def revision(self) -> int:
        """`versions().revision`, as cheap as can be: it is asked many times a second."""

    async def load(self, version: int) -> StoredPolicy | None: ...

    async def load_delta(self, version: int) -> PolicyDelta | None:
        """How the version differs from another; None where that is not known, or it is no version."""

    async def propose(self, policy: StoredPolicy, by: str) -> Change | None:
        """Store it as pending, by whom the record will say; None if another version is pending or `policy.version` is
        taken. Once active it ends every break-glass."""

    async def catalog(self, known: Catalog) -> Catalog:
        """Every access class and reader list as of now, given those that the caller already has."""
