"""What is forgotten of dropped exchanges beside the ledger, in SQL: digests, citations, titles, feedback's words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import Database
from usher.backends.sql_hold_tables import retention as table
from usher.ports.holds import Remembered

_C, _X, _F = t.conversation.c, t.exchange.c, t.feedback.c
_SOME = 500
"""Ids in one query."""
_NOTHING = b"\0" * 32


class SqlRetention:
    """The `RetentionStore` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remembered(self, exchanges: Sequence[UUID]) -> dict[UUID, Remembered]:
        def work(connection: sa.Connection) -> dict[UUID, Remembered]:
            found: dict[UUID, Remembered] = {}
            for start in range(0, len(exchanges), _SOME):
                found |= _remembered(connection, exchanges[start : start + _SOME])
            return found

        return await self._database.read(work)

    async def forget(self, number: int, exchanges: Sequence[UUID], feedback: Sequence[UUID], now: datetime) -> None:
        def work(connection: sa.Connection) -> None:
            for start in range(0, len(exchanges), _SOME):
                _forget_exchanges(connection, exchanges[start : start + _SOME], now)
            words = sa.update(t.feedback).values(sealed=b"")
            for start in range(0, len(feedback), _SOME):
                connection.execute(words.where(_F.id.in_(feedback[start : start + _SOME])))
            _state(connection, number=sa.case((table.c.number < number, number), else_=table.c.number))

        await self._database.write(work)

    async def one_of(self, conversation: UUID) -> UUID | None:
        statement = sa.select(_X.id).where(_X.conversation == conversation).order_by(_X.id).limit(1)

        def work(connection: sa.Connection) -> UUID | None:
            found: UUID | None = connection.execute(statement).scalar()
            return found

        return await self._database.read(work)

    async def forgotten(self) -> int:
        statement = sa.select(table.c.number)
        return await self._database.read(lambda connection: int(connection.execute(statement).scalar() or 0))

    async def overwritten(self) -> None:
        await self._database.overwrite()

    async def ran(self, now: datetime) -> None:
        await self._database.write(lambda connection: _state(connection, ran_at=now))

    async def last_run(self) -> datetime | None:
        statement = sa.select(table.c.ran_at)

        def work(connection: sa.Connection) -> datetime | None:
            found: datetime | None = connection.execute(statement).scalar()
            return found

        return await self._database.read(work)


def _state(connection: sa.Connection, **values: Any) -> None:
    """The one row, made at first."""
    if connection.execute(sa.select(table.c.id)).first() is None:
        connection.execute(sa.insert(table).values(id=1, number=0))
    connection.execute(sa.update(table).values(**values))


def _remembered(connection: sa.Connection, some: Sequence[UUID]) -> dict[UUID, Remembered]:
    given: dict[UUID, list[tuple[UUID, datetime]]] = {}
    words = sa.select(_F.exchange, _F.id, _F.created_at).where(_F.exchange.in_(some), _F.sealed != b"")
    for row in connection.execute(words.order_by(_F.id)):
        given.setdefault(row.exchange, []).append((row.id, row.created_at))
    rows = connection.execute(sa.select(_X.id, _X.exposures, _X.dropped_at).where(_X.id.in_(some)))
    return {
        row.id: Remembered(row.id, row.exposures, row.dropped_at is not None, tuple(given.get(row.id, ())))
        for row in rows
    }


def _forget_exchanges(connection: sa.Connection, some: Sequence[UUID], now: datetime) -> None:
    this = _X.id.in_(some)
    gone = {"question_digest": _NOTHING, "answer_digest": None, "cited": b"", "size": 0}
    connection.execute(sa.update(t.exchange).where(this).values(**gone))
    connection.execute(sa.update(t.exchange).where(this, _X.dropped_at.is_(None)).values(dropped_at=now))
    connection.execute(sa.update(t.feedback).where(_F.exchange.in_(some)).values(sealed=b""))
    first = sa.select(_X.conversation).where(this, _X.parent.is_(None))
    left = sa.select(_X.conversation).where(_X.dropped_at.is_(None))
    of_these = sa.select(_X.conversation).where(this)
    untitled = _C.id.in_(first) | (_C.id.in_(of_these) & _C.id.not_in(left.where(_X.conversation.in_(of_these))))
    connection.execute(sa.update(t.conversation).where(untitled).values(sealed_title=None, title_exposures=b""))
