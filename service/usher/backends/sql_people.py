"""The directory of people, in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_outbox import Finisher, enqueue, replaced
from usher.ports import Change, Person


class SqlDirectory:
    """The `Directory` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_person(self, user: str, groups: Sequence[str], by: str, now: datetime) -> Change:
        """Add a person, or change one's groups, or bring one back: all of it waits for the ledger."""
        payload = {"user": user, "groups": sorted(set(groups)), "active": True, "by": by}

        def work(connection: sa.Connection) -> Change:
            change = enqueue(connection, "person", payload, now)
            values = {"pending_groups": payload["groups"], "outbox": change.id, "source": "operator", "seen_at": now}
            known = connection.execute(sa.select(t.person.c.outbox).where(t.person.c.user == user)).first()
            if known is None:
                connection.execute(sa.insert(t.person).values(user=user, active=False, groups=[], **values))
            else:
                replaced(connection, known.outbox)
                connection.execute(sa.update(t.person).where(t.person.c.user == user).values(**values))
            return change

        return await self._database.write(work)

    async def deactivate(self, user: str, by: str, now: datetime) -> Change | None:
        """Deny the person from this transaction on, whatever was on its way; None if there is no such active person."""
        values = {"active": False, "pending_groups": None, "outbox": None}

        def work(connection: sa.Connection) -> Change | None:
            known = connection.execute(sa.select(t.person).where(t.person.c.user == user)).first()
            if known is None or not (known.active or known.outbox):
                return None
            replaced(connection, known.outbox)
            connection.execute(sa.update(t.person).where(t.person.c.user == user).values(**values))
            return enqueue(connection, "person", {"user": user, "active": False, "by": by}, now)

        return await self._database.write(work)

    async def person(self, user: str) -> Person | None:
        def work(connection: sa.Connection) -> Person | None:
            row = connection.execute(sa.select(t.person).where(t.person.c.user == user)).first()
            return None if row is None else _person(row)

        return await self._database.read(work)

    async def people(self, after: str, limit: int) -> list[Person]:
        def work(connection: sa.Connection) -> list[Person]:
            statement = sa.select(t.person).where(t.person.c.user > after).order_by(t.person.c.user).limit(limit)
            return [_person(row) for row in connection.execute(statement)]

        return await self._database.read(work)


def _person(row: AnyRow) -> Person:
    return Person(row.user, row.active, tuple(row.groups), row.source, row.seen_at)


def finish_person(connection: sa.Connection, change: Change) -> None:
    if change.payload["active"]:
        values = {"active": True, "groups": change.payload["groups"], "pending_groups": None, "outbox": None}
        statement = sa.update(t.person).where(t.person.c.outbox == change.id)
        connection.execute(statement.values(**values, seen_at=datetime.now(UTC)))


FINISHERS: Mapping[str, Finisher] = {"person": finish_person}
