"""Policy versions and the catalog of labels, in SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_outbox import Finisher, enqueue
from usher.backends.sql_row import OneRow, revision
from usher.core.approval import instant_text
from usher.core.standing import Versions
from usher.ports import Change, PolicyDelta, StoredPolicy
from usher.ports.changesets import Box
from usher_policy.catalog import Catalog

_V = t.policy_version.c
_STATE = sa.select(t.state)


class SqlPolicies:
    """The `Policies` port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._state = OneRow(database, _STATE)

    async def versions(self) -> Versions:
        return versions_of(await self._state.of())

    async def revision(self) -> int:
        return await revision(self._database)

    async def load(self, version: int) -> StoredPolicy | None:
        def work(connection: sa.Connection) -> StoredPolicy | None:
            row = connection.execute(sa.select(t.policy_version).where(_V.version == version)).first()
            return None if row is None else stored_policy(row, row.rules)

        return await self._database.read(work)

    async def load_delta(self, version: int) -> PolicyDelta | None:
        columns = (_V.digest, _V.base, _V.removed, _V.added, _V.documents)

        def work(connection: sa.Connection) -> PolicyDelta | None:
            row = connection.execute(sa.select(*columns).where(_V.version == version)).first()
            if row is None or row.base is None:
                return None
            return PolicyDelta(version, row.digest, row.base, tuple(row.removed), tuple(row.added), row.documents)

        return await self._database.read(work)

    async def propose(self, policy: StoredPolicy, by: str) -> Change | None:
        return await self._database.write(lambda connection: insert_version(connection, replace(policy, by=by), {}))

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


def versions_of(row: AnyRow) -> Versions:
    """What is in force, from the row of `state`."""
    counted = (row.policy_version, row.pending_policy, row.label_version, row.revision)
    return Versions(*counted, row.fallback_policy, row.glass_until)


def stored_policy(row: AnyRow, rules: str) -> StoredPolicy:
    """A version from its row; `rules` may be another row's to give."""
    return StoredPolicy(
        version=row.version,
        digest=row.digest,
        rules=rules,
        documents=row.documents,
        created_at=row.created_at,
        cases=row.cases or {},
        base=row.base,
        removed=tuple(row.removed or ()),
        added=tuple(row.added or ()),
        by=row.by,
        changeset=row.changeset,
        activated_at=row.activated_at,
        glass_until=row.glass_until,
    )


def insert_version(
    connection: sa.Connection, policy: StoredPolicy, more: Mapping[str, Any], box: Box | None = None
) -> Change | None:
    """The version as pending, with its outbox row; None, and nothing is written, if another one is, or if the number
    is not the next. `more` stands in the event too. An instant of a box that has passed is kept all the same: then the
    fallback stays in force."""
    state = connection.execute(sa.select(t.state)).one()
    if state.pending_policy is not None or policy.version != state.policy_version + 1:
        return None
    connection.execute(sa.insert(t.policy_version).values(**_columns(policy)))
    connection.execute(sa.update(t.state).values(pending_policy=policy.version))
    documents = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in policy.documents.items()}
    payload = {"version": policy.version, "digest": policy.digest, "documents": documents, "by": policy.by, **more}
    if box is not None:
        payload |= {"fallback": box.fallback, "glass_until": instant_text(box.until)}
    return enqueue(connection, "policy", payload, policy.created_at)


def _columns(policy: StoredPolicy) -> dict[str, Any]:
    known = policy.base is not None
    same = ("version", "digest", "rules", "created_at", "base", "by", "changeset", "glass_until")
    return {name: getattr(policy, name) for name in same} | {
        "documents": dict(policy.documents),
        "cases": dict(policy.cases),
        "removed": list(policy.removed) if known else None,
        "added": list(policy.added) if known else None,
    }


def finish_policy(connection: sa.Connection, change: Change) -> None:
    """The version decides from now on, and alone: what a break-glass left to fall back on goes with it, unless this is
    one."""
    said = change.payload
    until = said.get("glass_until")
    box = {"fallback_policy": said.get("fallback"), "glass_until": until and datetime.fromisoformat(until)}
    connection.execute(sa.update(t.state).values(policy_version=said["version"], pending_policy=None, **box))
    row = sa.update(t.policy_version).where(_V.version == said["version"])
    connection.execute(row.values(activated_at=datetime.now(UTC)))


FINISHERS: Mapping[str, Finisher] = {"policy": finish_policy}
