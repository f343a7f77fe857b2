"""What is erased from the metadata database, and the keys that survive it, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import anyio.to_thread
import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.keyring import KeyRing, SealBroken
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_case_tables import audit_case
from usher.backends.sql_cases import bound as case_aad
from usher.backends.sql_cases import forget_cases_about
from usher.backends.sql_changeset_tables import changeset, comment_aad, forget_comments_of
from usher.backends.sql_documents import version_aad
from usher.backends.sql_outbox import bump_revision
from usher.backends.sql_proposal_tables import proposal
from usher.backends.sql_proposals import reason_aad

BATCH = 500
"""Keys that one transaction wraps anew."""
_PATIENCE = 50
"""Times, a tenth of a second apart, that readers are waited for before the write-ahead log is cut."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A table whose rows have a `wrapped_key`: how a row is told from others, and what its key is bound to."""

    table: sa.Table
    key: tuple[str, ...]
    bound: Callable[..., bytes]


WRAPPED: tuple[Wrapped, ...] = (
    Wrapped(t.document_version, ("document", "version"), version_aad),
    Wrapped(proposal, ("id",), reason_aad),
    Wrapped(audit_case, ("id",), case_aad),
    Wrapped(changeset, ("id",), comment_aad),
)
"""Every table that holds keys under the key ring: one that is left out could not be opened after an erasure."""

PERSONAL: Mapping[str, sa.Table] = {
    "tickets": t.ws_ticket,
    "feedback": t.feedback,
    "exchanges": t.exchange,
    "conversations": t.conversation,
    "keys": t.api_key,
    "people": t.person,
}
"""The tables whose rows are somebody's: each has a column `user`."""


class SqlErasure:
    """The `Erasable` port."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database, self._ring = database, ring

    async def forget_person(self, item: UUID, user: str | None, pseudonym: str) -> dict[str, int]:
        known = sa.select(t.person.c.user)

        def work(connection: sa.Connection) -> dict[str, int]:
            counts = {}
            for name, table in PERSONAL.items():
                theirs = table.c.user.not_in(known) if user is None else table.c.user == user
                counts[name] = connection.execute(sa.delete(table).where(theirs)).rowcount
            _forget_words(connection, lambda row: row.subject == pseudonym or _asked_by(row) == pseudonym)
            forget_cases_about(connection, pseudonym)
            forget_comments_of(connection, pseudonym)
            bump_revision(connection)
            return _counted(connection, item, counts)

        return await self._database.write(work)

    async def version_keys(self, document: UUID) -> list[bytes] | None:
        version = t.document_version.c
        known = sa.select(t.document.c.id).where(t.document.c.id == document)

        def work(connection: sa.Connection) -> list[bytes] | None:
            if connection.execute(known).first() is None:
                return None
            keys = sa.select(version.wrapped_key).where(version.document == document)
            return list(connection.execute(keys).scalars())

        return await self._database.read(work)

    async def forget_document(self, item: UUID, document: UUID) -> dict[str, int]:
        row, this = t.document_version.c, t.chunk.c.document == document
        gone = sa.select(t.document.c.id).where(t.document.c.id == document, t.document.c.deleted_at.is_not(None))
        blank = {"title": "", "digest": "", "wrapped_key": b"", "sealed_text": b"", "size": 0}
        versions = sa.update(t.document_version).where(row.document == document, row.wrapped_key != b"").values(**blank)

        def work(connection: sa.Connection) -> dict[str, int]:
            if connection.execute(gone).first() is None:
                raise LookupError("the document is not deleted")
            counts = {
                "versions": connection.execute(versions).rowcount,
                "chunks": connection.execute(sa.delete(t.chunk).where(this)).rowcount,
            }
            _forget_words(connection, lambda row: str(document) in row.parts)
            bump_revision(connection)
            return _counted(connection, item, counts)

        return await self._database.write(work)

    async def counts(self, item: UUID) -> dict[str, int]:
        return await self._database.read(lambda connection: _counted(connection, item, None))

    async def rewrap(self, left_out: Collection[UUID]) -> int:
        return sum([await self._rewrapped(wrapped, left_out) for wrapped in WRAPPED])

    async def _rewrapped(self, wrapped: Wrapped, left_out: Collection[UUID]) -> int:
        done, after = 0, None
        while True:
            page, renewed = await self._database.write(self._batch(wrapped, after, left_out))
            done += renewed
            if len(page) < BATCH:
                return done
            after = page[-1]

    def _batch(
        self, wrapped: Wrapped, after: Sequence[Any] | None, left_out: Collection[UUID]
    ) -> Callable[[sa.Connection], tuple[list[Sequence[Any]], int]]:
        """The keys of the next rows, wrapped anew in one transaction: nobody else writes meanwhile."""
        columns = [wrapped.table.c[name] for name in wrapped.key]
        query = sa.select(*columns, wrapped.table.c.wrapped_key).order_by(*columns).limit(BATCH)
        if after is not None:
            query = query.where(sa.tuple_(*columns) > sa.tuple_(*after, types=[column.type for column in columns]))

        def work(connection: sa.Connection) -> tuple[list[Sequence[Any]], int]:
            page: list[Sequence[Any]] = []
            renewed = 0
            for *place, blob in connection.execute(query).all():
                page.append(tuple(place))
                key = None if place[0] in left_out else self._anew(blob, wrapped.bound(*place))
                if key is not None:
                    this = sa.and_(*(column == value for column, value in zip(columns, place, strict=True)))
                    connection.execute(sa.update(wrapped.table).where(this).values(wrapped_key=key))
                    renewed += 1
            return page, renewed

        return work

    def _anew(self, blob: bytes | None, bound: bytes) -> bytes | None:
        """None for a key that is under the current wrapping key, and for one that opens no more."""
        if not blob or self._ring.is_current(blob):
            return None
        try:
            return self._ring.wrap(self._ring.unwrap(blob, bound), bound)
        except SealBroken:
            return None

    async def scrub(self, tables: Collection[str]) -> None:
        await anyio.to_thread.run_sync(self._scrub, sorted(tables))

    def _scrub(self, tables: Sequence[str]) -> None:
        if self._database.engine.dialect.name == "sqlite":
            self._scrub_file()
            return
        with self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            quote = connection.dialect.identifier_preparer.quote
            connection.exec_driver_sql("VACUUM FULL " + ", ".join(map(quote, tables)))

    def _scrub_file(self) -> None:
        """Freed bytes are zeroed at once (`secure_delete`), but pages may keep parts of rows that were moved, and the
        write-ahead log has the old pages."""
        connection = self._database.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("VACUUM")
            for _ in range(_PATIENCE):
                if not cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    return
                anyio.from_thread.run(anyio.sleep, 0.1)
            raise TimeoutError("readers of the metadata database keep its write-ahead log")
        finally:
            connection.close()


def _counted(connection: sa.Connection, item: UUID, counts: dict[str, int] | None) -> dict[str, int]:
    """The counts kept with a proposal, these if there are none yet: what is done again finds nothing left."""
    kept = connection.execute(sa.select(proposal.c.counts).where(proposal.c.id == item)).scalar_one_or_none()
    if kept is None and counts is not None:
        connection.execute(sa.update(proposal).where(proposal.c.id == item).values(counts=counts))
    return kept or counts or {}


def _forget_words(connection: sa.Connection, theirs: Callable[[AnyRow], bool]) -> None:
    """Take away what was typed in these proposals; that they were made, and how they ended, stays. What was done alone
    keeps its reason until that was reviewed."""
    c = proposal.c
    typed = sa.select(c.id, c.alone, c.subject, c.parts, c.state, c.pending).where(c.sealed_reason.is_not(None))
    for row in connection.execute(typed).all():
        waits = row.alone and not (row.state or {}).get("reviewed")
        if theirs(row) and not waits:
            gone = sa.update(proposal).where(c.id == row.id)
            connection.execute(gone.values(wrapped_key=None, sealed_reason=None))


def _asked_by(row: AnyRow) -> str | None:
    stands = row.state or row.pending or {}
    return stands.get("proposer") or stands.get("person")
