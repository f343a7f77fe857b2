"""The row that every barrier asks for: read each time, taken apart only where it is another one than last time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow, Database

REMEMBERED = 4_096


_REVISION = sa.select(t.state.c.revision)


async def revision(database: Database) -> int:
    """The database's one counter of changes, as it is now. Raises as `Database.glance`."""
    if database.is_file:
        return int(database.stored("SELECT revision FROM state", ())[0][0])
    return await database.glance(lambda connection: int(connection.execute(_REVISION).scalar_one()))


class OneRow:
    """A statement with one parameter, or none, that gives one row. `of` is a `Database.glance`: never an older row than
    the database has at that moment."""

    def __init__(self, database: Database, statement: sa.Select[Any], parameter: str = "") -> None:
        self._database, self._statement, self._parameter = database, statement, parameter
        self._known: OrderedDict[str, tuple[list[Any], AnyRow]] = OrderedDict()
        self._local = database.is_file
        compiled = statement.compile(dialect=database.engine.dialect)
        self._sql = str(compiled)
        self._asks = len(compiled.positiontup or ()) if self._local else 0

    async def of(self, key: str = "") -> AnyRow:
        """Raises as `Database.glance`."""
        known = self._known.get(key)
        if known is not None and known[0] == self._database.stored(self._sql, (key,) * self._asks):
            return known[1]
        row, stored = await self._database.glance(lambda connection: self._both(connection, key))
        if stored is not None:
            self._known[key] = stored, row
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return row

    def _both(self, connection: sa.Connection, key: str) -> tuple[AnyRow, list[Any] | None]:
        """The row and, of the same transaction, its values as a file has them."""
        row = connection.execute(self._statement, {self._parameter: key} if self._parameter else {}).one()
        if not self._local:
            return row, None
        return row, connection.connection.cursor().execute(self._sql, (key,) * self._asks).fetchall()
