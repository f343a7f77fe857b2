"""Three real servers over one PostgreSQL and one `usher store`, under load: a policy change binds on all of them, and
what is stopped, cut off or lost denies. The figures are the bench's; here the bounds are wide."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.backends.sql.postgres import PostgresMissing
from tests.replicas.replica_kit import PATIENCE, USHER, Replica, Replicas, replicas, until
from tests.replicas.watching import Change, Watching, notifications_lost

pytestmark = [pytest.mark.crash, pytest.mark.loopback]

BOUND_MS = 2_000
"""Far above the bench's, for a machine that does much else; far below what a stream would go on for."""
ALL = (0, 1, 2)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def three(loop: asyncio.Runner, graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    opened = replicas(tmp_path_factory.mktemp("replicas"), graph)
    try:
        made = loop.run(opened.__aenter__())
    except PostgresMissing as missing:
        pytest.skip(f"PostgreSQL cannot be started: {missing}")
    yield made
    loop.run(opened.__aexit__(None, None, None))


async def _bound_everywhere(watching: Watching, at: int) -> None:
    opened, shut = await watching.round(at, ALL)
    assert watching.stale_after_ack(opened, shut.began) == []
    assert watching.stale_after_ack(shut, float("inf")) == []
    assert max(watching.last_stale_ms(shut).values()) < BOUND_MS
    assert set(watching.ended) == {(number, "stream") for number in ALL}, "each server has told its streams"
    watching.forget()


def test_a_change_on_one_server_binds_on_all(loop: asyncio.Runner, three: Replicas) -> None:
    """Whichever it is made on: no search, list or stream goes by the policy before, silent streams are told too, and
    nothing that is asked after the acknowledgement is answered by it, with the token or without."""

    async def story() -> None:
        watching = Watching(three)
        async with watching.under_load(ALL):
            for at in ALL:
                await _bound_everywhere(watching, at)

    loop.run(story())


def test_a_change_binds_though_no_server_is_told_of_it(loop: asyncio.Runner, three: Replicas) -> None:
    """Every notification is lost: servers look by themselves."""

    async def story() -> None:
        watching = Watching(three)
        async with notifications_lost(three), watching.under_load(ALL):
            await _bound_everywhere(watching, 1)

    loop.run(story())


def test_a_server_that_was_paused_answers_nothing_by_what_it_knew(loop: asyncio.Runner, three: Replicas) -> None:
    """The others do not wait for it, and once it goes on, what it is asked is judged by the policy of now."""

    async def story() -> None:
        watching = Watching(three)
        async with watching.under_load(ALL):
            await watching.apply(allows=True)
            await asyncio.sleep(0.5)
            three.servers[2].stop()
            try:
                async with asyncio.timeout(PATIENCE):
                    shut = await watching.apply(allows=False)
                await asyncio.sleep(0.5)
            finally:
                three.servers[2].go_on()
            await until(lambda: _answered_since(watching, shut, 2))
        assert watching.stale_after_ack(shut, float("inf")) == []

    loop.run(story())


async def _answered_since(watching: Watching, change: Change, server: int) -> bool:
    return any(each.sent > change.acked and each.sort[0] == server for each in watching.seen)


async def _unready(server: Replica, part: str) -> bool:
    return part in (await server.ready() or {})


async def _well(three: Replicas) -> bool:
    return all([await server.ready() == {} for server in three.servers])


async def _denied(server: Replica) -> bool:
    """A search and a question are answered with an error, and a list as well where it needs that part."""
    try:
        answers = await server.hits(), await server.listed()
    except httpx.HTTPError:
        return True
    return answers[0] is None


def test_without_its_database_each_server_denies_and_says_that_it_is_not_ready(
    loop: asyncio.Runner, three: Replicas
) -> None:
    """From its end until it is back; then they go on by themselves, and a change binds as before."""

    async def story() -> None:
        watching = Watching(three)
        await watching.apply(allows=True)
        three.pg.stop("immediate")
        try:
            for server in three.servers:
                assert await until(lambda server=server: _unready(server, "database")) < PATIENCE
                assert await _denied(server)
                assert await server.listed() is None
        finally:
            three.pg.start()
        await until(lambda: _well(three))
        async with watching.under_load(ALL):
            await _bound_everywhere(watching, 0)

    loop.run(story())


def test_without_the_store_searches_are_denied_until_it_is_back(loop: asyncio.Runner, three: Replicas) -> None:
    """It is killed: readiness says so, nothing is found, and the servers connect again by themselves."""

    async def story() -> None:
        await Watching(three).apply(allows=True)
        assert three.store is not None
        os.kill(three.store.pid, signal.SIGKILL)
        three.store.wait()
        for server in three.servers:
            assert await _unready(server, "store")
            assert await _denied(server)
            assert await server.listed(), "a list needs no store"
        await asyncio.to_thread(three.start_store)
        await until(lambda: _well(three))
        assert [await server.hits() for server in three.servers] == [2, 2, 2]

    loop.run(story())


def test_a_second_owner_of_the_index_is_refused(three: Replicas) -> None:
    """With what is wrong and the remedy, and the first one goes on."""
    environment = three.environment(three.folder / "store") | {"USHER_QDRANT_URL": ""}
    command = [USHER, "store", "--socket", str(three.folder / "other.sock")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "open in another process" in done.stderr


def test_the_store_ends_in_good_order_when_asked(loop: asyncio.Runner, three: Replicas) -> None:
    """With exit code 0, its socket gone; another one serves what it held."""

    async def story() -> None:
        assert three.store is not None
        three.store.terminate()
        assert await asyncio.to_thread(three.store.wait, PATIENCE) == 0
        assert three.socket.name not in os.listdir(three.folder)  # noqa: PTH208 - one call, names only
        await asyncio.to_thread(three.start_store)
        await Watching(three).apply(allows=True)
        await until(lambda: _well(three))
        assert [await server.hits() for server in three.servers] == [2, 2, 2]

    loop.run(story())
