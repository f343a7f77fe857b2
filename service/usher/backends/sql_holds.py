"""Legal holds, in SQL. The reason that was typed for one is its proposal's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from usher.backends.sql import AnyRow, Database
from usher.backends.sql_hold_tables import hold as table
from usher.backends.sql_outbox import Finisher, enqueue
from usher.backends.sql_turn import Turn, one_at_a_time
from usher.core.holds import Hold, On
from usher.ports import Change
from usher.ports.holds import HoldRow

_H = table.c


class SqlHolds:
    """The `HoldStore` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def turn(self) -> AbstractAsyncContextManager[None]:
        return one_at_a_time(self._database, Turn.HOLDS)

    async def place(self, hold: Hold, event: Mapping[str, Any], now: datetime) -> Change | None:
        ident = UUID(hold.id)
        values = {"on": hold.on.value, "target": hold.target, "since": hold.since, "until": hold.until}

        def work(connection: sa.Connection) -> Change | None:
            if connection.execute(sa.select(_H.id).where(_H.id == ident)).first() is not None:
                return None
            connection.execute(sa.insert(table).values(id=ident, **values, placed_at=now, released=False))
            return enqueue(connection, "hold", {**event, "op": "place", "hold": hold.id}, now)

        return await self._database.write(work)

    async def release(self, hold: UUID, release: UUID, event: Mapping[str, Any], now: datetime) -> Change | None:
        statement = sa.update(table).where(_H.id == hold, _H.release.is_(None)).values(release=release, release_at=now)

        def work(connection: sa.Connection) -> Change | None:
            changed = connection.execute(statement).rowcount
            if not changed and connection.execute(sa.select(_H.id).where(_H.id == hold)).first() is not None:
                return None
            return enqueue(connection, "hold", {**event, "op": "release", "hold": str(hold)}, now)

        return await self._database.write(work)

    async def binding(self) -> list[Hold]:
        return [row.hold for row in await self._rows(_ROWS.where(~_H.released).order_by(_H.id))]

    async def get(self, hold: UUID) -> HoldRow | None:
        found = await self._rows(_ROWS.where(_H.id == hold))
        return found[0] if found else None

    async def page(self, before: UUID | None, limit: int) -> list[HoldRow]:
        statement = _ROWS.order_by(_H.id.desc()).limit(limit)
        return await self._rows(statement if before is None else statement.where(_H.id < before))

    async def _rows(self, statement: sa.Select[Any]) -> list[HoldRow]:
        def work(connection: sa.Connection) -> list[HoldRow]:
            return [_row(row) for row in connection.execute(statement)]

        return await self._database.read(work)


_ROWS = sa.select(table)


def _row(row: AnyRow) -> HoldRow:
    held = Hold(str(row.id), On(row.on), row.target, row.since, row.until)
    return HoldRow(held, row.placed_at, row.release, row.release_at if row.released else None)


def finish_hold(connection: sa.Connection, change: Change) -> None:
    """A hold has been binding since it was placed; a release lets go only now."""
    if change.payload["op"] == "release":
        connection.execute(sa.update(table).where(_H.id == UUID(change.payload["hold"])).values(released=True))


FINISHERS: Mapping[str, Finisher] = {"hold": finish_hold}
