"""PostgreSQL tells every server when the state moves; a server that is not told finds out by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.backends.sql.sql_kit import NOW, Ports, run

from usher.app import DATABASE_S, _state
from usher.backends import sql_listen
from usher.backends.sql import ANSWERS_WITHIN, Database
from usher.errors import DatabaseUnavailable

pytestmark = pytest.mark.parametrize("sql", [pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)

_LOCK = sa.text("LOCK TABLE state IN ACCESS EXCLUSIVE MODE")


class Ear:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.times = 0
        self._more = asyncio.Event()

    def __call__(self) -> None:
        self.times += 1
        self._more.set()

    async def hears(self, seconds: float = 5.0) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._more.wait()
        except TimeoutError:
            return False
        self._more.clear()
        return True


def listening(database: Database, story: Callable[[Ear], Awaitable[None]]) -> None:
    async def whole() -> None:
        ear = Ear()
        task = asyncio.create_task(sql_listen.listen(database, ear))
        assert await ear.hears(), "once it listens: something may have moved before"
        await story(ear)
        task.cancel()
        await asyncio.wait({task})

    run(whole())


def test_a_change_is_heard_when_it_is_committed(sql: Ports) -> None:
    """Pending and finished, each once; what is rolled back is not heard."""

    async def story(ear: Ear) -> None:
        change = await sql.directory.put_person("alice", ["g"], "operator:1", NOW)
        assert await ear.hears()
        await sql.outbox.finish([change])
        assert await ear.hears()
        with pytest.raises(ZeroDivisionError):
            await sql.database.write(lambda connection: [sql_listen.notify(connection), 1 // 0])
        assert not await ear.hears(0.1)
        assert ear.times == 3

    listening(sql.database, story)


def test_a_listener_whose_connection_breaks_looks_and_listens_again(
    sql: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something may have moved in between: it says so both times."""
    monkeypatch.setattr(sql_listen, "AGAIN_S", 0.05)
    cut = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = :listen")

    async def story(ear: Ear) -> None:
        await sql.database.read(lambda connection: connection.execute(cut, {"listen": "LISTEN usher_revision"}).all())
        assert await ear.hears()
        assert await ear.hears()
        await sql.directory.put_person("alice", ["g"], "operator:1", NOW)
        assert await ear.hears()

    listening(sql.database, story)


def test_a_database_that_is_silent_denies_within_the_bound(sql: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A barrier's read is given up, and raises; it answers again when the database does."""
    pool = sql.database.engine.pool
    assert isinstance(pool, sa.QueuePool)

    async def story() -> None:
        with sql.database.engine.begin() as connection, monkeypatch.context() as soon:
            soon.setattr("usher.backends.sql.ANSWERS_WITHIN", 0.1)
            connection.execute(_LOCK)
            with pytest.raises(DatabaseUnavailable):
                await sql.policies.revision()
            with pytest.raises(DatabaseUnavailable):
                await sql.identity.of_person("alice", NOW)
        assert await sql.policies.revision() == 0

    run(story())
    while pool.checkedout():  # by those that were left behind
        time.sleep(0.01)


def test_a_database_that_is_gone_has_one_name(sql: Ports) -> None:
    """For readers and writers alike."""
    gone = Database("postgresql+psycopg://usher@/postgres?host=/nowhere")

    async def story() -> None:
        for ask in (gone.glance, gone.read, gone.write):
            with pytest.raises(DatabaseUnavailable):
                await ask(lambda connection: connection.execute(sa.text("SELECT 1")))

    run(story())
    gone.close()


def test_readiness_turns_red_before_barriers_deny(sql: Ports) -> None:
    """With time to spare for whoever looks at it every half second."""
    assert DATABASE_S + 0.5 <= ANSWERS_WITHIN

    async def story() -> None:
        with sql.database.engine.begin() as connection:
            connection.execute(_LOCK)
            assert "does not answer" in await _state(sql.policies.revision(), 0.1)
        assert await _state(sql.policies.revision(), DATABASE_S) == "ok"

    run(story())


def test_a_machine_that_is_gone_without_a_word_is_noticed(sql: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the connections of the pool and by the one that listens; what the URL says goes before."""
    heard: list[dict[str, str]] = []
    connect = psycopg.AsyncConnection.connect

    async def noted(*given: Any, **named: Any) -> Any:
        connection = await connect(*given, **named)
        heard.append(connection.info.get_parameters())
        return connection

    async def story(ear: Ear) -> None:
        with sql.database.engine.connect() as connection:
            heard.append(connection.connection.driver_connection.info.get_parameters())  # type: ignore[union-attr]  # psycopg's

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", noted)
    listening(sql.database, story)
    assert [(one["tcp_user_timeout"], one["keepalives_idle"], one["connect_timeout"]) for one in heard] == [
        ("10000", "5", "5")
    ] * 2
    own = Database("postgresql+psycopg://nobody@127.0.0.1:1/none?tcp_user_timeout=1234")
    assert (own.engine.url.query["tcp_user_timeout"], own.engine.url.query["connect_timeout"]) == ("1234", "5")
    own.close()
