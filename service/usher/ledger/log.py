"""What the sequencer asks of its storage, and the errors of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from usher.ledger.record import ContentRow


class LedgerUnavailable(Exception):
    """The ledger cannot record now. What was asked is not acknowledged and must not go on; `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"ledger: {reason}")
        self.reason = reason


class LedgerDamaged(Exception):
    """The stored log contradicts itself, or is of a newer version; it is not opened. The message says the remedy."""


class OutOfOrder(ValueError):
    """An event or content row has no place in its exchange: a mistake of the caller, who alone is refused."""


class LogFailed(Exception):
    """A read or write of the storage failed. After a failed commit the storage holds all of the batch or nothing."""


class StoredEvent(NamedTuple):
    """As the columns of its row."""

    number: int
    leaf: bytes
    event: bytes


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A signed note, the tree's right edge at its size (so that a check can go on from there), the public key."""

    size: int
    edge: bytes
    note: str
    key: str


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """A person in the ledger: found by a keyed hash of the name; key wrapped by the ring, name sealed by the key.

    Of somebody who was erased there is the pseudonym; `wrapped_key` and `sealed_name` are empty, and no name is found
    by the `lookup`.
    """

    lookup: bytes
    pseudonym: str
    wrapped_key: bytes
    sealed_name: bytes

    @property
    def erased(self) -> bool:
        return not self.wrapped_key


@dataclass(frozen=True, slots=True)
class OpenExchange:
    """An exchange without its `answer`: the bytes of its request, and its content rows in order."""

    audit_id: str
    number: int
    request: bytes
    rows: tuple[ContentRow, ...]


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the stored log, enough to go on writing and to see that it is whole. `mac` is the last commit's.

    `base` is a checkpoint before the end (none: the log's beginning), `events` all events after it, to be read once.
    """

    origin: str
    size: int
    edge: bytes
    newest: StoredCheckpoint | None
    base: StoredCheckpoint | None
    events: Iterable[StoredEvent]
    open: tuple[OpenExchange, ...]
    mac: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """One commit. `size` and `edge` are the tree after it, `mac` the ring's MAC over its `record.tail_text`; `opened`
    and `closed` are exchanges by audit id. `dropped` are content rows, by audit id and position, of whose ciphertext
    only what `record.remains` is kept. `rewrapped` are subjects, by pseudonym, with their keys wrapped anew; an empty
    one takes the key, the sealed name and the look-up away (`SubjectRow.erased`)."""

    size: int
    edge: bytes
    mac: bytes
    events: Sequence[StoredEvent] = ()
    content: Sequence[ContentRow] = ()
    subjects: Sequence[SubjectRow] = ()
    opened: Sequence[tuple[str, int]] = ()
    closed: Sequence[str] = ()
    checkpoint: StoredCheckpoint | None = None
    dropped: Sequence[tuple[str, int]] = ()
    rewrapped: Sequence[tuple[str, bytes]] = ()


class Room(StrEnum):
    """How much space the storage has left for more; the value is what people are told."""

    AMPLE = ""
    SHORT = "its disk has less free than the reserve; make room"
    SCARCE = "its disk has less free than half the reserve; make room"

    @classmethod
    def of(cls, free: int, reserve: int) -> Room:
        """Of so many free bytes."""
        if free >= reserve:
            return cls.AMPLE
        return cls.SHORT if free >= reserve / 2 else cls.SCARCE

    @property
    def trouble(self) -> str | None:
        return self.value or None


class Stored(Protocol):
    """A stored log as it is read, by any thread.

    `check` raises when a commit is known to fail, without trying. `room` says how much space is left, and raises
    nothing. All other methods raise `LogFailed`.
    """

    def check(self) -> None: ...

    def room(self) -> Room: ...

    def newest_checkpoint(self, up_to: int | None = None) -> StoredCheckpoint | None:
        """The newest, or the newest of at most that size."""

    def content(self, audit_id: str) -> tuple[ContentRow, ...]: ...

    def contents(self, audit_ids: Sequence[str]) -> dict[str, tuple[ContentRow, ...]]:
        """`content` of each exchange that has any, at the cost of few queries."""

    def subject_by_lookup(self, lookup: bytes) -> SubjectRow | None: ...

    def subject_by_pseudonym(self, pseudonym: str) -> SubjectRow | None: ...

    def subjects(self, after: str, limit: int) -> Sequence[SubjectRow]:
        """Up to `limit` subjects with a greater pseudonym than `after`, in the order of their pseudonyms."""

    def close(self) -> None: ...


class Log(Stored, Protocol):
    """Storage of one log, with one writer.

    `load` and `commit` are called from one thread at a time. `commit` is durable when it returns and leaves all or
    nothing when it raises. Bytes that a commit replaced are overwritten where they were stored, then or by one of the
    next commits. Both raise `LogFailed`, and `load` also `LedgerDamaged`.
    """

    def load(self) -> Tail: ...

    def commit(self, batch: Batch) -> None: ...


class Ring(Protocol):
    """The keys that live outside the data folder. `unwrap` raises `SealBroken`; `tail_mac` is of a `tail_text`."""

    @property
    def signing_key(self) -> Ed25519PrivateKey: ...

    def wrap(self, key: bytes, aad: bytes) -> bytes: ...

    def unwrap(self, blob: bytes, aad: bytes) -> bytes: ...

    def lookup(self, name: str) -> bytes: ...

    def tail_mac(self, text: bytes) -> bytes: ...
