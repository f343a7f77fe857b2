"""Turns that several servers over one metadata database take one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum

import anyio
import anyio.to_thread
import sqlalchemy as sa

from usher.backends.sql import Database
from usher.ledger.log import LedgerUnavailable

PATIENCE = 15.0
"""Seconds that another server's turn is waited for: longer than an append to the ledger may take."""


class Turn(IntEnum):
    """Advisory locks of Usher's own in the PostgreSQL database, beside the one of whoever writes."""

    CARRYING = 7593116420261
    HOLDS = 7593116420262
    DOCUMENTS = 7593116420263
    ADAPTERS = 7593116420264


@asynccontextmanager
async def one_at_a_time(database: Database, turn: Turn, patience: float | None = None) -> AsyncIterator[None]:
    """No other server has this turn meanwhile; `patience` in seconds. SQLite's file is one server's own. Raises
    `LedgerUnavailable`."""
    if database.engine.dialect.name == "sqlite":
        yield
        return
    connection = await anyio.to_thread.run_sync(_taken, database, turn, PATIENCE if patience is None else patience)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(connection.close)  # and its transaction ends, with the lock


def _taken(database: Database, turn: Turn, patience: float) -> sa.Connection:
    connection = database.engine.connect()
    try:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(patience * 1000, 1):.0f}")  # 0 would be for ever
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.literal(turn.value, sa.BigInteger))))
    except BaseException as error:
        connection.close()
        if isinstance(error, sa.exc.OperationalError):
            raise LedgerUnavailable("another server does not end what it changes; try again in a while") from error
        raise
    return connection
