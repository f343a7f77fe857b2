"""Changesets of the policy, in SQL: people by pseudonym, what they typed sealed under a key of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.keyring import KeyRing, SealBroken, seal, unseal
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_changeset_tables import changeset as _table
from usher.backends.sql_changeset_tables import comment_aad
from usher.backends.sql_outbox import Finisher, enqueue
from usher.backends.sql_policy import insert_version, stored_policy
from usher.backends.sql_proposals import break_glass_of, encoded_state, finish_approval, proposal_of
from usher.core.break_glass import BreakGlass
from usher.core.changeset import POLICY, Changeset
from usher.core.policy_source import PolicySource
from usher.ledger.sealing import KEY_BYTES
from usher.ports import Change, StoredPolicy
from usher.ports.changesets import Box, Event

_C, _V = _table.c, t.policy_version.c
_TEXTS = ("rules", "documents", "cases")
_STANDS = _C.state.is_not(sa.null())
_WHOLE = sa.select(_table).where(_STANDS)
_LIGHT = sa.select(*(column for column in _C if column.name not in _TEXTS)).where(_STANDS)


class SqlChangesets:
    """The `ChangesetStore` port."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database, self._ring = database, ring

    async def add(
        self, changeset: Changeset, event: Event, over: Changeset | None = None, over_event: Event | None = None
    ) -> list[Change] | None:
        values = self._values(changeset)

        def work(connection: sa.Connection) -> list[Change] | None:
            ended: list[Change] | None = []
            if over is not None:
                ended = _put(connection, over, over_event or {}, changeset.created_at)
            return None if ended is None else [*ended, _insert(connection, values, event, changeset.created_at)]

        return await self._database.write(work)

    async def put(self, changeset: Changeset, event: Event, now: datetime) -> list[Change] | None:
        return await self._database.write(lambda connection: _put(connection, changeset, event, now))

    async def activate(
        self, changeset: Changeset, event: Event, policy: StoredPolicy, more: Event, box: Box | None = None
    ) -> list[Change] | None:
        values = self._values(changeset) if box is not None else {}

        def work(connection: sa.Connection) -> list[Change] | None:
            if box is None and not _stands(connection, changeset):
                return None
            version = insert_version(connection, policy, more, box)
            if version is None:
                return None
            if box is not None:
                return [_insert(connection, values, event, policy.created_at), version]
            return [*(_put(connection, changeset, event, policy.created_at) or ()), version]

        return await self._database.write(work)

    async def get(self, changeset: UUID) -> Changeset | None:
        found = await self._found(_WHOLE.where(_C.id == changeset))
        return found[0] if found else None

    async def page(self, before: UUID | None, limit: int) -> list[Changeset]:
        statement = _LIGHT.order_by(_C.id.desc()).limit(limit)
        return await self._found(statement if before is None else statement.where(_C.id < before))

    async def with_digest(self, digest: str) -> list[Changeset]:
        return await self._found(_LIGHT.where(_C.digest == digest).order_by(_C.id.desc()))

    async def authors(self, changeset: UUID) -> list[str]:
        def work(connection: sa.Connection) -> list[str]:
            authors, at = [], changeset
            while row := connection.execute(sa.select(_C.by, _C.supersedes).where(_C.id == at)).first():
                authors.append(row.by)
                at = row.supersedes
            return authors

        return await self._database.read(work)

    async def unreviewed(self) -> frozenset[str]:
        """A review that is not recorded yet is none."""
        statement = sa.select(_C.by, _C.state).where(_C.alone)

        def work(connection: sa.Connection) -> frozenset[str]:
            rows = connection.execute(statement)
            return frozenset(row.by for row in rows if row.state is None or row.state["reviewed"] is None)

        return await self._database.read(work)

    async def versions(self, before: int | None, limit: int) -> list[StoredPolicy]:
        columns = [column for column in _V if column.name != "rules"]
        statement = sa.select(*columns).where(_V.activated_at.is_not(None)).order_by(_V.version.desc()).limit(limit)
        if before is not None:
            statement = statement.where(_V.version < before)

        def work(connection: sa.Connection) -> list[StoredPolicy]:
            return [stored_policy(row, "") for row in connection.execute(statement)]

        return await self._database.read(work)

    async def _found(self, statement: sa.Select[Any]) -> list[Changeset]:
        def work(connection: sa.Connection) -> list[Changeset]:
            return [self._changeset(row) for row in connection.execute(statement)]

        return await self._database.read(work)

    def _values(self, changeset: Changeset) -> dict[str, Any]:
        source = changeset.source or PolicySource("")
        key, bound = os.urandom(KEY_BYTES), comment_aad(changeset.id)
        same = ("id", "base", "digest", "by", "rollback", "supersedes", "created_at", "version", "revision")
        return {name: getattr(changeset, name) for name in same} | {
            "alone": isinstance(changeset.stands, BreakGlass),
            "rules": source.rules_text,
            "documents": dict(source.documents),
            "cases": dict(source.cases),
            "pending": encoded_state(changeset.stands),
            "wrapped_key": self._ring.wrap(key, bound),
            "sealed_comment": seal(key, (changeset.comment or "").encode(), bound),
        }

    def _changeset(self, row: AnyRow) -> Changeset:
        comment = self._comment(row)
        source = PolicySource(row.rules, row.documents, row.cases) if hasattr(row, "rules") else None
        return Changeset(
            id=row.id,
            base=row.base,
            stands=break_glass_of(row.state, comment) if row.alone else proposal_of(row.state),
            by=row.by,
            created_at=row.created_at,
            source=source,
            comment=comment,
            rollback=row.rollback,
            supersedes=row.supersedes,
            version=row.version,
            revision=row.revision,
        )

    def _comment(self, row: AnyRow) -> str | None:
        if row.wrapped_key is None or row.sealed_comment is None:
            return None
        bound = comment_aad(row.id)
        try:
            return unseal(self._ring.unwrap(row.wrapped_key, bound), row.sealed_comment, bound).decode()
        except SealBroken:  # its key was destroyed, or a copy without its ring is read
            return None


def _this(changeset: Changeset) -> sa.ColumnElement[bool]:
    return (_C.id == changeset.id) & (_C.revision == changeset.revision) & _C.outbox.is_(None)


def _stands(connection: sa.Connection, changeset: Changeset) -> bool:
    return connection.execute(sa.select(_C.id).where(_this(changeset))).first() is not None


def _insert(connection: sa.Connection, values: Mapping[str, Any], event: Event, now: datetime) -> Change:
    change = enqueue(connection, "approval", event, now)
    connection.execute(sa.insert(_table).values(**values, outbox=change.id))
    return change


def _put(connection: sa.Connection, changeset: Changeset, event: Event, now: datetime) -> list[Change] | None:
    if not _stands(connection, changeset):
        return None
    change = enqueue(connection, "approval", event, now)
    values = {"pending": encoded_state(changeset.stands), "outbox": change.id}
    connection.execute(sa.update(_table).where(_this(changeset)).values(**values))
    return [change]


def finish_changeset(connection: sa.Connection, change: Change) -> None:
    """The state that waited is in force, and the version that it became is known."""
    values: dict[str, Any] = {"state": _C.pending, "pending": None, "outbox": None, "revision": _C.revision + 1}
    if "version" in change.payload:
        values["version"] = change.payload["version"]
    connection.execute(sa.update(_table).where(_C.outbox == change.id).values(**values))


def _finish(connection: sa.Connection, change: Change) -> None:
    """Of a changeset, or of what reviewers propose."""
    (finish_changeset if change.payload["act_kind"] == POLICY else finish_approval)(connection, change)


FINISHERS: Mapping[str, Finisher] = {"approval": _finish}
"""In the place of those of `sql_proposals`."""
