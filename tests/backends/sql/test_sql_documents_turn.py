"""Servers that share a metadata database change documents one after the other, and none forgets what another stages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.backends.sql.sql_kit import NOW, Ports, run, staged
from tests.web.world import PlainConverter

from usher.authority import Authority
from usher.backends import sql_turn
from usher.backends.folder import RealFolder
from usher.backends.ledger_sql import SqlLog
from usher.backends.memory import HashEmbedder, MemoryStore
from usher.ingest import Ingest
from usher.ingest_commit import ChangedElsewhere, Prepared
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.ports import LabelChange
from usher.ports.documents import NotStaged

pytestmark = pytest.mark.parametrize("sql", [pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)

NEW = staged("a.md")
CHANGE = LabelChange("put", NEW.document, 1, 1)
Story = Callable[[Ingest, Ingest], Awaitable[None]]


def two_servers(sql: Ports, folder: Path, story: Story) -> None:
    """Each with an ingest of its own, over one database, one store and one ledger."""

    async def whole() -> None:
        log, store, embedder = SqlLog(folder / "ledger.sqlite", 0), MemoryStore(), HashEmbedder()
        ledger = await Ledger.open(log, sql.ring)
        authority = Authority(sql.identity, sql.policies)

        def server() -> Ingest:
            courier = Courier(sql.outbox, ledger, log)
            converter = PlainConverter()
            return Ingest(sql.intake, store, embedder, converter, authority, courier, RealFolder, 1000, log.room)

        await sql.intake.intern([frozenset({"coll:a"})], {})
        await story(server(), server())
        await ledger.close()

    run(whole())


def test_a_server_that_starts_forgets_nothing_that_another_one_stages(sql: Ports, tmp_path: Path) -> None:
    """It does not wait for the other's run to end either, but does its part when it is its turn."""

    async def story(one: Ingest, other: Ingest) -> None:
        async with one.turn:
            await one.committer.stage([Prepared(NEW, (), 1)])
            async with asyncio.timeout(2):
                await other.recover()
            await one.committer.label([CHANGE], "operator:1")
        placed = await sql.intake.placed(NEW.document)
        assert placed is not None
        assert placed.shelved.version == 1
        await one.committer.stage([Prepared(staged("a.md", 2), (), 1)])  # it is killed before it names that one
        async with other.turn:
            await other.committer.recover()
        with pytest.raises(NotStaged):
            await sql.label("put", NEW.document, 2, 1)

    two_servers(sql, tmp_path, story)


def test_one_that_has_waited_for_too_long_is_told(sql: Ports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gets its turn when the other one has ended."""
    monkeypatch.setattr(sql_turn, "PATIENCE", 0.2)

    async def story(one: Ingest, other: Ingest) -> None:
        async with one.turn:
            with pytest.raises(ChangedElsewhere, match="another server"):
                async with other.turn:
                    pass
        async with other.turn:
            pass

    two_servers(sql, tmp_path, story)


def test_a_change_names_no_version_that_was_forgotten(sql: Ports, tmp_path: Path) -> None:
    """As by a server whose turn was lost with its connection: nothing is pending."""

    async def story(one: Ingest, other: Ingest) -> None:
        await one.committer.stage([Prepared(NEW, (), 1)])
        await other.recover()
        with pytest.raises(NotStaged):
            await sql.intake.begin([CHANGE], "operator:1", NOW)
        assert await sql.outbox.pending() == []

    two_servers(sql, tmp_path, story)
