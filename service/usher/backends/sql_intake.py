"""Documents coming in, in SQL: staging, labels, and what the store still has to be told."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.keyring import KeyRing
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_documents import SealedText, seal_text, seal_tokens
from usher.backends.sql_outbox import Finisher, enqueue, replaced
from usher.backends.sql_shelved import SHELVED, as_placed, as_shelved
from usher.backends.sql_turn import Turn, one_at_a_time
from usher.ports import Change, LabelChange, Placed, Shelved, SourceState, Staged, Uncarried
from usher.ports.documents import NotStaged


class SqlIntake:
    """The `Intake` port."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring

    def turn(self, patience: float | None = None) -> AbstractAsyncContextManager[None]:
        return one_at_a_time(self._database, Turn.DOCUMENTS, patience)

    async def source(self, name: str) -> SourceState | None:
        def work(connection: sa.Connection) -> SourceState | None:
            row = connection.execute(sa.select(t.source).where(t.source.c.name == name)).first()
            return None if row is None else SourceState(row.used_acl, row.used_rules)

        return await self._database.read(work)

    async def remember_source(self, name: str, state: SourceState, now: datetime) -> None:
        values = {"used_acl": state.used_acl, "used_rules": state.used_rules, "ingested_at": now}

        def work(connection: sa.Connection) -> None:
            if connection.execute(sa.update(t.source).where(t.source.c.name == name).values(**values)).rowcount == 0:
                connection.execute(sa.insert(t.source).values(name=name, **values))

        await self._database.write(work)

    async def shelf(self, source: str) -> dict[str, Shelved]:
        statement = SHELVED.where(t.document.c.source == source)

        def work(connection: sa.Connection) -> dict[str, Shelved]:
            return {row.path: as_shelved(row) for row in connection.execute(statement)}

        return await self._database.read(work)

    async def placed(self, document: UUID) -> Placed | None:
        found = await self._placed(t.document.c.id == document)
        return found[0] if found else None

    async def placed_at(self, source: str, path: str) -> list[Placed]:
        return await self._placed((t.document.c.source == source) & (t.document.c.path == path))

    async def _placed(self, where: sa.ColumnElement[bool]) -> list[Placed]:
        document = t.document.c
        statement = (
            SHELVED.add_columns(document.source, document.pending, t.access_class.c.requirements)
            .join(t.access_class, t.access_class.c.id == document.access_class)
            .where(where, document.version.is_not(None), document.deleted_at.is_(None))
        )

        def work(connection: sa.Connection) -> list[Placed]:
            return [as_placed(row) for row in connection.execute(statement)]

        return await self._database.read(work)

    async def intern(self, sets: Sequence[frozenset[str]], readers: Mapping[str, frozenset[str]]) -> list[int]:
        digests = [_set_digest(requirements) for requirements in sets]

        def work(connection: sa.Connection) -> list[int]:
            named = set(connection.execute(sa.select(t.reader_list.c.name)).scalars()) if readers else set()
            lists = [
                {"name": name, "subjects": sorted(subjects)} for name, subjects in readers.items() if name not in named
            ]
            _insert_all(connection, t.reader_list, lists)
            known = _class_ids(connection)
            new = {digest: sorted(names) for digest, names in zip(digests, sets, strict=True) if digest not in known}
            numbers = itertools.count(max(known.values(), default=0) + 1)
            known |= dict(zip(new, numbers, strict=False))
            classes = [{"id": known[digest], "digest": digest, "requirements": names} for digest, names in new.items()]
            _insert_all(connection, t.access_class, classes)
            return [known[digest] for digest in digests]

        return await self._database.write(work)

    async def stage(self, versions: Sequence[Staged], now: datetime) -> None:
        def work(connection: sa.Connection) -> None:
            for staged in versions:
                _place_document(connection, staged)
                key = secrets.token_bytes(32)
                connection.execute(sa.insert(t.document_version).values(**self._version_row(staged, key, now)))
                _insert_all(connection, t.chunk, _chunk_rows(staged, key))

        await self._database.write(work)

    def _version_row(self, staged: Staged, key: bytes, now: datetime) -> dict[str, Any]:
        content = SealedText(staged.text, [list(chunk.headings) for chunk in staged.chunks])
        wrapped, sealed = seal_text(self._ring, key, staged.document, staged.version, content)
        copied = ("document", "version", "digest", "recipe", "title", "media_type", "size")
        row = {name: getattr(staged, name) for name in copied}
        row["title"] = staged.title.replace("\0", "")  # the one character that PostgreSQL keeps in no text
        return {**row, "chunks": len(staged.chunks), "wrapped_key": wrapped, "sealed_text": sealed, "created_at": now}

    async def begin(self, changes: Sequence[LabelChange], by: str, now: datetime) -> list[Change]:
        def work(connection: sa.Connection) -> list[Change]:
            return [_begin(connection, change, by, now) for change in changes]

        return await self._database.write(work)

    async def uncarried(self) -> list[Uncarried]:
        waiting = sa.select(t.document).where(sa.not_(t.document.c.carried), t.document.c.pending.is_(None))

        def work(connection: sa.Connection) -> list[Uncarried]:
            return [_uncarried(connection, row) for row in connection.execute(waiting).all()]

        return await self._database.read(work)

    async def carried(self, documents: Sequence[UUID]) -> None:
        done = sa.update(t.document).where(t.document.c.id.in_(documents)).values(carried=True)

        def work(connection: sa.Connection) -> None:
            connection.execute(done)

        await self._database.write(work)

    async def leftovers(self) -> list[UUID]:
        chunk = t.chunk.c

        def work(connection: sa.Connection) -> list[UUID]:
            return [
                ident
                for document, version in _unnamed(connection)
                for ident in connection.execute(
                    sa.select(chunk.id).where(chunk.document == document, chunk.version == version)
                ).scalars()
            ]

        return await self._database.read(work)

    async def discard(self) -> None:
        def work(connection: sa.Connection) -> None:
            for document, version in _unnamed(connection):
                for table in (t.chunk, t.document_version):
                    connection.execute(sa.delete(table).where(table.c.document == document, table.c.version == version))
            empty = ~sa.exists().where(t.document_version.c.document == t.document.c.id)
            connection.execute(sa.delete(t.document).where(empty, t.document.c.version.is_(None)))

        await self._database.write(work)


def _unnamed(connection: sa.Connection) -> list[tuple[UUID, int]]:
    """Versions newer than the current one that no pending change names."""
    version, document = t.document_version.c, t.document.c
    newer = version.version > sa.func.coalesce(document.version, 0)
    statement = (
        sa.select(version.document, version.version)
        .join(t.document, document.id == version.document)
        .where(newer, version.version != sa.func.coalesce(document.pending_version, -1))
    )
    return [(row.document, row.version) for row in connection.execute(statement)]


def _set_digest(requirements: frozenset[str]) -> str:
    return hashlib.sha256(msgspec.json.encode(sorted(requirements))).hexdigest()


def _class_ids(connection: sa.Connection) -> dict[str, int]:
    return {row.digest: row.id for row in connection.execute(sa.select(t.access_class.c.digest, t.access_class.c.id))}


def _insert_all(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(sa.insert(table), rows)


def _place_document(connection: sa.Connection, staged: Staged) -> None:
    if connection.execute(sa.select(t.document.c.id).where(t.document.c.id == staged.document)).first() is None:
        place = {"source": staged.source, "path": staged.path, "access_class": 0, "label_version": 0, "carried": True}
        connection.execute(sa.insert(t.document).values(id=staged.document, **place))


def _chunk_rows(staged: Staged, key: bytes) -> list[dict[str, Any]]:
    owner = {"document": staged.document, "version": staged.version}
    return [
        {**owner, "id": chunk.id, "position": position, "start": chunk.start, "end": chunk.end}
        | {"sealed_tokens": seal_tokens(key, staged.document, staged.version, position, chunk.tokens)}
        for position, chunk in enumerate(staged.chunks)
    ]


def _begin(connection: sa.Connection, change: LabelChange, by: str, now: datetime) -> Change:
    if change.kind == "put":
        _still_staged(connection, change)
    payload = {
        **change.why,
        "op": change.kind,
        "document": str(change.document),
        "version": change.version,
        "access_class": change.access_class,
        "by": by,
    }
    queued = enqueue(connection, "label" if change.kind == "label" else "document", payload, now)
    this = t.document.c.id == change.document
    replaced(connection, connection.execute(sa.select(t.document.c.outbox).where(this)).scalar_one())
    pending = {"pending": change.kind, "pending_version": change.version, "pending_class": change.access_class}
    connection.execute(sa.update(t.document).where(this).values(**pending, outbox=queued.id))
    return queued


def _still_staged(connection: sa.Connection, change: LabelChange) -> None:
    row = t.document_version.c
    staged = sa.select(row.version).where(row.document == change.document, row.version == change.version)
    if connection.execute(staged).first() is None:
        raise NotStaged(f"version {change.version} of document {change.document} is not staged any more")


def finish_label(connection: sa.Connection, change: Change) -> None:
    """The pending label becomes the label in force, under the next label version; the store is told after it."""
    payload = change.payload
    bumped = sa.update(t.state).values(label_version=t.state.c.label_version + 1).returning(t.state.c.label_version)
    values: dict[str, Any] = {
        "label_version": connection.execute(bumped).scalar_one(),
        "pending": None,
        "pending_version": None,
        "pending_class": None,
        "outbox": None,
        "carried": False,
    }
    this = (t.document.c.id == UUID(payload["document"])) & (t.document.c.outbox == change.id)
    if payload["op"] == "delete":
        values["deleted_at"] = datetime.now(UTC)
    else:
        values |= {"version": payload["version"], "access_class": payload["access_class"], "deleted_at": None}
    connection.execute(_superseded(payload["op"], payload["version"], this))
    connection.execute(sa.update(t.document).where(this).values(**values))


def _superseded(op: str, version: int | None, this: sa.ColumnElement[bool]) -> sa.Update:
    """What becomes of the versions before: those of a deleted document are nobody's, for good; one that another takes
    the place of keeps the class in force."""
    row, document = t.document_version.c, sa.select(t.document.c.id).where(this).scalar_subquery()
    if op == "delete":
        return sa.update(t.document_version).where(row.document == document).values(access_class=0)
    in_force = sa.select(t.document.c.access_class).where(this).scalar_subquery()
    current = sa.select(t.document.c.version).where(this).scalar_subquery()
    replaced_now = (row.document == document) & (row.version == current) & (row.version != version)
    unset = row.access_class.is_(None)
    return sa.update(t.document_version).where(replaced_now, unset).values(access_class=in_force)


def _uncarried(connection: sa.Connection, row: AnyRow) -> Uncarried:
    chunks = sa.select(t.chunk.c.id, t.chunk.c.version).where(t.chunk.c.document == row.id)
    move: list[UUID] = []
    delete: list[UUID] = []
    for chunk in connection.execute(chunks.order_by(t.chunk.c.version, t.chunk.c.position)):
        current = chunk.version == row.version and row.deleted_at is None
        (move if current else delete).append(chunk.id)
    return Uncarried(row.id, row.access_class, tuple(move), tuple(delete))


FINISHERS: Mapping[str, Finisher] = {"document": finish_label, "label": finish_label}
