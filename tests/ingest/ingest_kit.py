"""A house to take documents into: real SQLite, a real ledger; the store, the embedder and the converter in memory.

The folder on disk and the `MemoryStore` outlive a `Rooms`, as a disk and a store outlive a process.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from tests.backends.sql.sql_kit import in_haste

from usher.authority import Authority, Grant
from usher.backends import identity_keys, sql_intake, sql_people, sql_policy
from usher.backends.folder import RealFolder
from usher.backends.keyring import KeyRing
from usher.backends.ledger_sql import SqlLog
from usher.backends.memory import HashEmbedder, MemoryStore
from usher.backends.sql import Database, migrate
from usher.backends.sql_documents import SqlDocuments
from usher.backends.sql_outbox import SqlOutbox
from usher.core.standing import Actor
from usher.ingest import Ingest, IngestOptions
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.people import People
from usher.policy_admin import PolicyAdmin, PolicySource
from usher.ports import ConversionFailed, Converted, Encoded, Folder, Store
from usher.retrieve import Retrieve

T = TypeVar("T")

OPERATOR = Actor("operator", "uid:0")
POLICY = """\
p, role:all, coll:open, document.read, allow, always
p, role:hr, coll:hr, document.read, allow, always
p, role:hr, mark:pii, document.read, allow, always
p, role:all, sys:chat, chat.ask, allow, always
g, role:hr, role:all
g, user:ann, role:hr
g, user:bob, role:all
"""
PEOPLE = ("ann", "bob", "eve")
"""ann reads everything that a collection opens, bob the open one, eve what names her."""
FINISHERS = {**sql_people.FINISHERS, **identity_keys.FINISHERS, **sql_policy.FINISHERS, **sql_intake.FINISHERS}

Seen = Mapping[str, Mapping[str, frozenset[str]]]
"""Person -> path -> the texts of its passages that the person finds."""
Wrap = Callable[[str, Any], Any]
"""Puts something around a port, by the port's name."""


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class CountingEmbedder(HashEmbedder):
    """Counts the texts that it embeds."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = 0

    async def encode(self, texts: Sequence[str]) -> list[Encoded]:
        self.texts += len(texts)
        return await super().encode(texts)


class PlainConverter:
    """The `Converter` port for text, in this process; refuses what says so."""

    async def convert(self, data: bytes, suffix: str, name: str) -> Converted:
        if data.startswith(b"BROKEN"):
            raise ConversionFailed("it is damaged; save it anew")
        return Converted(data.decode(), name.rpartition("/")[2], "text/markdown")

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class Rooms:
    """What one process has open."""

    database: Database
    ledger: Ledger
    store: Store
    embedder: CountingEmbedder
    authority: Authority
    intake: sql_intake.SqlIntake
    documents: SqlDocuments
    outbox: SqlOutbox
    people: People
    policy: PolicyAdmin
    ingest: Ingest
    retrieve: Retrieve

    async def take_in(self, root: Path, **options: Any) -> dict[str, Any]:
        """One run's report."""
        events = [event async for event in self.ingest.run(IngestOptions(root, **options), OPERATOR)]
        assert [event["event"] for event in events[:-1]] == ["progress"] * (len(events) - 1)
        assert events[-1]["event"] == "report"
        return events[-1]

    async def grant(self, user: str, keys: Mapping[str, str]) -> Grant:
        grant = await self.authority.admit(keys[user])
        assert grant is not None
        return grant

    async def seen(self, keys: Mapping[str, str]) -> Seen:
        """What each person finds, and lists: both say the same of what they show."""
        found: dict[str, dict[str, frozenset[str]]] = {}
        encoded = (await HashEmbedder().encode(["word"]))[0]
        for user in keys:
            scope = (await self.grant(user, keys)).scope
            passages = (await self.retrieve.find(scope, "word", encoded, 100)).passages
            texts: dict[str, set[str]] = {}
            for passage in passages:
                texts.setdefault(f"{passage.source}/{passage.path}", set()).add(passage.text)
            found[user] = {path: frozenset(parts) for path, parts in texts.items()}
            listed = {f"{info.source}/{info.path}" for info in await self.documents.page(scope.classes, None, 500)}
            assert found[user].keys() <= listed
        return found


@dataclass
class House:
    """A data folder, its store, and a folder of documents to take in."""

    folder: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def docs(self) -> Path:
        return self.folder / "docs"

    def write(self, path: str, text: str | bytes, root: str = "docs") -> Path:
        file = self.folder / root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    def acl(self, lines: Mapping[str, Sequence[str]]) -> Path:
        text = "".join(json.dumps({"path": path, "readers": list(readers)}) + "\n" for path, readers in lines.items())
        return self.write("acl.jsonl", text, root="")

    def rules(self, *rules: Mapping[str, Any]) -> Path:
        return self.write("rules.yaml", json.dumps(list(rules)), root="")

    def copied(self, folder: Path) -> House:
        """The same house elsewhere, with a store of its own."""
        shutil.copytree(self.folder, folder)
        (folder / "home.keys").chmod(0o600)
        store = copy(self.store)
        store._points = dict(self.store._points)
        return House(folder, store, dict(self.keys))

    @asynccontextmanager
    async def open(self, wrap: Wrap = lambda _name, port: port, limit: int = 10_000) -> AsyncIterator[Rooms]:
        """A process over it, not yet recovered."""
        path = self.folder / "home.keys"
        ring = KeyRing.open(path) if path.exists() else KeyRing.create(path)
        database = Database(f"sqlite:///{self.folder / 'usher.sqlite'}")
        log = SqlLog(self.folder / "ledger.sqlite")
        for engine in (database.engine, log._engine):
            sa.event.listen(engine, "connect", in_haste)
        migrate(database)
        ledger = await Ledger.open(log, ring)
        try:
            yield self._wired(database, ring, log, ledger, wrap, limit)
        finally:
            await ledger.close()
            database.close()

    def _wired(self, database: Database, ring: KeyRing, log: SqlLog, ledger: Ledger, wrap: Wrap, limit: int) -> Rooms:
        outbox, intake = SqlOutbox(database, FINISHERS), sql_intake.SqlIntake(database, ring)
        courier = Courier(wrap("outbox", outbox), wrap("ledger", ledger), log)
        policies, directory = sql_policy.SqlPolicies(database), sql_people.SqlDirectory(database)
        authority = Authority(identity_keys.SqlIdentity(database), policies)
        documents, embedder = SqlDocuments(database, ring), CountingEmbedder()

        def open_folder(root: Path) -> Folder:
            opened: Folder = wrap("folder", RealFolder(root))
            return opened

        ingest = Ingest(
            wrap("intake", intake),
            wrap("store", self.store),
            wrap("embedder", embedder),
            wrap("converter", PlainConverter()),
            authority,
            courier,
            open_folder,
            limit,
            log.room,
        )
        return Rooms(
            database=database,
            ledger=ledger,
            store=self.store,
            embedder=embedder,
            authority=authority,
            intake=intake,
            documents=documents,
            outbox=outbox,
            people=People(directory, identity_keys.SqlKeys(database), identity_keys.make_secret, courier),
            policy=PolicyAdmin(policies, courier),
            ingest=ingest,
            retrieve=Retrieve(authority, ledger, self.store, embedder, documents),
        )

    def using(self, story: Callable[[Rooms], Awaitable[T]], **options: Any) -> T:
        """The story's result, in a process of its own that recovered first."""

        async def process() -> T:
            async with self.open(**options) as rooms:
                await rooms.ingest.recover()
                return await story(rooms)

        return run(process())

    def take_in(self, **options: Any) -> dict[str, Any]:
        """One run over `docs`, as the source `docs`, in a process of its own."""
        given = {"source": "docs"} | options

        async def story(rooms: Rooms) -> dict[str, Any]:
            before = rooms.embedder.texts
            report = await rooms.take_in(given.pop("root", self.docs), **given)
            return report | {"embedded": rooms.embedder.texts - before}

        return self.using(story)

    def seen(self) -> Seen:
        return self.using(lambda rooms: rooms.seen(self.keys))

    def in_store(self) -> dict[UUID, int]:
        """Chunk -> access class, as the store holds them."""
        return {chunk: point.access_class for chunk, point in self.store._points.items()}

    def should_be_in_store(self) -> dict[UUID, int]:
        """Chunk -> access class, of what is current by the database."""
        rows = self.query(
            "SELECT chunk.id, document.access_class FROM chunk JOIN document ON document.id = chunk.document"
            " AND document.version = chunk.version WHERE document.deleted_at IS NULL"
        )
        return {UUID(chunk): access_class for chunk, access_class in rows}

    def query(self, statement: str, file: str = "usher.sqlite") -> list[Any]:
        with closing(sqlite3.connect(self.folder / file)) as connection:
            return connection.execute(statement).fetchall()

    def events(self, *types: str) -> list[dict[str, Any]]:
        """The ledger's events of these types, as they stand in its file."""
        rows = self.query("SELECT event FROM events ORDER BY number", "ledger.sqlite")
        return [event for row in rows if (event := json.loads(row[0]))["type"] in types]

    def check_whole(self) -> None:
        """Nothing is on its way: the store is what the database says, and each change was recorded once."""
        assert self.in_store() == self.should_be_in_store()
        assert self.query("SELECT * FROM outbox") == []
        assert self.query("SELECT path FROM document WHERE pending IS NOT NULL OR outbox IS NOT NULL") == []
        assert self.query("SELECT path FROM document WHERE NOT carried") == []
        newest = self.query("SELECT document, max(version) FROM document_version GROUP BY document")
        current = dict(self.query("SELECT id, version FROM document"))
        assert {document: current.get(document) for document, _ in newest} == dict(newest)
        recorded = Counter(event["outbox"] for event in self.events("document", "label", "policy", "key", "person"))
        assert max(recorded.values(), default=1) == 1


def new_house(folder: Path) -> House:
    """A house with its policy, three people and their keys, and no documents."""
    house = House(folder)
    house.docs.mkdir(parents=True)

    async def settle(rooms: Rooms) -> None:
        await rooms.policy.apply(PolicySource(POLICY), OPERATOR)
        for user in PEOPLE:
            house.keys[user] = (await rooms.people.create_key(user, None, None, OPERATOR)).key

    house.using(settle)
    return house
