"""Policy versions and the catalog of labels, in SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import Database
from usher.backends.sql_outbox import Finisher, enqueue
from usher.core.standing import Versions
from usher.ports import Change, StoredPolicy
from usher_policy.catalog import Catalog

_REVISION = sa.select(t.state.c.revision)


class SqlPolicies:
    """The `Policies` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def versions(self) -> Versions:
        def work(connection: sa.Connection) -> Versions:
            row = connection.execute(sa.select(t.state)).one()
            return Versions(row.policy_version, row.pending_policy, row.label_version, row.revision)

        return await self._database.read(work)

    async def revision(self) -> int:
        return await self._database.glance(lambda c: int(c.execute(_REVISION).scalar_one()))

    async def load(self, version: int) -> StoredPolicy | None:
        def work(connection: sa.Connection) -> StoredPolicy | None:
            statement = sa.select(t.policy_version).where(t.policy_version.c.version == version)
            row = connection.execute(statement).first()
            if row is None:
                return None
            return StoredPolicy(row.version, row.digest, row.rules, row.documents, row.created_at)

        return await self._database.read(work)

    async def propose(self, policy: StoredPolicy, by: str) -> Change | None:
        values = {
            "version": policy.version,
            "digest": policy.digest,
            "rules": policy.rules,
            "documents": dict(policy.documents),
            "created_at": policy.created_at,
        }

        def work(connection: sa.Connection) -> Change | None:
            state = connection.execute(sa.select(t.state)).one()
            if state.pending_policy is not None or policy.version != state.policy_version + 1:
                return None
            connection.execute(sa.insert(t.policy_version).values(**values))
            connection.execute(sa.update(t.state).values(pending_policy=policy.version))
            documents = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in policy.documents.items()}
            payload = {"version": policy.version, "digest": policy.digest, "documents": documents, "by": by}
            return enqueue(connection, "policy", payload, policy.created_at)

        return await self._database.write(work)

    async def catalog(self, known: Catalog) -> Catalog:
        newest = max(known.classes, default=0)

        def work(connection: sa.Connection) -> Catalog:
            label_version = connection.execute(sa.select(t.state.c.label_version)).scalar_one()
            rows = connection.execute(sa.select(t.access_class).where(t.access_class.c.id > newest)).all()
            classes = {**known.classes, **{row.id: frozenset(row.requirements) for row in rows}}
            named = {name for row in rows for name in row.requirements if name.startswith("readers:")}
            readers = {**known.readers, **_readers(connection, sorted(named - set(known.readers)))}
            return Catalog(label_version, classes, readers)

        return await self._database.read(work)


def _readers(connection: sa.Connection, names: list[str]) -> dict[str, frozenset[str]]:
    column = t.reader_list.c
    found: dict[str, frozenset[str]] = {}
    for start in range(0, len(names), 500):
        statement = sa.select(t.reader_list).where(column.name.in_(names[start : start + 500]))
        found.update({row.name: frozenset(row.subjects) for row in connection.execute(statement)})
    return found


def finish_policy(connection: sa.Connection, change: Change) -> None:
    version = change.payload["version"]
    connection.execute(sa.update(t.state).values(policy_version=version, pending_policy=None))
    row = sa.update(t.policy_version).where(t.policy_version.c.version == version)
    connection.execute(row.values(activated_at=datetime.now(UTC)))


FINISHERS: Mapping[str, Finisher] = {"policy": finish_policy}
