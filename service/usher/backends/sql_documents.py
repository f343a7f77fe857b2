"""Reading documents, in SQL: a passage's label, its text and its token vectors come from one query.

A version's text, headings and token vectors are sealed under that version's own key, which the key ring wraps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.keyring import KeyRing, seal, unseal
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_learned import Parts, classes_of
from usher.core.late import TOKEN_DIMENSIONS, TokenVectors
from usher.core.learned import is_part
from usher.core.passages import Label, Passage
from usher.ports import DocumentInfo, Opened


class SealedText(msgspec.Struct, array_like=True):
    """What is sealed of a version: its text, and the heading path of each chunk by position."""

    text: str
    headings: list[list[str]]


def seal_text(ring: KeyRing, key: bytes, document: UUID, version: int, content: SealedText) -> tuple[bytes, bytes]:
    """(wrapped key, sealed text) of one version; both are bound to the document and version."""
    bound = version_aad(document, version)
    return ring.wrap(key, bound), seal(key, msgspec.msgpack.encode(content), bound)


def _open_text(ring: KeyRing, wrapped: bytes, sealed: bytes, document: UUID, version: int) -> tuple[bytes, SealedText]:
    """The version's key, and what it sealed."""
    bound = version_aad(document, version)
    key = ring.unwrap(wrapped, bound)
    return key, msgspec.msgpack.decode(unseal(key, sealed, bound), type=SealedText)


def seal_tokens(key: bytes, document: UUID, version: int, position: int, tokens: TokenVectors | None) -> bytes | None:
    """A chunk's token vectors under its version's key, bound to their place in it."""
    return None if tokens is None else seal(key, tokens.tobytes(), _place(document, version, position))


def _open_tokens(key: bytes, sealed: bytes | None, document: UUID, version: int, position: int) -> TokenVectors | None:
    if sealed is None:
        return None
    opened = unseal(key, sealed, _place(document, version, position))
    return np.frombuffer(opened, dtype=np.int8).reshape(-1, TOKEN_DIMENSIONS)


def _place(document: UUID, version: int, position: int) -> bytes:
    return version_aad(document, version) + f":tokens:{position}".encode()


def version_aad(document: UUID, version: int) -> bytes:
    """What a version's key and text are bound to."""
    return f"document:{document}:{version}".encode()


class SqlDocuments:
    """The `Documents` port."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring
        self._parts = Parts()

    async def passages(self, chunks: Sequence[UUID]) -> dict[UUID, Passage]:
        """Labels and texts from one query. Each version is opened once, and let go before the next is opened."""

        def work(connection: sa.Connection) -> dict[UUID, Passage]:
            return dict(self._passages(connection.execute(_PASSAGES, {"chunks": list(chunks)})))

        return await self._database.read(work)

    def _passages(self, rows: Iterable[AnyRow]) -> Iterator[tuple[UUID, Passage]]:
        key, content = b"", SealedText("", [])
        for row in rows:
            if row.sealed_text is not None:  # the first of its version
                key, content = _open_text(self._ring, row.wrapped_key, row.sealed_text, row.document, row.chunk_version)
            yield row.chunk, _passage(row, key, content)

    async def labels(self, chunks: Sequence[UUID]) -> dict[UUID, Label]:
        statement = _LABELS.where(t.chunk.c.id.in_(chunks))

        def work(connection: sa.Connection) -> dict[UUID, Label]:
            return {row.chunk: _label(row) for row in connection.execute(statement)}

        return await self._database.read(work)

    async def current_classes(self, documents: Sequence[UUID]) -> dict[UUID, tuple[int, ...]]:
        parts = [ident for ident in documents if is_part(ident)]

        def work(connection: sa.Connection) -> dict[UUID, tuple[int, ...]]:
            found = self._parts.classes(connection, parts) if parts else {}
            for start in range(0, len(documents), _SOME):
                some = _CLASSES.where(t.document.c.id.in_(documents[start : start + _SOME]))
                found |= {row.id: classes_of(row) for row in connection.execute(some)}
            return found

        few = len(documents) <= _AT_A_GLANCE and not parts
        return await (self._database.glance(work) if few else self._database.read(work))

    async def per_class(self) -> dict[int, int]:
        def work(connection: sa.Connection) -> dict[int, int]:
            return {row.access_class: row.documents for row in connection.execute(_PER_CLASS)}

        return await self._database.read(work)

    async def page(self, classes: Sequence[int], after: UUID | None, limit: int) -> list[DocumentInfo]:
        statement = _in_scope(classes).order_by(t.document.c.id).limit(limit)
        if after is not None:
            statement = statement.where(t.document.c.id > after)

        def work(connection: sa.Connection) -> list[DocumentInfo]:
            return [_info(row) for row in connection.execute(statement)]

        return await self._database.read(work)

    async def open(self, document: UUID, classes: Sequence[int], chunk: UUID | None = None) -> Opened | None:
        statement = _opening(document, classes, chunk)

        def work(connection: sa.Connection) -> Opened | None:
            row = connection.execute(statement).first()
            return None if row is None else self._opened(row)

        return await self._database.read(work)

    def _opened(self, row: AnyRow) -> Opened:
        info = _info(row)
        text = _open_text(self._ring, row.wrapped_key, row.sealed_text, info.id, info.version)[1].text
        return Opened(info, row.current_version, text, None if row.start is None else (row.start, row.end))


_AT_A_GLANCE = 100
"""Ids whose classes are looked up at once: every prompt and every page of old answers asks for some."""
_SOME = 5_000
"""Ids in one query."""

_CLASSES = sa.select(t.document.c.id, t.document.c.access_class, t.document.c.pending, t.document.c.pending_class)


_PER_CLASS = (
    sa.select(t.document.c.access_class, sa.func.count().label("documents"))
    .where(t.document.c.access_class > 0, t.document.c.deleted_at.is_(None))
    .group_by(t.document.c.access_class)
)


_LABELS = (
    sa.select(
        t.chunk.c.id.label("chunk"),
        t.chunk.c.document,
        t.chunk.c.version.label("chunk_version"),
        t.document.c.version,
        t.document.c.access_class,
        t.document.c.label_version,
        t.document.c.pending,
        t.document.c.carried,
        t.document.c.deleted_at,
    )
    .select_from(t.chunk)
    .join(t.document, t.document.c.id == t.chunk.c.document)
)

_ROWS = (
    _LABELS.join(
        t.document_version,
        (t.document_version.c.document == t.chunk.c.document) & (t.document_version.c.version == t.chunk.c.version),
    )
    .add_columns(
        t.chunk.c.position,
        t.chunk.c.start,
        t.chunk.c.end,
        t.chunk.c.sealed_tokens,
        t.document.c.source,
        t.document.c.path,
        t.document_version.c.title,
        t.document_version.c.digest,
        t.document_version.c.wrapped_key,
        sa.func.row_number()
        .over(partition_by=(t.chunk.c.document, t.chunk.c.version), order_by=t.chunk.c.position)
        .label("nth"),
    )
    .where(t.chunk.c.id.in_(sa.bindparam("chunks", type_=sa.Uuid, expanding=True)))
    .subquery()
)
_TEXT = (
    sa.select(t.document_version.c.sealed_text)
    .where(t.document_version.c.document == _ROWS.c.document, t.document_version.c.version == _ROWS.c.chunk_version)
    .scalar_subquery()
)
_PASSAGES = sa.select(_ROWS, sa.case((_ROWS.c.nth == 1, _TEXT)).label("sealed_text")).order_by(
    _ROWS.c.document, _ROWS.c.chunk_version, _ROWS.c.nth
)
"""The text, which may be megabytes, comes with the first passage of its version only."""


def _passage(row: AnyRow, key: bytes, content: SealedText) -> Passage:
    return Passage(
        label=_label(row),
        document=row.document,
        source=row.source,
        path=row.path,
        title=row.title,
        headings=tuple(content.headings[row.position]),
        position=row.position,
        start=row.start,
        end=row.end,
        text=content.text[row.start : row.end],
        digest=row.digest,
        tokens=_open_tokens(key, row.sealed_tokens, row.document, row.chunk_version, row.position),
    )


def _label(row: AnyRow) -> Label:
    return Label(
        chunk=row.chunk,
        chunk_version=row.chunk_version,
        version=row.version,
        access_class=row.access_class,
        label_version=row.label_version,
        pending=row.pending is not None,
        carried=row.carried,
        deleted=row.deleted_at is not None,
    )


def _in_scope(classes: Sequence[int], shown: sa.ColumnElement[Any] = t.document.c.version) -> sa.Select[Any]:
    """Documents of the classes, at the `shown` version; one that is changing is in nobody's scope until it is done."""
    document, version = t.document.c, t.document_version.c
    return (
        sa.select(*_INFO, t.access_class.c.requirements)
        .select_from(t.document)
        .join(t.document_version, version.document == document.id)
        .join(t.access_class, t.access_class.c.id == document.access_class)
        .where(_any_of(document.access_class, classes), document.pending.is_(None), document.deleted_at.is_(None))
        .where(version.version == shown)
    )


_INFO = (
    *(t.document.c[name] for name in ("id", "source", "path")),
    *(t.document_version.c[name] for name in ("title", "version", "media_type", "size", "chunks", "created_at")),
)


def _any_of(column: sa.ColumnElement[Any], classes: Sequence[int]) -> sa.ColumnElement[bool]:
    return column.in_(sa.bindparam("classes", list(classes), expanding=True, literal_execute=True))


def _opening(document: UUID, classes: Sequence[int], chunk: UUID | None) -> sa.Select[Any]:
    """An earlier version, which a chunk leads to, must have been readable too when another took its place."""
    version, current = t.document_version.c, t.document.c.version
    place = (t.chunk.c.start, t.chunk.c.end) if chunk else (sa.null().label("start"), sa.null().label("end"))
    statement = (
        _in_scope(classes, t.chunk.c.version if chunk else current)
        .where(t.document.c.id == document)
        .add_columns(version.wrapped_key, version.sealed_text, current.label("current_version"), *place)
    )
    if chunk is None:
        return statement
    earlier = (version.version < current) & _any_of(version.access_class, classes)
    this = (t.chunk.c.id == chunk) & (t.chunk.c.document == t.document.c.id)
    return statement.where(this, (version.version == current) | earlier)


def _info(row: AnyRow) -> DocumentInfo:
    given = row._mapping
    values = {column.name: given[column.name] for column in _INFO}
    return DocumentInfo(**values, requirements=tuple(given["requirements"]))
