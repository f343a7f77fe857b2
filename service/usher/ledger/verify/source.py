"""What the checks read, wherever a ledger lies: the rows of its tables, in one state of the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Protocol

from usher.ledger.record import ContentRow

LEAST = -(2**63)
"""The least number that a row can have."""


class Unreadable(Exception):
    """The stored bytes, or the server that has them, give no further rows; the message says why."""


class Source(Protocol):
    """A ledger that is open in one read transaction. A value may be of any type: nothing that is stored is believed.

    Each method raises `Unreadable`, also while its rows are taken. `damage` says why a server could not read any of it,
    where it is read as far as it goes all the same.
    """

    damage: str | None

    def format(self) -> object:
        """The version of the tables' layout."""

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """The rows of a query in plain SQL with `?` for each value, as they come: never all of them in memory."""

    def content(self, audit_id: str) -> list[ContentRow]:
        """The content rows that are found for an exchange, in the order of their positions."""

    def pending(self) -> Iterator[bytes]:
        """Events that are acknowledged and wait for their number, time and place in the tree."""


class SqliteSource:
    """The tables in a SQLite file, or in memory."""

    # The index only finds the rows: read from it, their key columns could differ from what the table says.
    _CONTENT = """
    SELECT row.audit_id, row.position, row.kind, row.conversation, row.pseudonym, row.commitment, row.ciphertext
    FROM content AS found CROSS JOIN content AS row ON row.rowid = found.rowid
    WHERE found.audit_id = ? ORDER BY found.position
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.text_factory = lambda text: text.decode(errors="replace")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        self.damage = self._damage()
        if self.damage:
            connection.execute("PRAGMA writable_schema = ON")  # reads also a file that was cut, as far as it goes

    def _damage(self) -> str | None:
        try:
            for _ in self.rows("SELECT count(*) FROM sqlite_schema"):
                pass
        except Unreadable as error:
            return str(error)
        return None

    def format(self) -> object:
        return next(self.rows("PRAGMA user_version"))[0]

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        try:
            # `yield from` would close the cursor when it is dropped, and its connection may be closed by then.
            for row in self._connection.execute(query, values):  # noqa: UP028  # see above
                yield row
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where SQLite quotes what it cannot read
            raise Unreadable(str(error)) from error

    def content(self, audit_id: str) -> list[ContentRow]:
        return [ContentRow(*row) for row in self.rows(self._CONTENT, audit_id)]

    def pending(self) -> Iterator[bytes]:
        return iter(())
