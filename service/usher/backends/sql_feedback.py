"""Feedback, in SQL: verdicts, and words that are sealed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_outbox import Finisher, enqueue
from usher.ports import Change
from usher.ports.feedback import FeedbackRow, Given, Verdict

_F, _X, _C = t.feedback.c, t.exchange.c, t.conversation.c
_GIVEN = (
    sa.select(_F.id, _F.exchange, _F.created_at, _F.verdict, _F.sealed, _F.user, _X.conversation, _X.exposures)
    .join(t.exchange, _X.id == _F.exchange)
    .join(t.conversation, _C.id == _X.conversation)
    .where(_F.active, _C.deleted_at.is_(None))
)


class SqlFeedback:
    """The `FeedbackStore` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, user: str, row: FeedbackRow, commitment: str, *, train: bool = False) -> Change | None:
        known = sa.select(_X.id).join(t.conversation, _C.id == _X.conversation)
        own = known.where(_X.id == row.exchange, _X.user == user, _C.user == user, _C.deleted_at.is_(None))
        own = own.where(_X.dropped_at.is_(None))
        payload = {
            "feedback": str(row.id),
            "exchange": str(row.exchange),
            "verdict": row.verdict.value,
            "commitment": commitment,
            "train": train,
            "user": user,
        }
        values = {"id": row.id, "exchange": row.exchange, "user": user, "created_at": row.created_at}

        def work(connection: sa.Connection) -> Change | None:
            if connection.execute(own).first() is None:
                return None
            pending = sa.insert(t.feedback).values(**values, verdict=row.verdict, sealed=row.sealed, active=False)
            connection.execute(pending)
            return enqueue(connection, "feedback", payload, row.created_at)

        return await self._database.write(work)

    async def own(self, user: str, exchange: UUID) -> Given | None:
        found = await self._given(_GIVEN.where(_F.exchange == exchange, _F.user == user, _X.user == user))
        return found[0] if found else None

    async def within(self, user: str, conversation: UUID) -> list[Given]:
        own = (_F.user == user) & (_X.user == user) & (_C.user == user)
        return await self._given(_GIVEN.where(own, _X.conversation == conversation))

    async def page(self, before: UUID | None, limit: int) -> list[Given]:
        statement = _GIVEN.order_by(_F.id.desc()).limit(limit)
        return await self._given(statement if before is None else statement.where(_F.id < before))

    async def _given(self, statement: sa.Select[Any]) -> list[Given]:
        def work(connection: sa.Connection) -> list[Given]:
            return [_of(row) for row in connection.execute(statement)]

        return await self._database.read(work)


def _of(row: AnyRow) -> Given:
    feedback = FeedbackRow(row.id, row.exchange, row.created_at, Verdict(row.verdict), row.sealed)
    return Given(feedback, row.user, row.conversation, row.exposures)


def finish_feedback(connection: sa.Connection, change: Change) -> None:
    """It takes the place of the one that stood there: the order in the ledger decides which is the last."""
    exchange, ident = UUID(change.payload["exchange"]), UUID(change.payload["feedback"])
    connection.execute(sa.delete(t.feedback).where(_F.exchange == exchange, _F.active))
    connection.execute(sa.update(t.feedback).where(_F.id == ident).values(active=True))


FINISHERS: Mapping[str, Finisher] = {"feedback": finish_feedback}
