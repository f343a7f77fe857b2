"""The ledger's tables in SQL, and what is read from them (`ledger_sql` opens the file and writes).

`events` (the leaves), `tree` (one row: size, right edge and their MAC), `checkpoints`, `open_exchanges` (chats without
their answer), `content` (sealed questions and answers), `subjects`, `log` (one row: the log's origin).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    CursorResult,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    cast,
    func,
    select,
)

from usher.ledger.log import LedgerDamaged, OpenExchange, StoredCheckpoint, StoredEvent
from usher.ledger.record import ContentRow, EventType, Kind

SOME = 500
"""Ids in one query."""
_KINDS = {kind.value: kind for kind in Kind}
_CONTENTS = (
    "SELECT audit_id, position, kind, conversation, pseudonym, commitment, ciphertext FROM content"
    " WHERE audit_id IN ({}) ORDER BY audit_id, position"
)
SCAN_EVENTS = 20_000
"""Events that one page looks at, so that a rare filter costs bounded time."""

metadata = MetaData()
log = Table("log", metadata, Column("origin", String, nullable=False))
events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("event", LargeBinary, nullable=False),
)
tree = Table(
    "tree",
    metadata,
    Column("size", Integer, nullable=False),
    Column("edge", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", Integer, nullable=False, index=True),
    Column("edge", LargeBinary, nullable=False),
    Column("note", String, nullable=False),
    Column("key", String, nullable=False),
)
open_exchanges = Table(
    "open_exchanges",
    metadata,
    Column("audit_id", String, primary_key=True),
    Column("number", Integer, nullable=False),
    sqlite_with_rowid=False,
)
content = Table(
    "content",
    metadata,
    Column("audit_id", String, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("conversation", String, nullable=False),
    Column("pseudonym", String, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
)
subjects = Table(
    "subjects",
    metadata,
    Column("lookup", LargeBinary, primary_key=True),
    Column("pseudonym", String, nullable=False, unique=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("sealed_name", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in the order of their numbers. `next` is the `after` of the next page, None at the log's end; a page
    may hold fewer events than asked for, even none, and still have a `next`."""

    events: tuple[tuple[int, dict[str, Any]], ...]
    next: int | None


def checkpoint(connection: Connection, up_to: int | None = None) -> StoredCheckpoint | None:
    """The newest checkpoint, or the newest of at most that size."""
    c = checkpoints.c
    query = select(c.size, c.edge, c.note, c.key)
    if up_to is not None:
        query = query.where(c.size <= up_to)
    row = connection.execute(query.order_by(c.size.desc(), c.id.desc()).limit(1)).first()
    return StoredCheckpoint(*row) if row else None


def leaf_hashes(connection: Connection, first: int, last: int) -> list[bytes]:
    """The leaf hashes of the events from one number to another, in order, as many as are there."""
    query = "SELECT leaf FROM events WHERE number BETWEEN ? AND ? ORDER BY number"
    return [row[0] for row in _plain(connection, query, (first, last))]


def stored_events(connection: Connection, first: int, last: int) -> list[StoredEvent]:
    """The events from one number to another as they are stored, in order, as many as are there."""
    query = "SELECT number, leaf, event FROM events WHERE number BETWEEN ? AND ? ORDER BY number"
    return [StoredEvent(*row) for row in _plain(connection, query, (first, last))]


def _plain(connection: Connection, query: str, values: tuple[Any, ...]) -> CursorResult[*tuple[Any, ...]]:
    """The result of a statement in the driver's own words, with `?` for each value."""
    if connection.dialect.name == "postgresql":
        query = query.replace("?", "%s")
    return connection.exec_driver_sql(query, values)


def open_rows(connection: Connection) -> Iterator[OpenExchange]:
    query = select(open_exchanges.c.audit_id, open_exchanges.c.number, events.c.event).outerjoin(
        events, events.c.number == open_exchanges.c.number
    )
    for audit_id, number, request in connection.execute(query.order_by(open_exchanges.c.number)).all():
        if request is None:
            raise LedgerDamaged(f"ledger: event {number}, the request of an open exchange, is missing")
        yield OpenExchange(audit_id, number, request, content_rows(connection, audit_id))


def content_rows(connection: Connection, audit_id: str) -> tuple[ContentRow, ...]:
    return contents(connection, [audit_id]).get(audit_id, ())


def contents(connection: Connection, audit_ids: Sequence[str]) -> dict[str, tuple[ContentRow, ...]]:
    """The content rows of each of these exchanges that has any, in order."""
    found: dict[str, list[ContentRow]] = {}
    for start in range(0, len(audit_ids), SOME):
        some = list(audit_ids[start : start + SOME])
        for row in _plain(connection, _CONTENTS.format(",".join("?" * len(some))), tuple(some)).all():
            found.setdefault(row[0], []).append(ContentRow(row[0], row[1], _KINDS[row[2]], *row[3:]))
    return {audit_id: tuple(rows) for audit_id, rows in found.items()}


def event_page(
    connection: Connection,
    after: int,
    limit: int,
    *,
    type: EventType | None,
    outcome: str | None,
    since: datetime | None,
    until: datetime | None,
) -> EventPage:
    """See `LedgerReads.events`."""
    size = connection.execute(select(tree.c.size)).scalar_one()
    first = max(after, _count_before(connection, size, since) if since else 0)
    last = _count_before(connection, size, until) if until else size
    stop = min(first + SCAN_EVENTS, last)
    query = select(events.c.number, events.c.event).where(events.c.number > first, events.c.number <= stop)
    for name, value in (("type", type), ("outcome", outcome)):
        if value is not None:
            query = query.where(_member(connection, name) == value)
    rows = connection.execute(query.order_by(events.c.number).limit(limit)).all()
    reached = rows[-1].number if len(rows) == limit else stop
    found = tuple((row.number, json.loads(row.event)) for row in rows)
    return EventPage(found, reached if reached < last else None)


def _member(connection: Connection, name: str) -> Any:
    if connection.dialect.name == "postgresql":
        return func.json_extract_path_text(cast(func.convert_from(events.c.event, "UTF8"), JSON), name)
    return func.json_extract(cast(events.c.event, String), f"$.{name}")


def _count_before(connection: Connection, size: int, moment: datetime) -> int:
    """How many events are older than a moment, by bisection: times rise with numbers."""
    wanted = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        time = connection.execute(select(_member(connection, "time")).where(events.c.number == middle)).scalar_one()
        low, high = (middle, high) if time < wanted else (low, middle - 1)
    return low
