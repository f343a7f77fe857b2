"""What adapters have learned, in SQL: by the documents of now, and by the parts that exposures name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_adapter_tables import adapter, adapter_document
from usher.core.learned import part_of
from usher.ports.learned import Labelled, Labels

_LABELS = sa.select(
    t.document.c.id, t.document.c.access_class, t.document.c.pending, t.document.c.pending_class, t.document.c.version
)
_OF_PART = (
    sa.select(t.document.c.id.is_(None).label("absent"), *(_LABELS.selected_columns[n] for n in (1, 2, 3)))
    .select_from(adapter_document)
    .join(t.document, t.document.c.id == adapter_document.c.document, isouter=True)
    .where(
        adapter_document.c.adapter == sa.bindparam("adapter"),
        adapter_document.c.access_class == sa.bindparam("learned_as"),
    )
    .distinct()
)


class SqlLearned:
    """The `Learned` port, and `Parts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def labels(self, adapters: Sequence[str]) -> Labels:
        learned = sa.select(adapter_document.c.document).where(adapter_document.c.adapter.in_(adapters))
        return await self._read(t.document.c.id.in_(learned))

    async def moved(self, since: int) -> Labels:
        return await self._read((t.document.c.label_version > since) | t.document.c.pending.is_not(None))

    async def parts_with(self, documents: Sequence[UUID]) -> dict[UUID, frozenset[UUID]]:
        of = adapter_document.c
        statement = sa.select(of.document, of.adapter, of.access_class).where(of.document.in_(documents)).distinct()

        def work(connection: sa.Connection) -> dict[UUID, frozenset[UUID]]:
            found: dict[UUID, set[UUID]] = defaultdict(set)
            for row in connection.execute(statement):
                found[row.document].add(part_of(row.adapter, row.access_class))
            return {document: frozenset(parts) for document, parts in found.items()}

        return await self._database.read(work)

    async def _read(self, which: sa.ColumnElement[bool]) -> Labels:
        def work(connection: sa.Connection) -> Labels:
            at = connection.execute(sa.select(t.state.c.label_version)).scalar_one()  # first: what comes later is newer
            rows = connection.execute(_LABELS.where(which))
            return Labels(at, {row.id: Labelled(classes_of(row), row.version) for row in rows})

        return await self._database.read(work)


class Parts:
    """The access classes of parts of what adapters learned. What a part is never changes, and is kept."""

    def __init__(self) -> None:
        self._known: dict[UUID, tuple[str, int]] = {}
        self._adapters: frozenset[str] = frozenset()

    def classes(self, connection: sa.Connection, parts: Iterable[UUID]) -> dict[UUID, tuple[int, ...]]:
        """All that any document of a part has now, or will have. What is no part of anything, and a part of which a
        document is not there any more, is not there."""
        wanted = list(parts)
        if not self._known.keys() >= set(wanted):
            self._learn(connection)
        found: dict[UUID, tuple[int, ...]] = {}
        for part in wanted:
            known = self._known.get(part)
            rows = [] if known is None else _of_part(connection, *known)
            if rows and not any(row.absent for row in rows):
                found[part] = tuple(sorted({number for row in rows for number in classes_of(row)}))
        return found

    def _learn(self, connection: sa.Connection) -> None:
        """Take in the adapters that were registered since."""
        new = frozenset(connection.execute(sa.select(adapter.c.id)).scalars()) - self._adapters
        for one in new:
            of_it = sa.select(adapter_document.c.access_class).where(adapter_document.c.adapter == one).distinct()
            for number in connection.execute(of_it).scalars():
                self._known[part_of(one, number)] = (one, number)
        self._adapters |= new


def _of_part(connection: sa.Connection, one: str, learned_as: int) -> Sequence[AnyRow]:
    return connection.execute(_OF_PART, {"adapter": one, "learned_as": learned_as}).all()


def classes_of(row: AnyRow) -> tuple[int, ...]:
    """A document's access class and, while it changes, the next."""
    changes = row.pending in ("put", "label") and row.pending_class is not None
    return (row.access_class, row.pending_class) if changes else (row.access_class,)
