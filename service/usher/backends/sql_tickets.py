"""One-use tickets, in SQL."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import Database
from usher.core.standing import Credential

_T = t.ws_ticket.c


class SqlTickets:
    """The `Tickets` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, digest: bytes, credential: Credential, expires_at: datetime, now: datetime) -> None:
        values = {"digest": digest, "credential": credential.id, "user": credential.user, "expires_at": expires_at}

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(t.ws_ticket).where(_T.expires_at <= now))
            connection.execute(sa.insert(t.ws_ticket).values(**values))

        await self._database.write(work)

    async def take(self, digest: bytes, now: datetime) -> Credential | None:
        taken = sa.delete(t.ws_ticket).where(_T.digest == digest).returning(_T.credential, _T.user, _T.expires_at)

        def work(connection: sa.Connection) -> Credential | None:
            row = connection.execute(taken).first()
            return None if row is None or now >= row.expires_at else Credential("key", row.credential, row.user)

        return await self._database.write(work)
