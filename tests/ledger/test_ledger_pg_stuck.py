"""What could hold up a ledger in PostgreSQL, or have it judge wrongly, without anybody being gone."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from tests.ledger.ledger_kit import event, exchange, opening, ring_in, rows, run
from tests.ledger.pg_kit import PgServer, cut, server_in, sql, verified
from tests.ledger.test_ledger_pg_failover import NOTE, until

from usher.backends import ledger_pg_connection
from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_pg_tables import LOCK
from usher.ledger import leader
from usher.ledger.leader import GONE_SECONDS, Leader
from usher.ledger.log import LogFailed, OutOfOrder, Ring, Tail
from usher.ledger.record import Entry, EventType, uuid7


def test_a_leader_that_takes_no_answer_is_replaced(pg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while more of an answer is on its way than fits between; the database waits for it without an end."""
    monkeypatch.setattr(leader, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(leader, "STUCK_SECONDS", 0.1)

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            with closing(PgLog(pg)) as log:
                other = log.sequencing()
                while not other.lead():
                    cut(pg, leader=True)
                assert other._connection is not None
                other._connection.pgconn.send_query(b"SELECT repeat('x', 10000000)")
                await ledger.append(NOTE)
                await until(lambda: sql(pg, "SELECT size FROM tree") == [(1,)], 3)
                other.release()

    run(story())


@pytest.mark.crash  # two servers, one after the other
def test_a_newer_checkpoint_that_is_learnt_during_a_check_is_no_damage(
    pg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader's thread goes on while the one that appends judges the log's end."""

    async def recorded() -> str:
        async with server_in(tmp_path, pg) as ledger:
            await exchange(ledger)
            return await ledger.checkpoint()

    older, newer = run(recorded()), run(recorded())
    with closing(PgLog(pg)) as log:
        one = Leader(log.sequencing(), ring_in(tmp_path), every=1.0)
        one.known, size_of = older, leader.known_size

        def meanwhile(note: str, tail: Tail, ring: Ring) -> int:
            one.known = newer
            return size_of(note, tail, ring)

        monkeypatch.setattr(leader, "known_size", meanwhile)
        one.check(log.sequencing().load(), 0)
        assert one.known == newer


def test_a_session_is_gone_only_when_it_was_free_all_the_time(pg: str, tmp_path: Path) -> None:
    """Free when a server led before, and free again as it leads once more: between them it was not looked at."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await ledger.append(opening(uuid7()))

    run(story())
    sql(pg, "INSERT INTO sessions DEFAULT VALUES")
    with closing(PgLog(pg)) as log:
        sequencing = log.sequencing()
        one, sessions = Leader(sequencing, ring_in(tmp_path), every=1.0), sequencing.unheld()
        assert one._begin()
        one._end_gone(0.0)
        sequencing.release()
        assert one._begin()
        one._end_gone(GONE_SECONDS + 1)
        assert sequencing.unheld() == sessions
        one._end_gone(2 * GONE_SECONDS + 1)
        assert sequencing.unheld() == frozenset()
        sequencing.release()


def test_another_ledger_of_the_same_postgresql_is_no_other_server(pg_everywhere: PgServer, pg: str) -> None:
    """Who erases is alone, whatever is locked in another database."""
    with closing(PgLog(pg)) as log:
        log.prepare()
        sql(pg, "INSERT INTO sessions DEFAULT VALUES")
        for database, others in (("template1", 0), ("postgres", 1)):
            with psycopg.connect(pg_everywhere.of(database), autocommit=True) as other:
                other.execute("SELECT pg_advisory_lock(%s, 1)", (LOCK,))
                assert log.others() == others


def test_nothing_is_dropped_of_what_another_server_answers(pg: str, tmp_path: Path) -> None:
    """No event has committed to it yet; once it has ended it may go."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as one, server_in(tmp_path, pg) as two:
            subject, ident = await one.subject("alice"), uuid7()
            await one.append(opening(ident), rows(subject, ident))
            gone = [Entry(EventType.RETENTION, body={"exchanges": [ident]})]
            with pytest.raises(OutOfOrder, match="is open"):
                await two.append(gone, dropped=[(ident, 0)])
            await one.append([event(EventType.ANSWER, ident, outcome="answered")])
            await two.append(gone, dropped=[(ident, 0), (ident, 1)])

    run(story())
    assert verified(pg, tmp_path).problems == ()


def test_reading_waits_for_nobodys_lock_for_ever(pg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's session that holds a table: a read is refused, and the thread that made it goes on."""
    monkeypatch.setattr(ledger_pg_connection, "_READING", ledger_pg_connection._READING.replace("'3s'", "'50ms'"))
    with closing(PgLog(pg)) as log:
        log.prepare()
        with psycopg.connect(pg) as other:
            other.execute("LOCK TABLE usher_ledger.content")
            with pytest.raises(LogFailed, match="lock timeout"):
                log.content(uuid7())


def test_who_waits_for_a_checkpoint_holds_up_nobody(pg: str, tmp_path: Path) -> None:
    """While nothing is given its place, as when a server that led is replaced, what is asked for waits alone."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            with psycopg.connect(pg) as connection:
                connection.execute("SELECT 1 FROM usher_ledger.tree FOR UPDATE")  # the leader cannot take its turn
                asked = asyncio.create_task(ledger.checkpoint())
                await until(lambda: sql(pg, "SELECT count(*) FROM pending") == [(1,)])
                async with asyncio.timeout(1):
                    await ledger.append(NOTE)
                assert not asked.done()
            assert (await asked).split("\n")[1] in ("0", "1")

    run(story())


def test_under_a_lasting_backlog_there_are_checkpoints(
    pg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More waits than one turn takes, turn after turn; whoever took over would else have all of it to read."""
    monkeypatch.setattr(leader, "MAX_TAKEN", 2)
    monkeypatch.setattr(leader, "MAX_UNCOVERED", 10)

    async def story() -> None:
        async with server_in(tmp_path, pg, every=60.0) as ledger:
            await ledger.append(NOTE * 60)
            await until(lambda: sql(pg, "SELECT size FROM tree") == [(60,)])

    run(story())
    sizes = [size for (size,) in sql(pg, "SELECT size FROM checkpoints ORDER BY size")]
    assert max(later - size for size, later in itertools.pairwise(sizes)) <= 12
