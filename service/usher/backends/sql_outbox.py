"""The outbox: changes that are pending until the ledger has heard of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import anyio
import anyio.to_thread
import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import Database
from usher.ledger.log import LedgerUnavailable
from usher.ports import Change

PATIENCE = 15.0
"""Seconds that another server's turn is waited for: longer than an append to the ledger may take."""
_ONE_CARRIER = sa.text("SELECT pg_advisory_xact_lock(7593116420261)")
"""A lock of Usher's own in the PostgreSQL database, beside the one of whoever writes."""

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
    """Tell every running exchange that something it depends on has moved."""
    connection.execute(sa.update(t.state).values(revision=t.state.c.revision + 1))


class SqlOutbox:
    """The `Outbox` port; `finishers` say per kind how a change becomes active."""

    def __init__(self, database: Database, finishers: Mapping[str, Finisher]) -> None:
        self._database = database
        self._finishers = finishers

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """SQLite's file is one server's own."""
        if self._database.engine.dialect.name == "sqlite":
            yield
            return
        connection = await anyio.to_thread.run_sync(self._its_turn)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(connection.close)  # and its transaction ends, with the lock

    def _its_turn(self) -> sa.Connection:
        connection = self._database.engine.connect()
        try:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {PATIENCE * 1000:.0f}")
            connection.execute(_ONE_CARRIER)
        except BaseException as error:
            connection.close()
            if isinstance(error, sa.exc.OperationalError):
                raise LedgerUnavailable("another server does not end the recording of a change") from error
            raise
        return connection

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
