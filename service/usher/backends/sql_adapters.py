"""The registry of adapters, in SQL."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import AnyRow, Database
from usher.backends.sql_adapter_tables import adapter, adapter_document, adapter_subject
from usher.backends.sql_outbox import Finisher, enqueue
from usher.backends.sql_proposals import encoded_state, proposal_of
from usher.backends.sql_row import revision
from usher.backends.sql_turn import Turn, one_at_a_time
from usher.core.adapters import Registered
from usher.ports import Change
from usher.ports.adapters import Event, Served
from usher_lora import lineage as lineages
from usher_lora.canonical import encode
from usher_lora.lineage import Cause, Learned, Lineage, Stale
from usher_lora.manifest import Gate, Identity, Manifest
from usher_lora.manifest import parse as parse_manifest
from usher_lora.registry import Alarm, Entry, State

_A, _D, _S = adapter.c, adapter_document.c, adapter_subject.c
_SOME = 1_000
"""Rows of one statement."""
_TOLD = 10
"""Of what is unknown, how much is told."""
_DELETED = t.document.c.deleted_at.is_not(None)
_LEAVING = _DELETED | (t.document.c.pending == "delete")
_STOPPED = sa.select(_D.adapter).where(_D.document.in_(sa.select(t.document.c.id).where(_LEAVING)))
"""From the documents that leave: they are few, and what adapters have learned is much."""
_LIGHT = sa.select(*(column for column in _A if column.name != "lineage")).where(_A.state.is_not(sa.null()))


class SqlAdapters:
    """The `AdapterStore` port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._published: tuple[int, Sequence[Served]] = (-1, ())  # and the revision before which it was read

    def turn(self) -> AbstractAsyncContextManager[None]:
        return one_at_a_time(self._database, Turn.ADAPTERS)

    async def add(self, adapter: Registered, lineage: Lineage, event: Event) -> Change | None:
        return await self._database.write(lambda connection: _add(connection, adapter, lineage, event))

    async def put(self, adapter: Registered, event: Event, now: datetime, *, narrows: bool = False) -> Change | None:
        return await self._database.write(lambda connection: _put(connection, adapter, event, now, narrows))

    async def get(self, adapter: str) -> Registered | None:
        found = await self._found(_LIGHT.where(_A.id == adapter))
        return found[0] if found else None

    async def all(self) -> list[Registered]:
        return await self._found(_LIGHT.order_by(_A.created_at.desc(), _A.id))

    async def published(self) -> Sequence[Served]:
        """Asked twice a second for each model server, and read where anything has changed since: whatever it depends on
        moves the revision."""
        before = await revision(self._database)
        if before != self._published[0]:
            self._published = before, await self._read_published()
        return self._published[1]

    async def _read_published(self) -> list[Served]:
        word = State.PUBLISHED.value
        whole = sa.or_(_A.next.is_(None), _A.next == word) & _A.id.not_in(_STOPPED)
        statement = sa.select(_A.id, _A.manifest).where(_A.stands == word, whole).order_by(_A.id)

        def work(connection: sa.Connection) -> list[Served]:
            return [_served(row.id, parse_manifest(row.manifest).identity) for row in connection.execute(statement)]

        return await self._database.read(work)

    async def lineage(self, adapter: str) -> Lineage | None:
        def work(connection: sa.Connection) -> bytes | None:
            statement = sa.select(_A.lineage).where(_A.id == adapter)
            return connection.execute(statement).scalar_one_or_none()

        kept = await self._database.read(work)
        return None if kept is None else await asyncio.to_thread(lineages.parse, kept)  # it may be long

    async def gone(self) -> dict[str, tuple[Stale, ...]]:
        version, document = t.document_version.c, t.document.c
        emptied = version.wrapped_key.is_(None) | (version.wrapped_key == b"")
        statement = (
            sa.select(_D.adapter, _D.document, (document.id.is_(None) | emptied).label("erased"))
            .join(t.document, document.id == _D.document, isouter=True)
            .join(
                t.document_version,
                (version.document == _D.document) & (version.version == _D.version),
                isouter=True,
            )
            .where(_DELETED | document.id.is_(None) | emptied)
        )

        def work(connection: sa.Connection) -> dict[str, tuple[Stale, ...]]:
            found: dict[str, set[Stale]] = defaultdict(set)
            for row in connection.execute(statement):
                cause = Cause.DOCUMENT_ERASED if row.erased else Cause.DOCUMENT_DELETED
                found[row.adapter].add(Stale(cause, str(row.document)))
            return {one: tuple(sorted(causes)) for one, causes in found.items()}

        return await self._database.read(work)

    async def learned_from(self) -> dict[str, tuple[str, ...]]:
        statement = sa.select(_S.subject, _S.adapter).order_by(_S.subject, _S.adapter)

        def work(connection: sa.Connection) -> dict[str, tuple[str, ...]]:
            found: dict[str, list[str]] = defaultdict(list)
            for row in connection.execute(statement):
                found[row.subject].append(row.adapter)
            return {subject: tuple(adapters) for subject, adapters in found.items()}

        return await self._database.read(work)

    async def unknown(self, lineage: Lineage) -> list[str]:
        def work(connection: sa.Connection) -> list[str]:
            return list(islice(_unknown(connection, lineage.documents), _TOLD))

        return await self._database.read(work)

    async def _found(self, statement: sa.Select[Any]) -> list[Registered]:
        def work(connection: sa.Connection) -> list[Registered]:
            return [_registered(row) for row in connection.execute(statement)]

        return await self._database.read(work)


def _served(ident: str, identity: Identity) -> Served:
    return Served(ident, identity.served_name, identity.policy_object)


def _add(connection: sa.Connection, one: Registered, lineage: Lineage, event: Event) -> Change | None:
    if connection.execute(sa.select(_A.id).where(_A.id == one.id)).first() is not None:
        return None
    change = _enqueue(connection, one, event, one.created_at)
    values = {
        "id": one.id,
        "name": one.identity.name,
        "manifest": encode(Manifest(one.identity)),
        "lineage": lineages.canonical(lineage),
        "created_at": one.created_at,
    }
    connection.execute(sa.insert(adapter).values(**values, **_waiting(one, change), revision=0))
    versions = {(learned.document, learned.version): learned for learned in lineage.documents}
    rows = [
        {"adapter": one.id, "document": document, "version": version, "access_class": learned.access_class}
        for (document, version), learned in versions.items()
    ]
    connection.execute(sa.insert(adapter_document), rows)
    if lineage.subjects:
        subjects = [{"adapter": one.id, "subject": subject} for subject in lineage.subjects]
        connection.execute(sa.insert(adapter_subject), subjects)
    return change


def _put(connection: sa.Connection, one: Registered, event: Event, now: datetime, narrows: bool) -> Change | None:
    this = (_A.id == one.id) & (_A.revision == one.revision)
    stands = this if narrows else this & _A.outbox.is_(None)
    if connection.execute(sa.select(_A.id).where(stands)).first() is None:
        return None
    change = _enqueue(connection, one, event, now)
    values = {**_waiting(one, change), "revision": _A.revision + 1}
    connection.execute(sa.update(adapter).where(_A.id == one.id).values(**values))
    return change


def _enqueue(connection: sa.Connection, one: Registered, event: Event, now: datetime) -> Change:
    about = {"adapter": one.name, "stands": _encoded(one)}
    return enqueue(connection, "adapter", {**event, **about}, now)


def _waiting(one: Registered, change: Change) -> dict[str, Any]:
    return {"pending": change.payload["stands"], "next": one.entry.state.value, "outbox": change.id}


def _unknown(connection: sa.Connection, learned: Sequence[Learned]) -> Iterator[str]:
    classes = set(connection.execute(sa.select(t.access_class.c.id)).scalars())
    for start in range(0, len(learned), _SOME):
        some = learned[start : start + _SOME]
        there = _versions(connection, [one.document for one in some])
        for one in some:
            if (one.document, one.version) not in there:
                yield f"version {one.version} of document {one.document}, which is not there"
            elif one.access_class not in classes:
                yield f"access class {one.access_class} of document {one.document}, which is none"


def _versions(connection: sa.Connection, documents: Sequence[UUID]) -> set[tuple[UUID, int]]:
    """The versions of these documents that are in, or were before the current one, and still open."""
    version, document = t.document_version.c, t.document.c
    statement = (
        sa.select(version.document, version.version)
        .join(t.document, document.id == version.document)
        .where(version.document.in_(documents), version.version <= document.version, version.wrapped_key != b"")
        .where(~sa.func.coalesce(_LEAVING, False))
    )
    return {(row.document, row.version) for row in connection.execute(statement)}


def _encoded(one: Registered) -> dict[str, Any]:
    """How it stands, as it is kept and as the record says it."""
    entry = one.entry
    return {
        "state": entry.state.value,
        "author": entry.author,
        "approver": entry.approver,
        "alarm": entry.alarm and entry.alarm.value,
        "stale": [[each.cause.value, each.about] for each in entry.stale],
        "gate": None if entry.gate is None else msgspec.to_builtins(entry.gate),
        "proposal": None if one.proposal is None else encoded_state(one.proposal),
    }


def _registered(row: AnyRow) -> Registered:
    manifest = parse_manifest(row.manifest)
    said: Mapping[str, Any] = row.state if row.pending is None else row.pending
    gate = None if said["gate"] is None else msgspec.convert(said["gate"], Gate)
    entry = Entry(
        name=manifest.identity.served_name,
        author=said["author"],
        state=State(said["state"]),
        gate=gate,
        approver=said["approver"],
        alarm=None if said["alarm"] is None else Alarm(said["alarm"]),
        stale=tuple(Stale(Cause(cause), about) for cause, about in said["stale"]),
    )
    return Registered(
        identity=manifest.identity,
        entry=entry,
        created_at=row.created_at,
        proposal=None if said["proposal"] is None else proposal_of(said["proposal"]),
        revision=row.revision,
        recorded=row.outbox is None,
        serves=row.stands == State.PUBLISHED and row.next in (None, State.PUBLISHED),
    )


def finish_adapter(connection: sa.Connection, change: Change) -> None:
    """It stands by the ledger as this change says, unless a later one was carried before; another may be on its
    way."""
    stands = change.payload["stands"]
    name = change.payload["adapter"]
    this = _A.id == name.rpartition(":")[2]
    newest = _A.finished.is_(None) | (_A.finished < change.id)
    values = {"state": stands, "stands": stands["state"], "finished": change.id, "revision": _A.revision + 1}
    connection.execute(sa.update(adapter).where(this, newest).values(**values))
    done = {"pending": None, "next": None, "outbox": None}
    connection.execute(sa.update(adapter).where(this, _A.outbox == change.id).values(**done))


FINISHERS: Mapping[str, Finisher] = {"adapter": finish_adapter}
