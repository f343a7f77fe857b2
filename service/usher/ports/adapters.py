"""Adapters: what the registry knows of them, and where their weights lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from usher.core.adapters import Registered
from usher.ports.data import Change
from usher_lora.lineage import Learned, Lineage, Stale
from usher_lora.manifest import FileDigest
from usher_lora.peft_config import ServerLimits
from usher_lora.weights import Inspected

Event = Mapping[str, Any]
"""What the record will say: ids, numbers, pseudonyms and digests."""


@dataclass(frozen=True, slots=True)
class Served:
    """A published adapter: the digest of all that it is, its served name, and what rules on it are written about."""

    id: str
    name: str
    policy_object: str


class AdapterStore(Protocol):
    """Adapters by the digest of their identity. A change comes back as an outbox row: what stops an adapter binds at
    once, what brings it further is in force once its event stands."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """No other server registers an adapter meanwhile. Raises `LedgerUnavailable`."""

    async def add(self, adapter: Registered, lineage: Lineage, event: Event) -> Change | None:
        """None, and nothing is stored, if it is there, or about to be."""

    async def put(self, adapter: Registered, event: Event, now: datetime, *, narrows: bool = False) -> Change | None:
        """Store how it stands over the state of `adapter.revision`; None if there is another one by now, or, unless it
        `narrows`, one that is not recorded yet."""

    async def get(self, adapter: str) -> Registered | None:
        """As it stands, with a change that is on its way."""

    async def all(self) -> list[Registered]:
        """The newest first."""

    async def published(self) -> Sequence[Served]:
        """Those to be served now: no change that would stop them is on its way, and nothing that they learned is
        deleted or about to be."""

    async def lineage(self, adapter: str) -> Lineage | None:
        """What it learned; the same for ever."""

    async def gone(self) -> dict[str, tuple[Stale, ...]]:
        """The documents that an adapter learned and that are deleted, erased or absent, by adapter."""

    async def learned_from(self) -> dict[str, tuple[str, ...]]:
        """The subjects whose exchanges were used, each with the adapters that used them."""

    async def unknown(self, lineage: Lineage) -> list[str]:
        """What of a lineage this database does not know, in words, at most ten: documents that are not in, or are
        deleted, versions that never were, access classes that are none or that the version never had."""


class LearnedTexts(Protocol):
    """The texts of documents that were learned."""

    async def other(self, documents: Sequence[Learned]) -> UUID | None:
        """The first document of which that version has a text of another digest; None if there is none. Reads all of
        them; versions that are not there are passed over."""


@dataclass(frozen=True, slots=True)
class Package:
    """What a training left, as it was read: what it says of itself, byte by byte, and what its weights are.
    `own_lineage` is that of its training set: without what was inherited."""

    manifest: bytes
    lineage: bytes
    own_lineage: bytes
    training_set: bytes
    inspected: Inspected


class Weights(Protocol):
    """Where the weights of adapters lie, by the digest of their identity. Each method raises `AdapterFault` for what is
    wrong with a file, and `OSError`."""

    def read(self, folder: Path, limits: ServerLimits) -> Package:
        """What a training left in this folder: `adapter/`, `manifest.json`, `lineage.json`, `training_set.json`, and,
        where something was inherited, `training_lineage.json`."""

    def keep(self, folder: Path, adapter: str, files: Sequence[FileDigest], training_set: bytes) -> None:
        """Copy its weights, whole or not at all; they are exactly `files`. Once more changes nothing."""

    def keep_manifest(self, adapter: str, manifest: bytes) -> None:
        """Write what is said of it beside its weights, whole or not at all."""

    def manifest(self, adapter: str) -> bytes | None:
        """What stands beside its weights."""

    def training_set(self, adapter: str) -> bytes | None:
        """The manifest of its training set, as it stands beside its weights."""

    def changed(self, adapter: str, files: Sequence[FileDigest], training_set: str) -> str | None:
        """What is not as it was kept, in words; None if all is."""

    def looks(self, adapter: str, *, beside: bool = True) -> object:
        """What its files look like from outside, sizes and times: equal while nobody wrote to them. Cheap. Without
        `beside`, those alone that a model server reads."""

    def kept(self) -> list[str]:
        """The adapters of which anything lies there."""

    def drop(self, adapter: str) -> None:
        """Take away all that lies there of it."""

    def tidy(self) -> None:
        """Take away what was left half written."""

    def place(self, adapter: str) -> Path:
        """The folder that a model server reads."""


class BaseFiles(Protocol):
    """The files of the base model that the model server serves."""

    def digest(self) -> str | None:
        """The digest over them (`usher_lora.base_files`); None where nobody said where they lie. Raises `AdapterFault`
        where they are not there any more, and `OSError`."""

    def lineage(self) -> Lineage | None:
        """What that model has itself learned, where its files say so. Raises as `digest`."""
