"""PostgreSQL's own word that the state has moved: sent with the transaction that moves it, heard by every server.

A notification may be lost (a broken connection, a pooler between): so it only makes a server look sooner than it would
by itself, and nothing depends on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import sqlalchemy as sa
import structlog

from usher.backends.sql import Database

CHANNEL = "usher_revision"
AGAIN_S = 1.0
"""Seconds between two attempts to listen."""

_log = structlog.stdlib.get_logger("usher.listen")


def notify(connection: sa.Connection) -> None:
    """Tell every server that listens, once this transaction is committed; not where the database is a file."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")


async def listen(database: Database, heard: Callable[[], None]) -> None:
    """Call `heard` whenever the state has moved, and each time that it may have moved unheard: for ever, or, where the
    database is a file, not at all."""
    if database.engine.dialect.name != "postgresql":
        return
    import psycopg

    while True:
        try:
            await _listen(database.engine, heard)
        except (psycopg.Error, OSError) as error:
            _log.warning("not_listening", error=type(error).__name__)
        heard()
        await asyncio.sleep(AGAIN_S)


async def _listen(engine: sa.Engine, heard: Callable[[], None]) -> None:
    """On a connection of its own, until that breaks."""
    import psycopg

    positional, named = engine.dialect.create_connect_args(engine.url)
    async with await psycopg.AsyncConnection.connect(*positional, **named, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        heard()
        async for _ in connection.notifies():
            heard()
