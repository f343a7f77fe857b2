"""Servers, connections and databases that are lost under a shared ledger: who takes over, and what is refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from tests.ledger.ledger_kit import event, exchange, opening, ring_in, rows, run
from tests.ledger.pg_kit import WAIT, cut, server_in, sql, verified, waiting

from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_pg_sequencing import PgSequencing
from usher.ledger import leader, sequencer
from usher.ledger.log import LedgerDamaged, LedgerUnavailable, LogFailed
from usher.ledger.record import Entry, EventType, uuid7
from usher.ledger.sequencer import Ledger

pytestmark = pytest.mark.slow
NOTE = [Entry(EventType.OPERATOR)]


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(sequencer, "PROBE_SECONDS", 0.05)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # a value to look at, not an event
            await asyncio.sleep(0.02)


async def tried(append: Callable[[], Awaitable[object]], seconds: float = 5.0) -> int:
    """Append until it is acknowledged; how often it was refused."""
    refused = 0
    async with asyncio.timeout(seconds):
        while True:
            try:
                await append()
            except LedgerUnavailable:
                refused += 1
                await asyncio.sleep(0.02)
            else:
                return refused


def lost_session(ledger: Ledger) -> tuple[PgLog, str]:
    """This server's connection ends, and it does not get another one; its log, and the URL that it had."""
    log = ledger._log
    assert isinstance(log, PgLog)
    url, log._url = log._url, "postgresql://nobody@/none?host=/nowhere"
    assert log._connection is not None
    log._connection.close()
    return log, url


def test_a_connection_that_is_cut_ends_no_exchange(pg: str, tmp_path: Path) -> None:
    """The server takes its session up again, with what it had begun, and goes on where it was."""

    async def story() -> str:
        async with server_in(tmp_path, pg) as ledger, server_in(tmp_path, pg):
            subject, ident = await ledger.subject("alice"), uuid7()
            question, answer = rows(subject, ident)
            await ledger.append(opening(ident), [question])
            cut(pg, leader=False)
            assert await tried(lambda: ledger.append([event(EventType.RETRIEVAL, ident, passages=[])])) <= 1
            cut(pg, leader=False)
            await until(lambda: ledger.healthy() is None)
            await tried(lambda: ledger.append([event(EventType.ANSWER, ident, outcome="answered")], [answer]))
            return ident

    run(story())
    events = [json.loads(event) for (event,) in sql(pg, "SELECT event FROM events ORDER BY number")]
    assert [event["type"] for event in events] == ["request", "decision", "retrieval", "answer"]
    assert events[-1]["content"]["rows"] == 2
    assert verified(pg, tmp_path).problems == ()


def test_what_a_lost_server_left_open_ends(pg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one ends it over the rows that there are. Should the lost one come back, it may not go on with it, but
    with everything else; and what others are answering goes on."""
    monkeypatch.setattr(leader, "GONE_SECONDS", 0.3)

    async def story() -> tuple[str, str]:
        async with server_in(tmp_path, pg) as one, server_in(tmp_path, pg) as two:
            subject, lost, kept = await one.subject("alice"), uuid7(), uuid7()
            await one.append(opening(lost), rows(subject, lost))
            await two.append(opening(kept), rows(subject, kept)[:1])
            log, url = lost_session(one)
            await until(lambda: "interrupted" in str(sql(pg, "SELECT encode(event, 'escape') FROM events")))
            with pytest.raises(LedgerUnavailable):
                await one.append(NOTE)
            log._url = url
            await until(lambda: one.healthy() is None)
            for _ in range(2):  # it is told so also when the connection was lost once more
                with pytest.raises(LedgerUnavailable, match="ended as interrupted"):
                    await one.append([event(EventType.ANSWER, lost, outcome="answered")])
                assert log._connection is not None
                log._connection.close()
                await tried(lambda: one.append(NOTE))
            await exchange(one)
            await two.append([event(EventType.ANSWER, kept, outcome="answered")])
            return lost, kept

    lost, kept = run(story())
    events = [json.loads(event) for (event,) in sql(pg, "SELECT event FROM events ORDER BY number")]
    ends = {
        event["audit_id"]: (event["outcome"], event["content"]["rows"]) for event in events if event["type"] == "answer"
    }
    assert (ends[lost], ends[kept]) == (("interrupted", 2), ("answered", 1))
    assert [event["interrupted"] for event in events if event["type"] == "recovery"] == [1]
    assert verified(pg, tmp_path).problems == ()


def test_a_session_that_is_held_is_not_ended(pg: str, tmp_path: Path) -> None:
    """It does not count as free, and should somebody try to end it all the same, nothing happens."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await ledger.append(opening(uuid7()))
            await ledger.checkpoint()
            ((session,),) = sql(pg, "SELECT id FROM sessions")
            other = PgLog(pg)
            sequencing = other.sequencing()
            tail = sequencing.load()
            assert sequencing.unheld() == frozenset()
            with sequencing.turn(tail.size, tail.mac) as turn:
                assert turn.end([session]) is None
            assert sql(pg, "SELECT id FROM sessions") == [(session,)]
            lost_session(ledger)
            await until(lambda: sequencing.unheld() == {session})
            sequencing.release()
            other.close()

    run(story())


def test_a_leader_that_is_cut_off_is_replaced_and_nothing_is_lost(pg: str, tmp_path: Path) -> None:
    """Four times while two servers record: each acknowledged event is there once, within five seconds each time."""

    async def story() -> list[str]:
        async with server_in(tmp_path, pg) as one, server_in(tmp_path, pg) as two:
            done: list[str] = []
            for _ in range(4):
                recording = [asyncio.create_task(exchange(ledger)) for ledger in (one, two) for _ in range(4)]
                await asyncio.to_thread(cut, pg, leader=True)
                done += await asyncio.gather(*recording)
                began = time.monotonic()
                await one.checkpoint()
                assert time.monotonic() - began < 5
            return done

    done = run(story())
    events = [json.loads(event) for (event,) in sql(pg, "SELECT event FROM events ORDER BY number")]
    assert len(events) == 5 * len(done) == 160
    assert {event["audit_id"] for event in events} == set(done)
    assert verified(pg, tmp_path).problems == ()


def test_a_former_leader_that_still_writes_is_fenced(pg: str, tmp_path: Path) -> None:
    """Where the lock is lost without the connection, a turn from before fails, and takes nothing of what waits."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            log = PgLog(pg)
            former = log.sequencing()
            tail = former.load()
            await ledger.append(NOTE)
            await ledger.checkpoint()  # by the one that leads now
            with pytest.raises(LogFailed, match="another server leads"), former.turn(tail.size, tail.mac) as turn:
                turn.take(10)
            tail = former.load()
            with former.turn(tail.size, tail.mac) as turn:
                sql(pg, WAIT, *waiting(pg, tmp_path, b'{"type":"operator"}', session=9))
                assert len(turn.take(10)) == 1
                former.release()  # it is lost in the middle: what it took still waits
            former.release()
            log.close()
            await ledger.checkpoint()

    run(story())
    assert sql(pg, "SELECT count(*) FROM events") == [(2,)]
    assert sql(pg, "SELECT count(*) FROM pending") == [(0,)]


def test_two_that_lead_at_once_lose_and_double_nothing(
    pg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both believe that they have the lock, all the time; the tree's row decides, turn by turn."""
    monkeypatch.setattr(PgSequencing, "lead", lambda self: self._connected() is not None)
    monkeypatch.setattr(leader, "TURN_SECONDS", 0.002)

    async def story() -> list[str]:
        async with server_in(tmp_path, pg) as one, server_in(tmp_path, pg) as two:
            return await asyncio.gather(*[exchange(ledger) for ledger in (one, two) for _ in range(25)])

    done = run(story())
    events = [json.loads(event) for (event,) in sql(pg, "SELECT event FROM events ORDER BY number")]
    assert sorted(event["audit_id"] for event in events) == sorted(done * 5)
    assert verified(pg, tmp_path).problems == ()


def test_an_older_copy_of_the_database_is_refused(pg: str, tmp_path: Path) -> None:
    """By a server that knows a newer checkpoint, from beside its key ring or from its own memory."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await exchange(ledger)
        older(pg)
        async with server_in(tmp_path, pg) as ledger:
            await ledger.append(NOTE)
            known = await ledger.checkpoint()
            assert known.split("\n")[1] == "6"
            swapped(pg)
            assert await tried_in_vain(ledger) == "it has 5 events and not the checkpoint over 6"
        with pytest.raises(LedgerDamaged, match="move the kept checkpoint away"):
            await Ledger.open(PgLog(pg), ring_in(tmp_path), known=known)

    run(story())


@pytest.mark.crash  # a second copy of a database
def test_an_older_copy_is_refused_between_checkpoints_too(pg: str, tmp_path: Path) -> None:
    """By a server that has itself seen more events, as after a replica took over that lacked the last ones."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await exchange(ledger)
        older(pg)
        async with server_in(tmp_path, pg) as ledger:
            await ledger.append(NOTE)
            await until(lambda: sql(pg, "SELECT size FROM tree") == [(6,)])
            await asyncio.sleep(0.1)
            swapped(pg)
            assert await tried_in_vain(ledger) == (
                "it has 5 events and this server has seen 6: it is older, from a backup or a replica; put the newer "
                "database back, or restart Usher to go on from this one"
            )
        assert sql(pg, "SELECT count(*) FROM pending WHERE part IS NOT NULL") == [(0,)]

    run(story())


async def tried_in_vain(ledger: Ledger) -> str:
    """What the server says, when it is refused for longer than a moment."""
    said = ""
    for _ in range(20):
        try:
            await ledger.append(NOTE)
        except LedgerUnavailable as refusal:
            said = refusal.reason
        await asyncio.sleep(0.02)
    with pytest.raises(LedgerUnavailable):
        await ledger.append(NOTE)
    return said.removeprefix("ledger: ").partition(" that is kept")[0]


def older(pg: str) -> None:
    """A backup."""
    with psycopg.connect(pg.replace("/postgres?", "/template1?"), autocommit=True) as other:
        other.execute("DROP DATABASE IF EXISTS backup")
        other.execute("CREATE DATABASE backup TEMPLATE postgres")


def swapped(pg: str) -> None:
    """The database is replaced by the backup while it is in use."""
    with psycopg.connect(pg.replace("/postgres?", "/template1?"), autocommit=True) as other:
        other.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'")
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE datname = 'postgres'").fetchone():
            time.sleep(0.01)
        other.execute("ALTER DATABASE postgres RENAME TO former")
        other.execute("ALTER DATABASE backup RENAME TO postgres")
        other.execute("DROP DATABASE former")
