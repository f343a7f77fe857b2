"""What the tests of the SQL ports share: every port over one database; people, keys and documents made shortly."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID, uuid5

import sqlalchemy as sa

from usher.backends import identity_keys, sql_intake, sql_people, sql_policy
from usher.backends.keyring import KeyRing
from usher.backends.sql import Database
from usher.backends.sql_documents import SqlDocuments
from usher.backends.sql_outbox import SqlOutbox
from usher.core.standing import Credential
from usher.ports import Change, KeyInfo, LabelChange, Staged, StagedChunk, StoredPolicy

T = TypeVar("T")

NOW = datetime(2026, 11, 22, 9, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
FINISHERS = {**sql_people.FINISHERS, **identity_keys.FINISHERS, **sql_policy.FINISHERS, **sql_intake.FINISHERS}
_NAMESPACE = UUID(int=7)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@dataclass(frozen=True)
class Ports:
    """The SQL ports over one migrated database."""

    database: Database
    ring: KeyRing

    @property
    def outbox(self) -> SqlOutbox:
        return SqlOutbox(self.database, FINISHERS)

    @property
    def directory(self) -> sql_people.SqlDirectory:
        return sql_people.SqlDirectory(self.database)

    @property
    def keys(self) -> identity_keys.SqlKeys:
        return identity_keys.SqlKeys(self.database)

    @property
    def identity(self) -> identity_keys.SqlIdentity:
        return identity_keys.SqlIdentity(self.database)

    @property
    def policies(self) -> sql_policy.SqlPolicies:
        return sql_policy.SqlPolicies(self.database)

    @property
    def documents(self) -> SqlDocuments:
        return SqlDocuments(self.database, self.ring)

    @property
    def intake(self) -> sql_intake.SqlIntake:
        return sql_intake.SqlIntake(self.database, self.ring)

    async def person(self, user: str, *groups: str) -> None:
        """Somebody in the directory, in force."""
        await self.outbox.finish([await self.directory.put_person(user, groups, "operator:1", NOW)])

    async def key(
        self, user: str, expires_at: datetime | None = None, purpose: str | None = None, now: datetime = NOW
    ) -> tuple[str, str]:
        """A key in force: its id and its full text."""
        ident, secret, digest = identity_keys.make_secret()
        info = KeyInfo(ident, user, purpose, "operator:1", now, expires_at, None)
        await self.outbox.finish([await self.keys.put_key(info, digest)])
        return ident, secret

    async def policy(self, version: int, rules: str = "") -> Change | None:
        return await self.policies.propose(StoredPolicy(version, "d" * 64, rules, {}, NOW), "operator:1")

    async def label(self, kind: str, document: UUID, version: int | None, access_class: int) -> Change:
        changes = await self.intake.begin([LabelChange(kind, document, version, access_class)], "operator:1", NOW)
        return changes[0]

    async def put(self, staged: Staged, access_class: int) -> None:
        """A document staged, labelled, carried to a store."""
        await self.intake.stage([staged], NOW)
        await self.outbox.finish([await self.label("put", staged.document, staged.version, access_class)])
        await self.intake.carried([staged.document])

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """What is asked of the database meanwhile, transactions' ends aside."""
        asked: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            if not statement.startswith(("BEGIN", "PRAGMA")):
                asked.append(statement)

        stored = self.database.stored

        def note_stored(sql: str, values: tuple[str, ...]) -> list[Any]:
            asked.append(sql)
            return stored(sql, values)

        sa.event.listen(self.database.engine, "before_cursor_execute", note)
        with patch.object(self.database, "stored", note_stored):
            yield asked
        sa.event.remove(self.database.engine, "before_cursor_execute", note)


def in_haste(connection: Any, _record: object) -> None:
    """No test here is about the disk: what a power cut would leave is SQLite's to test."""
    connection.execute("PRAGMA synchronous=OFF").close()


def credential(key: str, user: str) -> Credential:
    return Credential("key", key, user)


def staged(
    path: str, version: int = 1, texts: Sequence[str] = ("one ", "two"), source: str = "docs", title: str = "Title"
) -> Staged:
    document = uuid5(_NAMESPACE, f"{source}\0{path}")
    chunks, start = [], 0
    for position, text in enumerate(texts):
        ident = uuid5(document, f"{version}:{position}")
        chunks.append(StagedChunk(ident, start, start + len(text), ("Top", f"Part {position}")))
        start += len(text)
    return Staged(
        document=document,
        source=source,
        path=path,
        version=version,
        digest=f"{version:064x}",
        recipe="1:test",
        title=title,
        media_type="text/markdown",
        size=100 + version,
        text="".join(texts),
        chunks=tuple(chunks),
    )


def ring_in(folder: Path) -> KeyRing:
    path = folder / "home.keys"
    return KeyRing.open(path) if path.exists() else KeyRing.create(path)
