"""Connections to the ledger's PostgreSQL, and what goes wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.exc import SQLAlchemyError

from usher.backends.ledger_pg_tables import SCHEMA
from usher.ledger.log import LogFailed

Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_SECONDS = 4
_LOST = "keepalives_idle=1 keepalives_interval=1 keepalives_count=2 tcp_user_timeout=3000"
"""This side notices a server that is gone within three seconds."""
_SETTINGS = f"""
SET search_path = {SCHEMA};
SET synchronous_commit = on;
SET default_transaction_isolation = 'read committed';
SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2;
SET tcp_user_timeout = 3000;
SET lock_timeout = '3s'; SET statement_timeout = '8s';
SET idle_in_transaction_session_timeout = '3s'; SET idle_session_timeout = '{{idle:d}}s'
"""
"""The other side: one whose server is gone, or stands still, gives up its locks by itself."""

_READING = f"SET search_path = {SCHEMA}; SET lock_timeout = '3s'; SET statement_timeout = '8s'"
"""The servers' threads read too: nobody's lock may hold them for ever."""


def connected(url: str, idle_seconds: int) -> Connection:
    """A connection of one's own, in autocommit mode, which PostgreSQL ends when it is idle for so long. Advisory locks
    are held on it, so a pooler between must be in session mode. Raises `psycopg.Error`."""
    connection = psycopg.connect(_conninfo(url), autocommit=True)
    try:
        connection.execute(_SETTINGS.format(idle=idle_seconds))
    except BaseException:
        connection.close()
        raise
    return connection


def reading(url: str) -> Connection:
    """A connection for short reads. Raises `psycopg.Error`."""
    connection = psycopg.connect(_conninfo(url))
    connection.execute(_READING)
    connection.commit()
    return connection


def _conninfo(url: str) -> str:
    lost = conninfo_to_dict(f"connect_timeout={CONNECT_SECONDS} {_LOST} application_name='usher ledger'")
    return make_conninfo(url.replace("postgresql+psycopg:", "postgresql:", 1), **lost)


def closed(connection: Connection | None) -> None:
    if connection is not None:
        with suppress(psycopg.Error):
            connection.close()


@contextmanager
def failing() -> Iterator[None]:
    """Any failure of the database as `LogFailed`, in words that quote no stored value."""
    try:
        yield
    except (SQLAlchemyError, psycopg.Error, OSError, ValueError) as error:
        raise LogFailed(_reason(error)) from error


def _reason(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    if isinstance(original, psycopg.errors.InsufficientPrivilege):
        return "PostgreSQL refuses this role what a server does; run `usher audit prepare-database` as the owner"
    if isinstance(original, psycopg.Error):
        said = original.diag.message_primary or str(original).strip().partition("\n")[0]
        return f"PostgreSQL: {said or type(original).__name__}"
    return f"its rows cannot be read ({type(original).__name__}); run `usher audit verify`"
