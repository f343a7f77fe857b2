"""A ledger in PostgreSQL, read in one transaction that can only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from usher.ledger.record import ContentRow
from usher.ledger.verify.source import Unreadable

if TYPE_CHECKING:
    import psycopg

_AT_ONCE = 2_000
"""Rows of one fetch."""
_CONTENT = """
SELECT audit_id, position, kind, conversation, pseudonym, commitment, ciphertext
FROM usher_ledger.content WHERE audit_id = %s ORDER BY position
"""
_SETTINGS = """
SET LOCAL search_path = pg_catalog, usher_ledger;
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0
"""


class PgSource:
    """The tables in the schema `usher_ledger`."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self.damage: str | None = None
        self._cursors = 0

    def format(self) -> object:
        return next(self.rows("SELECT format FROM layout"), (None,))[0]

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        from psycopg import Error

        self._cursors += 1
        try:
            with self._connection.cursor(f"rows_{self._cursors}") as cursor:
                cursor.itersize = _AT_ONCE
                cursor.execute(query.replace("?", "%s"), values, binary=True)
                yield from cursor
        except Error as error:
            raise Unreadable(_reason(error)) from error

    def content(self, audit_id: str) -> list[ContentRow]:
        from psycopg import Error

        try:
            found = self._connection.execute(_CONTENT, (audit_id,), binary=True).fetchall()
        except Error as error:
            raise Unreadable(_reason(error)) from error
        return [ContentRow(*row) for row in found]

    def pending(self) -> Iterator[bytes]:
        for (part,) in self.rows("SELECT part FROM pending WHERE part IS NOT NULL ORDER BY id"):
            yield part


@contextmanager
def opened(url: str) -> Iterator[PgSource]:
    """The ledger as it was at one instant. Raises `Unreadable`."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            connection.execute(_SETTINGS)
            yield PgSource(connection)
    except psycopg.Error as error:
        raise Unreadable(_reason(error)) from error


def _reason(error: psycopg.Error) -> str:
    """The server's own words, which quote no stored value; what a connection says can name a host, and no password."""
    return error.diag.message_primary or str(error).partition("\n")[0] or type(error).__name__
