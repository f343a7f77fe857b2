"""Conversations and exchanges, in SQL: ids, times, digests and exposures; no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_outbox import Finisher, enqueue
from usher.ports import Change
from usher.ports.conversations import ConversationRow, ExchangeRow

_C, _X = t.conversation.c, t.exchange.c
_PLACE = (_C.updated_at.type, _C.id.type)
_CONVERSATION = sa.select(*(_C[field.name] for field in fields(ConversationRow)))
_ROW = [_X[field.name] for field in fields(ExchangeRow)]
_EXCHANGE = sa.select(*_ROW).join(t.conversation, _C.id == _X.conversation).where(_C.deleted_at.is_(None))

# Made once: what every question and every answer asks for. A last use is never before what it was, should the clock
# have been set back.
_THIS, _LAST_USE = sa.bindparam("this", type_=_C.id.type), sa.bindparam("used", type_=_C.updated_at.type)
_KEPT = sa.select(
    sa.select(sa.func.coalesce(sa.func.sum(_X.size), 0)).where(_X.user == sa.bindparam("who")).scalar_subquery(),
    sa.select(sa.func.count())
    .select_from(t.conversation)
    .where(_C.user == sa.bindparam("who"), _C.deleted_at.is_(None))
    .scalar_subquery(),
)
_KNOWN = sa.select(_C.user, _C.deleted_at, _C.sealed_title).where(_C.id == _THIS)
_NEW_CONVERSATION, _NEW_EXCHANGE = sa.insert(t.conversation), sa.insert(t.exchange)
_TITLED = (
    sa.update(t.conversation)
    .where(_C.id == _THIS)
    .values(sealed_title=sa.bindparam("sealed_title"), title_exposures=sa.bindparam("title_exposures"))
)
_USED = (
    sa.update(t.conversation)
    .where(_C.id == _THIS)
    .values(updated_at=sa.case((_C.updated_at < _LAST_USE, _LAST_USE), else_=_C.updated_at))
)
_ENDED = (
    sa.update(t.exchange)
    .where(_X.id == _THIS)
    .values(
        outcome=sa.bindparam("outcome"),
        answer_digest=sa.bindparam("answer_digest"),
        size=_X.size + sa.bindparam("more", type_=_X.size.type),
        cited=sa.bindparam("cited"),
    )
    .returning(_X.conversation)
)


class SqlConversations:
    """The `ConversationIndex` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, user: str, row: ConversationRow) -> None:
        def work(connection: sa.Connection) -> None:
            connection.execute(sa.insert(t.conversation).values(user=user, **_values(row)))

        await self._database.write(work)

    async def page(self, user: str, before: tuple[datetime, UUID] | None, limit: int) -> list[ConversationRow]:
        statement = _CONVERSATION.where(*_own(user)).order_by(_C.updated_at.desc(), _C.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(sa.tuple_(_C.updated_at, _C.id) < sa.tuple_(*before, types=_PLACE))
        return await self._conversations(statement)

    async def get(self, user: str, conversation: UUID) -> ConversationRow | None:
        found = await self._conversations(_CONVERSATION.where(*_own(user), _C.id == conversation))
        return found[0] if found else None

    async def count(self, user: str) -> int:
        return (await self.kept(user))[1]

    async def kept(self, user: str) -> tuple[int, int]:
        def work(connection: sa.Connection) -> tuple[int, int]:
            size, conversations = connection.execute(_KEPT, {"who": user}).one()
            return int(size), int(conversations)

        return await self._database.read(work)

    async def rename(self, user: str, conversation: UUID, sealed_title: bytes, exposures: bytes) -> bool:
        statement = sa.update(t.conversation).where(*_own(user), _C.id == conversation)
        return await self._changed(statement.values(sealed_title=sealed_title, title_exposures=exposures))

    async def delete(self, user: str, conversation: UUID, now: datetime) -> Change | None:
        gone = {"deleted_at": now, "sealed_title": None, "title_exposures": b""}  # a title is no part of the record
        statement = sa.update(t.conversation).where(*_own(user), _C.id == conversation).values(gone)
        payload = {"op": "delete", "conversation": str(conversation), "user": user}

        def work(connection: sa.Connection) -> Change | None:
            if connection.execute(statement).rowcount == 0:
                return None
            return enqueue(connection, "conversation", payload, now)

        return await self._database.write(work)

    async def exchanges(self, user: str, conversation: UUID) -> list[ExchangeRow]:
        own = _EXCHANGE.where(_X.conversation == conversation, _C.user == user)  # not by the person's index: it is long
        return await self._exchanges(own.order_by(_X.created_at, _X.id))

    async def path(self, user: str, conversation: UUID, tip: UUID | None, limit: int) -> list[ExchangeRow]:
        here = _EXCHANGE.where(_X.conversation == conversation, _X.user == user)
        recent = await self._exchanges(here.order_by(_X.id.desc()).limit(limit))
        if tip is None and recent:
            tip = max(recent, key=lambda row: (row.created_at, row.id)).id
        way = _way_back({row.id: row for row in recent}, tip)
        if len(way) == limit or (way and way[0].parent is None):
            return way
        return [] if tip is None else await self._exchanges(_climbing(here, tip, limit))

    async def newest(self, user: str, limit: int) -> list[ExchangeRow]:
        return await self._exchanges(_EXCHANGE.where(_X.user == user).order_by(_X.id.desc()).limit(limit))

    async def exchange(self, user: str, exchange: UUID) -> ExchangeRow | None:
        found = await self._exchanges(_EXCHANGE.where(_X.id == exchange, _X.user == user))
        return found[0] if found else None

    async def by_answer(self, user: str, digests: Sequence[bytes]) -> list[ExchangeRow]:
        if not digests:
            return []
        matching = _EXCHANGE.where(_X.user == user, _X.answer_digest.in_(list(digests)))
        return await self._exchanges(matching.order_by(_X.created_at, _X.id))

    async def begin(self, user: str, row: ExchangeRow, sealed_title: bytes | None) -> bool:
        def work(connection: sa.Connection) -> bool:
            run, this = connection.execute, {"this": row.conversation}
            known = run(_KNOWN, this).first()
            if known is not None and (known.user != user or known.deleted_at is not None):
                return False
            titled = {"sealed_title": sealed_title, "title_exposures": b"" if sealed_title is None else row.exposures}
            if known is None:
                made = {"id": row.conversation, "user": user, "created_at": row.created_at}
                run(_NEW_CONVERSATION, {**made, "updated_at": row.created_at, **titled})
            else:
                run(_USED, {**this, "used": row.created_at})
                if known.sealed_title is None and sealed_title is not None:
                    run(_TITLED, {**this, **titled})
            run(_NEW_EXCHANGE, {"user": user, **_values(row)})
            return True

        return await self._database.write(work)

    async def end(
        self,
        exchange: UUID,
        outcome: str,
        answer_digest: bytes | None,
        now: datetime,
        size: int = 0,
        cited: bytes = b"",
    ) -> None:
        values = {"outcome": outcome, "answer_digest": answer_digest, "more": size, "cited": cited}

        def work(connection: sa.Connection) -> None:
            row = connection.execute(_ENDED, {"this": exchange, **values}).first()
            if row is not None:
                connection.execute(_USED, {"this": row.conversation, "used": now})

        await self._database.write(work)

    async def unended(self) -> list[UUID]:
        def work(connection: sa.Connection) -> list[UUID]:
            return list(connection.execute(sa.select(_X.id).where(_X.outcome.is_(None))).scalars())

        return await self._database.read(work)

    async def interrupted(self, exchanges: Sequence[UUID]) -> int:
        these = sa.update(t.exchange).where(_X.id == sa.bindparam("lost"), _X.outcome.is_(None))

        def work(connection: sa.Connection) -> int:
            ended = [connection.execute(these.values(outcome="interrupted"), {"lost": ident}) for ident in exchanges]
            return sum(result.rowcount for result in ended)

        return await self._database.write(work)

    async def _changed(self, statement: sa.Update) -> bool:
        def work(connection: sa.Connection) -> bool:
            return connection.execute(statement).rowcount > 0

        return await self._database.write(work)

    async def _conversations(self, statement: sa.Select[Any]) -> list[ConversationRow]:
        def work(connection: sa.Connection) -> list[ConversationRow]:
            return [ConversationRow(*row) for row in connection.execute(statement)]

        return await self._database.read(work)

    async def _exchanges(self, statement: sa.Select[Any]) -> list[ExchangeRow]:
        def work(connection: sa.Connection) -> list[ExchangeRow]:
            return [_exchange(row) for row in connection.execute(statement).all()]

        return await self._database.read(work)


def _way_back(rows: Mapping[UUID, ExchangeRow], tip: UUID | None) -> list[ExchangeRow]:
    """From `tip` as far as `rows` go, oldest first."""
    way: dict[UUID, ExchangeRow] = {}
    while tip is not None and tip in rows and tip not in way:
        way[tip] = rows[tip]
        tip = rows[tip].parent
    return list(way.values())[::-1]


def _climbing(here: sa.Select[Any], tip: UUID, limit: int) -> sa.Select[Any]:
    """The way back from an exchange that is not among the newest, step by step in the database."""
    first = here.with_only_columns(_X.id, _X.parent, _X.conversation, sa.literal(0, sa.Integer).label("back"))
    up = first.where(_X.id == tip).cte("up", recursive=True)
    further = sa.select(_X.id, _X.parent, _X.conversation, up.c.back + 1)
    up = up.union_all(further.where(_X.conversation == up.c.conversation, _X.id == up.c.parent, up.c.back < limit - 1))
    return sa.select(*_ROW).join(up, up.c.id == _X.id).order_by(up.c.back.desc())


def _own(user: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _C.user == user, _C.deleted_at.is_(None)


def _values(row: ConversationRow | ExchangeRow) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _exchange(row: AnyRow) -> ExchangeRow:
    return ExchangeRow(*row)


def _nothing_more(connection: sa.Connection, change: Change) -> None:
    """A deletion binds from its own transaction on."""


FINISHERS: Mapping[str, Finisher] = {"conversation": _nothing_more}
