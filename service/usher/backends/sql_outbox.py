"""The outbox: changes that are pending until the ledger has heard of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import Database
from usher.backends.sql_listen import notify
from usher.backends.sql_turn import Turn, one_at_a_time
from usher.ports import Change

Finisher = Callable[[sa.Connection, Change], None]
"""Makes a change active, in the transaction that takes its row out."""


def enqueue(connection: sa.Connection, kind: str, payload: Mapping[str, Any], now: datetime) -> Change:
    """Add an outbox row to the transaction that holds its pending change."""
    statement = sa.insert(t.outbox).values(kind=kind, payload=payload, created_at=now).returning(t.outbox.c.id)
    change = Change(connection.execute(statement).scalar_one(), kind, payload)
    bump_revision(connection)
    return change


def replaced(connection: sa.Connection, change: int | None) -> None:
    """Take out the row of a pending change whose place another one takes: it will never be active."""
    if change is not None:
        connection.execute(sa.delete(t.outbox).where(t.outbox.c.id == change))


def bump_revision(connection: sa.Connection) -> None:
    """Tell every running exchange, on every server, that something it depends on has moved."""
    connection.execute(sa.update(t.state).values(revision=t.state.c.revision + 1))
    notify(connection)


class SqlOutbox:
    """The `Outbox` port; `finishers` say per kind how a change becomes active."""

    def __init__(self, database: Database, finishers: Mapping[str, Finisher]) -> None:
        self._database = database
        self._finishers = finishers

    def turn(self) -> AbstractAsyncContextManager[None]:
        return one_at_a_time(self._database, Turn.CARRYING)

    async def pending(self) -> list[Change]:
        def work(connection: sa.Connection) -> list[Change]:
            rows = connection.execute(sa.select(t.outbox).order_by(t.outbox.c.id))
            return [Change(row.id, row.kind, row.payload) for row in rows]

        return await self._database.read(work)

    async def finish(self, changes: Sequence[Change]) -> None:
        def work(connection: sa.Connection) -> None:
            for change in changes:
                row = sa.delete(t.outbox).where(t.outbox.c.id == change.id)
                if connection.execute(row).rowcount:
                    self._finishers[change.kind](connection, change)
            bump_revision(connection)

        await self._database.write(work)
