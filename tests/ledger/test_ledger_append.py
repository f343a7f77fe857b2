"""Appending: order, durability, concurrency, content."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import (
    ANSWER,
    QUESTION,
    event,
    exchange,
    ledger_in,
    opening,
    query,
    ring_in,
    rows,
    run,
    search,
)

from usher.backends.ledger_memory import MemoryLog
from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_sql import SqlLog
from usher.ledger.log import Batch, LedgerUnavailable, Log, OutOfOrder
from usher.ledger.record import Entry, EventType, Kind, uuid7
from usher.ledger.sealing import SealBroken
from usher.ledger.shared import SharedLog
from usher.ledger.verify import verify


@pytest.fixture(params=["sql", "memory", pytest.param("postgresql", marks=pytest.mark.slow)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log | SharedLog:
    if request.param == "postgresql":
        return PgLog(request.getfixturevalue("pg"))
    return SqlLog(tmp_path / "ledger.sqlite") if request.param == "sql" else MemoryLog()


def test_a_whole_exchange_is_five_events_that_verify(tmp_path: Path) -> None:
    """Request, decision, retrieval, generation and answer are numbered in order and pass the verifier."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)
            await search(ledger)

    run(story())
    types = [t for (t,) in query(tmp_path / "ledger.sqlite", "SELECT json_extract(event, '$.type') FROM events")]
    assert types == ["request", "decision", "retrieval", "generation", "answer", "request", "decision", "retrieval"]
    verdict = verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path))
    assert (verdict.ok, verdict.size, verdict.content, verdict.problems) == (True, 8, "checked", ())


def test_content_comes_back_and_opens_in_its_place_only(log: Log | SharedLog, tmp_path: Path) -> None:
    """What was sealed is read back; a row put elsewhere, or another person's key, opens nothing."""

    async def story() -> None:
        async with ledger_in(tmp_path, log) as ledger:
            ident = await exchange(ledger)
            stored = await ledger.content(ident)
            alice, bob = await ledger.subject("alice"), await ledger.subject("bob")
            talk = alice.conversation("talk-1")
            assert [(row.kind, talk.open(row)) for row in stored] == [("question", QUESTION), ("answer", ANSWER)]
            moved = rows(alice, ident)[0]
            for wrong in (bob.conversation("talk-1"), alice.conversation("talk-2")):
                with pytest.raises(SealBroken):
                    wrong.open(moved)
            other = talk.seal(ident, 0, Kind.QUESTION, "another text")
            with pytest.raises(SealBroken):
                talk.open(type(moved)(*[getattr(moved, n) for n in moved.__slots__[:5]], b"c" * 32, other.ciphertext))

    run(story())


def test_a_pseudonym_is_random_durable_and_one_for_each_person(log: Log | SharedLog, tmp_path: Path) -> None:
    """A hundred first sights at once give one pseudonym; it is the same after a restart; its name is found."""

    async def story() -> None:
        async with ledger_in(tmp_path, log) as ledger:
            given = set(await asyncio.gather(*[ledger.pseudonym("user:alice") for _ in range(100)]))
            assert len(given) == 1
            (alice,) = given
            assert await ledger.pseudonym("user:bob") != alice
            assert "alice" not in alice
        log_again = SqlLog(tmp_path / "ledger.sqlite") if isinstance(log, SqlLog) else log
        async with ledger_in(tmp_path, log_again) as ledger:
            assert await ledger.pseudonym("user:alice") == alice
            assert await ledger.subjects.name_of(alice) == "user:alice"
            assert await ledger.subjects.name_of("nobody") is None
            assert await ledger.subjects.known(alice) == await ledger.subject("user:alice")

    run(story())


def test_many_callers_share_commits(tmp_path: Path) -> None:
    """Appends that wait together are committed together, each is told its own numbers, and all are there."""
    log = CountingLog()

    async def story() -> list[int]:
        async with ledger_in(tmp_path, log) as ledger:
            receipts = await asyncio.gather(
                *[ledger.append([Entry(EventType.OPERATOR, body={"n": n})] * 2) for n in range(300)]
            )
            return [number for receipt in receipts for number in receipt.numbers]

    numbers = run(story())
    assert sorted(numbers) == list(range(1, 601))
    assert log.commits < 150


def test_a_caller_waits_until_the_commit_is_done(tmp_path: Path) -> None:
    """No append returns before its batch has been committed."""

    async def story() -> None:
        log = CountingLog()
        async with ledger_in(tmp_path, log) as ledger:
            for _ in range(20):
                receipt = await ledger.append([Entry(EventType.OPERATOR)])
                assert log.size >= receipt.numbers[-1]

    run(story())


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (opening("x")[:1], "together with its decision"),
        (opening("x")[1:], "not open"),
        ([event(EventType.ANSWER, "x")], "not open"),
        ([event(EventType.RETRIEVAL, "x")], "not open"),
        ([*opening("x"), *opening("x")], "open already"),
        ([*opening("x"), event(EventType.ANSWER, "x"), event(EventType.ANSWER, "x")], "not open"),
        ([*opening("x", operation="search"), event(EventType.ANSWER, "x")], "search"),
    ],
)
def test_an_event_without_a_place_is_refused_alone(tmp_path: Path, entries: list[Entry], words: str) -> None:
    """A caller's mistake fails that caller; those in the same group are recorded, and the log verifies."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            good = [ledger.append([Entry(EventType.OPERATOR)]) for _ in range(5)]
            outcomes = await asyncio.gather(*good, ledger.append(entries), exchange(ledger), return_exceptions=True)
            refused = [outcome for outcome in outcomes if isinstance(outcome, OutOfOrder)]
            assert len(refused) == 1
            assert words in str(refused[0])
            assert ledger.healthy() is None

    run(story())
    assert verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path)).size == 10


def test_content_out_of_place_is_refused(tmp_path: Path) -> None:
    """Rows of no open exchange, out of position, or after the answer are refused and not stored."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            done, ident, subject = await exchange(ledger), uuid7(), await ledger.subject("alice")
            question, answer = rows(subject, ident)
            await ledger.append(opening(ident), [question])
            late = subject.conversation("talk-1").seal(done, 2, Kind.ANSWER, "more")
            for wrong in ([question], [late], rows(subject, uuid7())):
                with pytest.raises(OutOfOrder):
                    await ledger.append([], wrong)
            await ledger.append([event(EventType.ANSWER, ident, outcome="answered")], [answer])

    run(story())
    assert query(tmp_path / "ledger.sqlite", "SELECT count(*) FROM content") == [(4,)]
    assert verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path)).ok


@pytest.mark.parametrize("body", [{"time": 1}, {"x": object()}, {"x": float("nan")}, {"number": 3}])
def test_a_body_that_is_no_json_or_forges_the_envelope_is_refused(tmp_path: Path, body: dict[str, object]) -> None:
    """Such an entry is the caller's error and never reaches the queue."""

    async def story() -> None:
        async with ledger_in(tmp_path, MemoryLog()) as ledger:
            with pytest.raises(ValueError, match=r"body|JSON"):
                await ledger.append([Entry(EventType.OPERATOR, body=body)])
            await ledger.append([Entry(EventType.OPERATOR)])

    run(story())


@pytest.mark.parametrize("many", [1, 127, 128, 129, 300])
def test_an_append_of_many_events_is_whole(tmp_path: Path, many: int) -> None:
    """However many rows one commit has, each is stored once, in order."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            receipt = await ledger.append([Entry(EventType.OPERATOR)] * many)
            assert len(receipt.numbers) == many

    run(story())
    assert verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path)).size == many


def test_cancelled_callers_leave_a_sound_log(tmp_path: Path) -> None:
    """Half of the callers are cancelled at once; the others are recorded, and the log verifies."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await ledger.subject("alice")
            tasks = [asyncio.create_task(exchange(ledger)) for _ in range(60)]
            await asyncio.sleep(0.01)
            for task in tasks[::2]:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(outcome, str) for outcome in outcomes) >= 30

    run(story())
    assert verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path)).ok


def test_times_rise_though_the_clock_goes_back(tmp_path: Path) -> None:
    """Each event's time is after the one before it, whatever the clock says, also over a restart."""
    ticks = iter([5_000_000_000, 4_500_000_000, 4_500_000_000] * 100)

    async def story() -> None:
        for _ in range(2):
            async with ledger_in(tmp_path, clock=lambda: next(ticks)) as ledger:
                await ledger.append([Entry(EventType.OPERATOR)] * 4)

    run(story())
    times = [t for (t,) in query(tmp_path / "ledger.sqlite", "SELECT json_extract(event, '$.time') FROM events")]
    assert len(times) == 8
    assert all(a < b for a, b in pairwise(times))
    assert verify(tmp_path / "ledger.sqlite").ok


def test_a_closed_ledger_refuses(tmp_path: Path) -> None:
    """After the stop nothing is taken, and the last checkpoint covers everything."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)
        with pytest.raises(LedgerUnavailable, match="closed"):
            await ledger.append([Entry(EventType.OPERATOR)])
        assert ledger.healthy() is not None
        await ledger.close()

    run(story())
    assert query(tmp_path / "ledger.sqlite", "SELECT max(size) FROM checkpoints") == [(5,)]


def test_checkpoints_come_by_themselves_and_on_demand(tmp_path: Path) -> None:
    """One is made each interval when there is something new, and one when asked for."""

    async def story() -> None:
        async with ledger_in(tmp_path, every=0.05) as ledger:
            await ledger.append([Entry(EventType.OPERATOR)])
            await asyncio.sleep(0.3)
            assert query(tmp_path / "ledger.sqlite", "SELECT size FROM checkpoints") == [(0,), (1,)]
        async with ledger_in(tmp_path) as ledger:
            await ledger.append([Entry(EventType.OPERATOR)])
            assert (await ledger.checkpoint()).split("\n")[1] == "2"
            assert await ledger.checkpoint() == await ledger.checkpoint()

    run(story())


def test_a_planted_question_and_name_stand_nowhere_in_plain(tmp_path: Path) -> None:
    """Neither text nor user name is in the ledger's file, its write-ahead log, or the key ring."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger, "user:ludmila.quandt")
            files = contents(tmp_path)
            assert "ledger.sqlite-wal" in files
            assert files["ledger.sqlite-wal"]
            for planted in (b"zanzibar", b"ludmila", b"quandt"):
                assert not [name for name, data in files.items() if planted in data]

    run(story())
    assert b"zanzibar" not in (tmp_path / "ledger.sqlite").read_bytes()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class CountingLog(MemoryLog):
    """Counts commits, each of which takes a moment."""

    commits, size = 0, 0

    def commit(self, batch: Batch) -> None:
        super().commit(batch)
        self.commits += 1
        self.size = batch.size
