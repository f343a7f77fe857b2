"""What documents are called, in SQL: for reviewers, whoever may read the documents."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import Database
from usher.ports.audit_index import DocumentName

_SOME = 500
"""Ids in one query."""

_STAGED = sa.func.coalesce(t.document.c.version, t.document_version.c.version)
_NAMES = (
    sa.select(t.document.c.id, t.document.c.source, t.document.c.path, t.document_version.c.title)
    .outerjoin(
        t.document_version,
        sa.and_(t.document_version.c.document == t.document.c.id, t.document_version.c.version <= _STAGED),
    )
    .order_by(t.document_version.c.version)
)
"""Each document once for each version that it has had, the newest last; the title is read off that one."""


class SqlNames:
    """The `DocumentNames` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def named(self, documents: Sequence[UUID]) -> dict[UUID, DocumentName]:
        def work(connection: sa.Connection) -> dict[UUID, DocumentName]:
            found: dict[UUID, DocumentName] = {}
            for start in range(0, len(documents), _SOME):
                query = _NAMES.where(t.document.c.id.in_(documents[start : start + _SOME]))
                found |= {row.id: DocumentName(row.source, row.path, row.title) for row in connection.execute(query)}
            return found

        return await self._database.read(work)

    async def at(self, path: str, source: str | None) -> list[UUID]:
        query = sa.select(t.document.c.id).where(t.document.c.path == path).order_by(t.document.c.id)
        if source is not None:
            query = query.where(t.document.c.source == source)
        return await self._database.read(lambda connection: list(connection.execute(query).scalars()))
