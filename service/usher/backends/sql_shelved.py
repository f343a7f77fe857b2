"""Documents as they stand on their shelf: the rows of their current versions."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow
from usher.ports import Placed, Shelved


def _statement() -> sa.Select[Any]:
    """Documents with their current version's row, if there is one, and the number of their newest."""
    document, version = t.document.c, t.document_version.c
    newest = t.document_version.alias("newest").c
    last = sa.select(sa.func.max(newest.version)).where(newest.document == document.id).scalar_subquery()
    current = (version.document == document.id) & (version.version == document.version)
    return (
        sa.select(document.id, document.path, document.version, document.access_class, document.deleted_at)
        .add_columns(version.digest, version.recipe, version.chunks, last.label("last"))
        .select_from(t.document.outerjoin(t.document_version, current))
    )


SHELVED = _statement()


def as_placed(row: AnyRow) -> Placed:
    return Placed(row.source, row.path, frozenset(row.requirements), row.pending is not None, as_shelved(row))


def as_shelved(row: AnyRow) -> Shelved:
    return Shelved(
        document=row.id,
        version=row.version,
        last_version=row.last or 0,
        digest=row.digest,
        recipe=row.recipe,
        access_class=row.access_class,
        chunks=row.chunks or 0,
        deleted=row.deleted_at is not None,
    )
