"""PostgreSQL takes the leader's connection away, or stops at once, while servers record: nothing acknowledged is lost
or doubled, and they go on by themselves."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from tests.backends.sql.postgres import PostgresMissing
from tests.crash.how_often import TIMES
from tests.crash.pg_server import Server, server
from tests.crash.test_pg_kills import ends
from tests.ledger.ledger_kit import exchange, ring_in, run

from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_pg_tables import LOCK, SEQUENCER
from usher.ledger.log import LedgerUnavailable, OutOfOrder
from usher.ledger.sequencer import Ledger
from usher.ledger.verify.postgresql import opened
from usher.ledger.verify.run import verify_opened
from usher.ledger.verify.verdict import Means

pytestmark = pytest.mark.crash

SERVERS, CALLERS = 2, 6
LEAD_SECONDS = 5.0
"""In which another connection leads."""
BACK_SECONDS = 20.0
"""In which the servers record again once PostgreSQL is back."""
_LOCKED = "locktype = 'advisory' AND granted AND objsubid = 2"
_LEADER = f"SELECT pid FROM pg_locks WHERE {_LOCKED} AND classid = {LOCK} AND objid = {SEQUENCER}"  # noqa: S608  # numbers


class Load:
    """Callers that record exchanges with each of some servers until they are told to stop."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self.refused: Counter[str] = Counter()
        self._go = True

    async def call(self, ledger: Ledger) -> None:
        while self._go:
            try:
                self.acknowledged.append(await exchange(ledger))
            except (LedgerUnavailable, OutOfOrder) as refused:  # out of order: it was ended while the server was away
                self.refused[str(refused)] += 1
                await asyncio.sleep(0.05)
            await asyncio.sleep(random.random() / 50)  # noqa: S311  # a pace, no secret

    async def more(self, seconds: float) -> None:
        """Until something more is acknowledged."""
        before, due = len(self.acknowledged), time.monotonic() + seconds
        while len(self.acknowledged) == before:
            assert time.monotonic() < due, "nothing is recorded again"
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        self._go = False


async def under_load(folder: Path, pg: Server, act: Callable[[Load], Awaitable[None]]) -> Load:
    """Servers with callers, while `act` does what it does."""
    ring, load = ring_in(folder), Load()
    ledgers = [await Ledger.open(PgLog(pg.url), ring, every=0.5) for _ in range(SERVERS)]
    callers = [asyncio.create_task(load.call(ledger)) for ledger in ledgers for _ in range(CALLERS)]
    try:
        await act(load)
    finally:
        load.stop()
        await asyncio.gather(*callers)
        for ledger in ledgers:
            await ledger.close()
    return load


def check(folder: Path, pg: Server, load: Load) -> None:
    """Everything acknowledged is there, once, and the record verifies."""
    assert set(Counter(load.acknowledged).values()) == {1}
    ended = ends(pg)
    wrong = {ident: ended.get(ident) for ident in load.acknowledged if ended.get(ident) != ["answered"]}
    assert wrong == {}
    assert all(len(outcomes) == 1 for outcomes in ended.values())
    verdict = verify_opened(partial(opened, pg.url), Means(ring=ring_in(folder)))
    assert verdict.ok, verdict
    assert pg.query("SELECT count(*) FROM usher_ledger.pending") == [(0,)]


async def leader(pg: Server, gone: int = 0) -> int:
    """The process of the connection that leads, once another one does than this."""
    began = time.monotonic()
    while not (found := [pid for (pid,) in pg.query(_LEADER) if pid != gone]):
        assert time.monotonic() - began < LEAD_SECONDS, "nobody leads"
        await asyncio.sleep(0.02)
    return int(found[0])


async def growth(pg: Server) -> None:
    """Until some events got their place."""
    began, size = time.monotonic(), "SELECT size FROM usher_ledger.tree"
    before = pg.query(size)
    while pg.query(size) == before:
        assert time.monotonic() - began < LEAD_SECONDS, "nothing gets its place"
        await asyncio.sleep(0.02)


def test_the_leaders_connection_is_taken_away(tmp_path: Path) -> None:
    """Fifty times: another connection leads within five seconds, and no caller notices."""

    async def act(load: Load) -> None:
        for _ in range(50 * TIMES):
            await asyncio.sleep(random.random() / 5)  # noqa: S311  # a moment, no secret
            gone = await leader(pg)
            pg.query(f"SELECT pg_terminate_backend({gone})")
            await leader(pg, gone)
            await growth(pg)  # one that is lost again before it has done anything is no leader

    try:
        with server() as pg:
            load = run(under_load(tmp_path, pg, act))
            check(tmp_path, pg, load)
    except PostgresMissing as missing:
        pytest.skip(f"no PostgreSQL can be started here: {missing}")
    assert len(load.acknowledged) > 100
    assert not load.refused


# psycopg warns of a cursor that was open when its server ended, which nobody can close any more.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_postgresql_stops_at_once(tmp_path: Path) -> None:
    """Twenty times `pg_ctl stop -m immediate`: callers are refused, and served again once it is back."""

    async def act(load: Load) -> None:
        for _ in range(20 * TIMES):
            await load.more(BACK_SECONDS)
            await asyncio.sleep(random.random() / 2)  # noqa: S311  # a moment, no secret
            await asyncio.to_thread(pg.stop, "immediate")
            pg.start()  # not in another thread: the server is told when the one that started it ends
        await load.more(BACK_SECONDS)

    try:
        with server() as pg:
            load = run(under_load(tmp_path, pg, act))
            check(tmp_path, pg, load)
    except PostgresMissing as missing:
        pytest.skip(f"no PostgreSQL can be started here: {missing}")
    assert load.refused
