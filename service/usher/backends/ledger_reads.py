"""What is read of the ledger's tables, alike in SQLite and in PostgreSQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from sqlalchemy import Engine, select

from usher.backends import ledger_tables as tables
from usher.backends.ledger_tables import EventPage
from usher.ledger.log import Room, StoredCheckpoint, StoredEvent, SubjectRow, Tail
from usher.ledger.record import ContentRow, EventType

TAIL_EVENTS = 256
"""An opening hashes again at least this many events at the end (all since the checkpoint before them)."""
PAGE = 1000


class LedgerReads(ABC):
    """The reads of a log over an engine, from any thread. All raise `LogFailed`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @abstractmethod
    def _failing(self) -> AbstractContextManager[None]:
        """Any failure of the storage as `LogFailed`."""

    def room(self) -> Room:
        """How much space is left; ample where a server of its own looks after its disk. Raises nothing."""
        return Room.AMPLE

    def content(self, audit_id: str) -> tuple[ContentRow, ...]:
        """The content rows of an exchange, in order."""
        with self._failing(), self._engine.connect() as connection:
            return tables.content_rows(connection, audit_id)

    def contents(self, audit_ids: Sequence[str]) -> dict[str, tuple[ContentRow, ...]]:
        """The content rows of each of these exchanges that has any."""
        with self._failing(), self._engine.connect() as connection:
            return tables.contents(connection, audit_ids)

    def subject_by_lookup(self, lookup: bytes) -> SubjectRow | None:
        with self._failing(), self._engine.connect() as connection:
            row = connection.execute(select(tables.subjects).where(tables.subjects.c.lookup == lookup)).one_or_none()
            return SubjectRow(*row) if row else None

    def subject_by_pseudonym(self, pseudonym: str) -> SubjectRow | None:
        with self._failing(), self._engine.connect() as connection:
            row = connection.execute(
                select(tables.subjects).where(tables.subjects.c.pseudonym == pseudonym)
            ).one_or_none()
            return SubjectRow(*row) if row else None

    def others(self) -> int:
        """How many other servers record to this log now: none where one process owns it."""
        return 0

    def subjects(self, after: str, limit: int) -> list[SubjectRow]:
        """Up to `limit` subjects with a greater pseudonym than `after`, in the order of their pseudonyms."""
        c = tables.subjects.c
        query = select(tables.subjects).where(c.pseudonym > after).order_by(c.pseudonym).limit(limit)
        with self._failing(), self._engine.connect() as connection:
            return [SubjectRow(*row) for row in connection.execute(query)]

    def events(
        self,
        after: int,
        limit: int,
        *,
        type: EventType | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> EventPage:
        """Up to `limit` events numbered above `after`, `since` included and `until` excluded (aware times), looking
        at no more than `tables.SCAN_EVENTS`."""
        with self._failing(), self._engine.connect() as connection:
            return tables.event_page(connection, after, limit, type=type, outcome=outcome, since=since, until=until)

    def leaves(self, first: int, last: int) -> list[bytes]:
        """The leaf hashes of the events numbered `first` to `last`, as many as are there."""
        with self._failing(), self._engine.connect() as connection:
            return tables.leaf_hashes(connection, first, last)

    def stored(self, first: int, last: int) -> list[StoredEvent]:
        """The events numbered `first` to `last` as they are stored, as many as are there."""
        with self._failing(), self._engine.connect() as connection:
            return tables.stored_events(connection, first, last)

    def open_exchanges(self) -> frozenset[str]:
        """The chats that have no end yet."""
        with self._failing(), self._engine.connect() as connection:
            return frozenset(connection.execute(select(tables.open_exchanges.c.audit_id)).scalars())

    def chosen(self, numbers: Sequence[int]) -> list[bytes]:
        """The bytes of those of these events that there are, in the order of their numbers."""
        query = (
            select(tables.events.c.event).where(tables.events.c.number.in_(numbers)).order_by(tables.events.c.number)
        )
        with self._failing(), self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def origin(self) -> str:
        """The name of the log."""
        with self._failing(), self._engine.connect() as connection:
            return str(connection.execute(select(tables.log.c.origin)).scalar_one())

    def size(self) -> int:
        """How many events there are."""
        with self._failing(), self._engine.connect() as connection:
            return int(connection.execute(select(tables.tree.c.size)).scalar_one())

    def newest_checkpoint(self, up_to: int | None = None) -> StoredCheckpoint | None:
        """The newest, or the newest of at most that size."""
        with self._failing(), self._engine.connect() as connection:
            return tables.checkpoint(connection, up_to)

    def _tail(self) -> Tail:
        with self._engine.connect() as connection:
            size, edge, mac = connection.execute(select(tables.tree)).one()
            base = tables.checkpoint(connection, max(size - TAIL_EVENTS, 0))
            return Tail(
                origin=connection.execute(select(tables.log.c.origin)).scalar_one(),
                size=size,
                edge=edge,
                newest=tables.checkpoint(connection),
                base=base,
                events=self._events_after(base.size if base else 0),
                open=tuple(tables.open_rows(connection)),
                mac=mac,
            )

    def _events_after(self, number: int) -> Iterator[StoredEvent]:
        """In pages: nobody's connection waits for whoever takes them."""
        column = tables.events.c.number
        while True:
            query = select(tables.events).where(column > number).order_by(column).limit(PAGE)
            with self._failing(), self._engine.connect() as connection:
                page = [StoredEvent(*row) for row in connection.execute(query)]
            yield from page
            if len(page) < PAGE:
                return
            number = page[-1].number
