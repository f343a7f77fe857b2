"""The ledger's storage in memory: for tests and trials; it passes the suite of the storage in SQL."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

from usher.ledger.log import Batch, LogFailed, OpenExchange, Room, StoredCheckpoint, StoredEvent, SubjectRow, Tail
from usher.ledger.record import ContentRow, remains


class MemoryLog:
    """A `Log` that ends with its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._origin = f"usher/{uuid4()}"
        self._size, self._edge, self._mac = 0, b"", b""
        self._events: list[StoredEvent] = []
        self._checkpoints: list[StoredCheckpoint] = []
        self._open: dict[str, int] = {}
        self._content: dict[str, list[ContentRow]] = {}
        self._subjects: list[SubjectRow] = []

    def load(self) -> Tail:
        with self._lock:
            opened = [
                OpenExchange(ident, number, self._events[number - 1].event, tuple(self._content.get(ident, ())))
                for ident, number in self._open.items()
            ]
            newest = self._checkpoints[-1] if self._checkpoints else None
            events = tuple(self._events)
            return Tail(self._origin, self._size, self._edge, newest, None, events, tuple(opened), self._mac)

    def commit(self, batch: Batch) -> None:
        with self._lock:
            known = {row.lookup for row in self._subjects}
            if known.intersection(row.lookup for row in batch.subjects):
                raise LogFailed("a subject is there already")
            self._events += batch.events
            self._size, self._edge, self._mac = batch.size, batch.edge, batch.mac
            for row in batch.content:
                self._content.setdefault(row.audit_id, []).append(row)
            for ident, position in batch.dropped:
                rows = self._content.get(ident, [])
                rows[:] = [_less(row) if row.position == position else row for row in rows]
            self._subjects += batch.subjects
            keys = dict(batch.rewrapped)
            self._subjects = [_with_key(row, keys.get(row.pseudonym)) for row in self._subjects]
            self._open.update(batch.opened)
            for ident in batch.closed:
                self._open.pop(ident, None)
            if batch.checkpoint:
                self._checkpoints.append(batch.checkpoint)

    def check(self) -> None:
        """Memory is always there."""

    def room(self) -> Room:
        """Always enough."""
        return Room.AMPLE

    def content(self, audit_id: str) -> tuple[ContentRow, ...]:
        with self._lock:
            return tuple(self._content.get(audit_id, ()))

    def contents(self, audit_ids: Sequence[str]) -> dict[str, tuple[ContentRow, ...]]:
        with self._lock:
            return {ident: tuple(self._content[ident]) for ident in audit_ids if ident in self._content}

    def subject_by_lookup(self, lookup: bytes) -> SubjectRow | None:
        with self._lock:
            return next((row for row in self._subjects if row.lookup == lookup), None)

    def subject_by_pseudonym(self, pseudonym: str) -> SubjectRow | None:
        with self._lock:
            return next((row for row in self._subjects if row.pseudonym == pseudonym), None)

    def subjects(self, after: str, limit: int) -> list[SubjectRow]:
        with self._lock:
            rows = sorted((row for row in self._subjects if row.pseudonym > after), key=lambda row: row.pseudonym)
            return rows[:limit]

    def leaves(self, first: int, last: int) -> list[bytes]:
        with self._lock:
            return [stored.leaf for stored in self._events[first - 1 : last]]

    def newest_checkpoint(self, up_to: int | None = None) -> StoredCheckpoint | None:
        with self._lock:
            fit = [stored for stored in self._checkpoints if up_to is None or stored.size <= up_to]
            return fit[-1] if fit else None

    def close(self) -> None:
        """Nothing is held."""


def _with_key(row: SubjectRow, key: bytes | None) -> SubjectRow:
    if key is None:
        return row
    return replace(row, wrapped_key=key) if key else SubjectRow(row.pseudonym.encode(), row.pseudonym, b"", b"")


def _less(row: ContentRow) -> ContentRow:
    return replace(row, ciphertext=remains(row.ciphertext))
