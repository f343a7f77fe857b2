"""The contract of `AdapterStore`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.backends.sql.adapter_rows import LINE, ONE, TWO, Shelf, learned, made, outbox, through
from tests.backends.sql.sql_kit import LATER, NOW, Ports, run
from tests.lora.made import DIGEST

from usher.backends import sql_tables as t
from usher.backends import sql_turn
from usher.backends.sql import Database
from usher.backends.sql_adapters import SqlAdapters
from usher.core.adapters import Registered, moved
from usher.ledger.log import LedgerUnavailable
from usher_lora.lineage import Cause, Stale, lineage
from usher_lora.registry import Alarm, GoStale, Quarantine, State


def test_an_adapter_is_there_once_its_event_stands(sql: Ports) -> None:
    """The event has how it stands, whole; a second one of the same identity is none."""

    async def story() -> None:
        shelf, one = await Shelf(sql).filled(), made()
        change = await shelf.store.add(one, LINE, {"act": "registered", "by": "ann"})
        assert change is not None
        assert (change.kind, change.payload["adapter"]) == ("adapter", one.name)
        assert change.payload["stands"]["state"] == "draft"
        assert await shelf.store.get(one.id) is None
        assert await shelf.store.all() == []
        assert await shelf.store.add(one, LINE, {}) is None
        await shelf.done(change)
        kept = await shelf.now(one)
        assert kept == replace(one, revision=kept.revision, recorded=True)
        assert await shelf.store.lineage(one.id) == LINE
        assert await shelf.store.lineage(DIGEST) is None
        assert await shelf.store.learned_from() == {"p-7": (one.id,)}

    run(story())


def test_each_step_is_kept_as_it_was_decided(sql: Ports) -> None:
    """Gate, proposal, approval, author; it serves once its publishing is recorded."""

    async def story() -> None:
        shelf, one = await Shelf(sql).filled(), made()
        await shelf.registered(one)
        for stands in through(one):
            change = await shelf.put(one, stands)
            waiting = await shelf.now(one)
            assert (waiting.entry, waiting.proposal, waiting.recorded) == (stands.entry, stands.proposal, False)
            assert not waiting.serves
            assert await shelf.names() == []
            await shelf.done(change)
            kept = await shelf.now(one)
            assert (kept.entry, kept.proposal, kept.recorded) == (stands.entry, stands.proposal, True)
        assert kept.serves
        assert await shelf.names() == [one.name]
        assert [each.id for each in await shelf.store.all()] == [one.id]

    run(story())


def test_a_step_is_stored_over_what_it_was_decided_on_only(sql: Ports) -> None:
    """Not over another state, and nothing that widens over what is not recorded yet."""

    async def story() -> None:
        shelf, one = await Shelf(sql).filled(), made()
        await shelf.registered(one)
        old = await shelf.now(one)
        ready = through(one)[0]
        change = await shelf.put(one, ready)
        assert await shelf.store.put(replace(ready, revision=old.revision), {}, NOW) is None
        assert await shelf.put(one, ready) is None
        await shelf.done(change)
        assert await shelf.store.put(replace(ready, revision=old.revision), {}, NOW, narrows=True) is None
        absent = replace(made(name="other"), revision=0)
        assert await shelf.store.put(absent, {}, NOW, narrows=True) is None

    run(story())


def test_what_stops_an_adapter_binds_at_once_and_behind_what_waits(sql: Ports) -> None:
    """Several wait in order, and each is in force by its own event."""

    async def story() -> None:
        shelf, one = await Shelf(sql).filled(), made()
        await shelf.served(one)
        stopped = moved(await shelf.now(one), GoStale((Stale(Cause.DOCUMENT_DELETED, "d"),)))
        assert isinstance(stopped, Registered)
        first = await shelf.put(one, stopped, narrows=True)
        assert await shelf.names() == []
        worse = moved(await shelf.now(one), Quarantine(Alarm.INTEGRITY))
        assert isinstance(worse, Registered)
        second = await shelf.put(one, worse, narrows=True)
        await shelf.done(first)
        between = await shelf.now(one)
        assert (between.entry.state, between.recorded, between.serves) == (State.QUARANTINED, False, False)
        await shelf.done(second)
        kept = await shelf.now(one)
        assert (kept.entry.state, kept.entry.alarm, kept.recorded) == (State.QUARANTINED, Alarm.INTEGRITY, True)
        assert kept.entry.stale == (Stale(Cause.DOCUMENT_DELETED, "d"),)

    run(story())


def test_a_change_that_is_carried_late_takes_nothing_back(sql: Ports) -> None:
    """Another server's stop was carried before this one's publishing: it stays stopped."""

    async def story() -> None:
        shelf, one = await Shelf(sql).filled(), made()
        await shelf.registered(one)
        *before, served = through(one)
        for stands in before:
            await shelf.done(await shelf.put(one, stands))
        late = await shelf.put(one, served)
        stopped = moved(await shelf.now(one), Quarantine(Alarm.REPORTED))
        assert isinstance(stopped, Registered)
        await shelf.done(await shelf.put(one, stopped, narrows=True))
        await shelf.done(late)
        assert (await shelf.now(one)).entry.state is State.QUARANTINED
        assert await shelf.names() == []

    run(story())


def test_a_document_that_leaves_takes_its_learners_out_at_once(sql: Ports) -> None:
    """Before anybody has marked them; what did not learn it stays; put back in place of a pending deletion it is as
    before."""

    async def story() -> None:
        shelf, one = await Shelf(sql).filled(), made()
        other = made(lineage([learned(TWO.document)]), "other")
        await shelf.served(one)
        await shelf.served(other, lineage([learned(TWO.document)]))
        assert len(await shelf.names()) == 2
        change = await sql.label("delete", ONE.document, 1, 1)
        assert await shelf.names() == [other.name]
        assert await shelf.store.gone() == {}
        await outbox(sql).finish([change])
        assert await shelf.names() == [other.name]
        assert await shelf.store.gone() == {one.id: (Stale(Cause.DOCUMENT_DELETED, str(ONE.document)),)}

    run(story())


def test_what_was_erased_or_never_was_is_gone(sql: Ports) -> None:
    """By version: one that opens no more, or is not there, is told as erased."""

    async def story() -> None:
        shelf, one = await Shelf(sql).filled(), made()
        await shelf.served(one)
        row = t.document_version.c
        blank = sa.update(t.document_version).where(row.document == ONE.document).values(wrapped_key=b"")
        await sql.database.write(lambda connection: connection.execute(blank) and None)
        assert await shelf.store.gone() == {one.id: (Stale(Cause.DOCUMENT_ERASED, str(ONE.document)),)}
        away = sa.delete(t.document).where(t.document.c.id == TWO.document)
        await sql.database.write(lambda connection: connection.execute(away) and None)
        assert len((await shelf.store.gone())[one.id]) == 2

    run(story())


def test_adapters_are_registered_one_at_a_time(sql: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several servers over a database server the second waits, and gives up after a while."""
    if sql.database.engine.dialect.name == "sqlite":
        pytest.skip("the file is one server's own")
    monkeypatch.setattr(sql_turn, "PATIENCE", 0.1)

    async def story() -> None:
        other = Database(sql.database.engine.url.render_as_string(hide_password=False))
        async with SqlAdapters(sql.database).turn():
            with pytest.raises(LedgerUnavailable):
                async with SqlAdapters(other).turn():
                    pass
        async with SqlAdapters(other).turn():
            pass
        other.close()

    run(story())


def test_the_newest_adapter_is_listed_first(sql: Ports) -> None:
    """Whatever its name."""

    async def story() -> None:
        shelf = await Shelf(sql).filled()
        first = await shelf.registered(made())
        second = replace(made(name="another"), created_at=LATER + timedelta(hours=1))
        await shelf.registered(second)
        assert [one.id for one in await shelf.store.all()] == [second.id, first.id]

    run(story())
