"""Documents as material for adapters, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import sqlalchemy as sa

from usher.authority import Clock, utc_now
from usher.backends import sql_tables as t
from usher.backends.keyring import KeyRing, unseal
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_documents import SealedText, version_aad
from usher.ports.datasets import CHARACTERS, Standing, Text
from usher_lora.plan import Source

_D, _V, _C = t.document.c, t.document_version.c, t.chunk.c
_MONTH = timedelta(days=30)

_SETTLED = (
    sa.select(_D.id, _D.version, _D.access_class, _V.created_at)
    .join(t.document_version, (_V.document == _D.id) & (_V.version == _D.version))
    .where(_D.pending.is_(None), _D.deleted_at.is_(None), _D.carried, _D.version.is_not(None), _D.access_class > 0)
    .order_by(_D.id)
)
_TEXT = (
    sa.select(_V.title, _V.wrapped_key, _V.sealed_text)
    .join_from(t.document_version, t.document, (_V.document == _D.id) & (_V.version == _D.version))
    .where(_D.pending.is_(None), _D.deleted_at.is_(None), _D.carried)
)
_LENGTHS = (
    sa.select(_C.document, _C.version, sa.func.max(_C.end).label("length")).group_by(_C.document, _C.version).subquery()
)
_LIVES = (
    sa.select(
        _V.document,
        sa.func.count(sa.distinct(_V.digest)).label("files"),
        sa.func.min(_V.created_at).label("since"),
    )
    .join(t.document, (_D.id == _V.document) & (_V.version <= _D.version))
    .group_by(_V.document)
    .subquery()
)
_SOURCES = (
    _SETTLED.join(_LIVES, _LIVES.c.document == _D.id)
    .join(_LENGTHS, (_LENGTHS.c.document == _D.id) & (_LENGTHS.c.version == _D.version), isouter=True)
    .add_columns(_LIVES.c.files, _LIVES.c.since, _LENGTHS.c.length)
)


class SqlTrainingDocuments:
    """The `TrainingDocuments` port."""

    def __init__(self, database: Database, ring: KeyRing, clock: Clock = utc_now) -> None:
        self._database, self._ring, self._clock = database, ring, clock

    async def standing(self, classes: Sequence[int]) -> dict[UUID, Standing]:
        wanted = frozenset(classes)

        def work(connection: sa.Connection) -> dict[UUID, Standing]:
            rows = connection.execute(_SETTLED)
            return {row.id: _standing(row) for row in rows if row.access_class in wanted}

        return await self._database.read(work)

    async def text(self, document: UUID, standing: Standing) -> Text | None:
        this = (_D.id == document) & (_D.version == standing.version) & (_D.access_class == standing.access_class)

        def work(connection: sa.Connection) -> Text | None:
            row = connection.execute(_TEXT.where(this)).first()
            if row is None:
                return None
            return Text(document, standing, row.title, self._opened(row, document, standing.version))

        return await self._database.read(work)

    def _opened(self, row: AnyRow, document: UUID, version: int) -> str:
        bound = version_aad(document, version)
        sealed = unseal(self._ring.unwrap(row.wrapped_key, bound), row.sealed_text, bound)
        return msgspec.msgpack.decode(sealed, type=SealedText).text

    async def sources(self) -> list[Source]:
        now = self._clock()

        def work(connection: sa.Connection) -> list[Source]:
            return [_source(row, now) for row in connection.execute(_SOURCES)]

        return await self._database.read(work)


def _standing(row: AnyRow) -> Standing:
    return Standing(row.version, row.access_class, row.created_at)


def _source(row: AnyRow, now: datetime) -> Source:
    changes = (row.files - 1) / (max(now - row.since, _MONTH) / _MONTH)
    return Source(row.id, row.access_class, -(-(row.length or 0) // CHARACTERS), changes)
