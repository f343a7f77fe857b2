"""What the tests of `AdapterStore` share: adapters on their way, and the store with documents in."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from msgspec.structs import replace as with_fields
from tests.backends.sql.sql_kit import FINISHERS, NOW, Ports, staged
from tests.lora.made import DIGEST, IDENTITY, gate

from usher.backends import sql_adapters
from usher.backends.sql_adapters import SqlAdapters
from usher.backends.sql_outbox import SqlOutbox
from usher.core.adapters import Registered, approved, draft, evaluated, published
from usher.ports import Change
from usher_lora.gates import Bounds
from usher_lora.lineage import Learned, Lineage, lineage
from usher_policy.vocabulary import Principal

ONE, TWO = staged("a.md"), staged("b.md")


def learned(document: UUID = ONE.document, version: int = 1, access_class: int = 1) -> Learned:
    return Learned(document, version, access_class, DIGEST)


LINE = lineage([learned(), learned(TWO.document)], ["p-7"])


def outbox(sql: Ports) -> SqlOutbox:
    return SqlOutbox(sql.database, {**FINISHERS, **sql_adapters.FINISHERS})


def made(line: Lineage = LINE, name: str = "support") -> Registered:
    return draft(with_fields(IDENTITY, name=name, lineage=line.digest), "ann", NOW)


def through(one: Registered) -> list[Registered]:
    """An adapter at each step of its way into service."""
    ready = evaluated(one, gate(adapter=one.name), "p", NOW)
    assert isinstance(ready, Registered)
    taken = approved(ready, Principal("user:bea"), ready.digest or "", Bounds(), NOW, may=True)
    assert isinstance(taken, Registered)
    done = published(taken, Principal("user:cem"), ready.digest or "", Bounds(), NOW, frozenset({"user:bea"}))
    assert isinstance(done, Registered)
    return [ready, taken, done]


class Shelf:
    """The store with its documents in, and its outbox."""

    def __init__(self, sql: Ports) -> None:
        self.sql, self.store = sql, SqlAdapters(sql.database)

    async def filled(self) -> Shelf:
        await self.sql.intake.intern([frozenset({"coll:a"}), frozenset({"coll:b"})], {})
        for document in (ONE, TWO):
            await self.sql.put(document, 1)
        return self

    async def registered(self, one: Registered, line: Lineage = LINE) -> Registered:
        change = await self.store.add(one, line, {"act": "registered"})
        await self.done(change)
        return await self.now(one)

    async def put(self, one: Registered, stands: Registered, *, narrows: bool = False) -> Change | None:
        """How it stands over the revision of now."""
        latest = await self.now(one)
        after = replace(stands, revision=latest.revision)
        return await self.store.put(after, {"act": "x"}, NOW, narrows=narrows)

    async def served(self, one: Registered, line: Lineage = LINE) -> Registered:
        await self.registered(one, line)
        for stands in through(one):
            await self.done(await self.put(one, stands))
        return await self.now(one)

    async def now(self, one: Registered) -> Registered:
        found = await self.store.get(one.id)
        assert found is not None
        return found

    async def done(self, change: Change | None) -> None:
        assert change is not None
        await outbox(self.sql).finish([change])

    async def names(self) -> list[str]:
        return [one.name for one in await self.store.published()]
