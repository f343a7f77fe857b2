"""When writing fails: nothing is acknowledged, nothing is half written, and it passes by itself."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Connection
from sqlalchemy import event as sql_event
from tests.ledger.ledger_kit import event, exchange, ledger_in, opening, query, ring_in, rows, run

from usher.backends.ledger_memory import MemoryLog
from usher.backends.ledger_sql import SqlLog
from usher.ledger import sequencer
from usher.ledger.log import Batch, LedgerUnavailable, LogFailed, Room
from usher.ledger.record import CHAT, SEARCH, Entry, EventType, uuid7
from usher.ledger.verify import verify

NOTE = [Entry(EventType.OPERATOR)]


class FaultyLog(SqlLog):
    """Fails at a chosen statement of the next transaction; `at` 0 is its commit, None is nowhere."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.at: int | None = None
        self.statements = 0
        sql_event.listen(self._engine, "before_cursor_execute", self._statement)
        sql_event.listen(self._engine, "commit", self._commit)

    def commit(self, batch: Batch) -> None:
        self.statements = 0
        super().commit(batch)

    def _statement(self, *_args: object) -> None:
        self.statements += 1
        if self.statements == self.at:
            raise sqlite3.OperationalError("disk I/O error")

    def _cursor(self, connection: Connection) -> sqlite3.Cursor:
        cursor = super()._cursor(connection)
        return cast(sqlite3.Cursor, _Counted(cursor, self._statement))

    def _commit(self, *_args: object) -> None:
        if self.at == 0:
            raise sqlite3.OperationalError("disk I/O error")


class _Counted:
    """A cursor that says when it is asked for something."""

    def __init__(self, cursor: sqlite3.Cursor, asked: Callable[[], None]) -> None:
        self._cursor, self._asked = cursor, asked

    def execute(self, *asked: Any) -> sqlite3.Cursor:
        self._asked()
        return self._cursor.execute(*asked)

    def executemany(self, *asked: Any) -> sqlite3.Cursor:
        self._asked()
        return self._cursor.executemany(*asked)


@pytest.mark.parametrize("at", range(7))
def test_a_fault_at_any_statement_leaves_nothing_half_written(tmp_path: Path, at: int) -> None:
    """Commit, begin, events, content, exchanges, tree: refused; the same append works later."""

    async def story() -> None:
        log = FaultyLog(tmp_path / "ledger.sqlite")
        async with ledger_in(tmp_path, log) as ledger:
            await exchange(ledger)
            subject, ident = await ledger.subject("alice"), uuid7()
            ends = [*opening(ident), Entry(EventType.ANSWER, ident, body={"outcome": "refused"})]
            log.at = at
            with pytest.raises(LedgerUnavailable, match="disk I/O error"):
                await ledger.append(ends, rows(subject, ident))
            assert "disk I/O error" in (ledger.healthy() or "")
            log.at = None
            await ledger.append(ends, rows(subject, ident))
            assert ledger.healthy() is None

    run(story())
    verdict = verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path))
    assert (verdict.problems, verdict.size) == ((), 8)


def test_a_fault_refuses_all_that_wait_and_spares_those_after(tmp_path: Path) -> None:
    """With a log that fails now and then, what was acknowledged is there, once, and what was refused is not."""

    async def story() -> tuple[list[int], list[object]]:
        log = FaultyLog(tmp_path / "ledger.sqlite")
        async with ledger_in(tmp_path, log) as ledger:
            outcomes: list[object] = []
            for round_ in range(12):
                log.at = 0 if round_ % 3 == 1 else None
                appends = [ledger.append([Entry(EventType.OPERATOR, body={"n": f"{round_}.{n}"})]) for n in range(20)]
                outcomes += await asyncio.gather(*appends, return_exceptions=True)
            log.at = None
        return [index for index, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)], outcomes

    acknowledged, outcomes = run(story())
    stored = [n for (n,) in query(tmp_path / "ledger.sqlite", "SELECT json_extract(event, '$.n') FROM events")]
    assert sorted(stored) == sorted(f"{index // 20}.{index % 20}" for index in acknowledged)
    assert 0 < len(acknowledged) < len(outcomes)
    assert verify(tmp_path / "ledger.sqlite").ok


class LyingLog(MemoryLog):
    """Stores everything, and says once that it failed: an fsync that fails after the fact."""

    lies = 0

    def commit(self, batch: Batch) -> None:
        super().commit(batch)
        if batch.events and self.lies:
            self.lies -= 1
            raise LogFailed("fsync failed")


def test_a_commit_that_was_stored_though_it_failed_is_gone_on_from(tmp_path: Path) -> None:
    """The writer reads the log again after a failure, so numbers and tree go on from what is really there."""

    async def story() -> None:
        log = LyingLog()
        async with ledger_in(tmp_path, log) as ledger:
            log.lies = 1
            with pytest.raises(LedgerUnavailable, match="fsync failed"):
                await ledger.append(NOTE)
            receipt = await ledger.append(NOTE)
            assert receipt.numbers == range(2, 3)
        async with ledger_in(tmp_path, log) as ledger:
            assert (await ledger.append(NOTE)).numbers == range(3, 4)

    run(story())


def test_it_notices_and_heals_without_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle ledger finds its file read-only at its next look, says so, refuses, and is well again afterwards."""
    monkeypatch.setattr(sequencer, "PROBE_SECONDS", 0.02)
    path = tmp_path / "ledger.sqlite"

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await ledger.append(NOTE)
            path.chmod(0o400)
            await until(lambda: ledger.healthy() is not None)
            for _ in range(12):  # and at each of several looks
                await asyncio.sleep(0.01)
                assert "read-only" in (ledger.healthy() or "")
            with pytest.raises(LedgerUnavailable, match="read-only"):
                await ledger.append(NOTE)
            path.chmod(0o600)
            await until(lambda: ledger.healthy() is None)
            await ledger.append(NOTE)

    run(story())
    assert verify(path).size == 2


async def until(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # health is a value to look at, not an event
            await asyncio.sleep(0.02)


class CrampedLog(MemoryLog):
    """Storage that says how much space it has."""

    space = Room.AMPLE

    def room(self) -> Room:
        return self.space


def test_short_of_space_the_refusal_is_recorded_and_what_has_begun_ends(tmp_path: Path) -> None:
    """Neither chat nor search begins, nor goes on; both leave their refusal, with its reason. Ends and administration
    are recorded as ever."""

    async def story() -> list[tuple[str, str | None]]:
        log = CrampedLog()
        async with ledger_in(tmp_path, log) as ledger:
            subject, begun, denied = await ledger.subject("alice"), uuid7(), uuid7()
            await ledger.append(opening(begun), rows(subject, begun)[:1])
            log.space = Room.SHORT
            for operation in (CHAT, SEARCH):
                with pytest.raises(LedgerUnavailable, match="reserve"):
                    await ledger.append(opening(uuid7(), operation=operation))
            for more in ([], [event(EventType.GENERATION, begun)], [Entry(EventType.VIEW)]):
                with pytest.raises(LedgerUnavailable, match="reserve"):
                    await ledger.append(more, rows(subject, begun)[1:])
            assert "reserve" in (ledger.healthy() or "")
            await ledger.append([event(EventType.ANSWER, begun, outcome="unrecorded")])
            await ledger.append(opening(denied, operation=SEARCH, effect="deny"))
            await ledger.append(NOTE)
            log.space = Room.AMPLE
            await exchange(ledger)
            assert ledger.healthy() is None
        return [(e["type"], e.get("reason")) for e in map(json.loads, (e.event for e in log.load().events))]

    chat, search, refused = ("request", None), ("request", None), "disk_reserve"
    recorded = run(story())
    decided = ("decision", None)
    assert recorded[2:8] == [chat, decided, ("answer", refused), search, decided, ("retrieval", refused)]
    assert [type for type, _ in recorded[8:12]] == ["answer", "request", "decision", "operator"]


def test_refusals_leave_half_of_the_reserve_to_administration(tmp_path: Path) -> None:
    """In that half a question is refused unrecorded, also one that is denied anyway; ends and administration stay."""

    async def story() -> list[str]:
        log = CrampedLog()
        async with ledger_in(tmp_path, log) as ledger:
            begun, denied = uuid7(), uuid7()
            await ledger.append(opening(begun))
            log.space = Room.SCARCE
            ends = [event(EventType.ANSWER, denied, outcome="refused")]
            for entries in (opening(uuid7()), [*opening(denied, effect="deny"), *ends]):
                with pytest.raises(LedgerUnavailable, match="half the reserve"):
                    await ledger.append(entries)
            await ledger.append([event(EventType.ANSWER, begun, outcome="unrecorded")])
            await ledger.append(NOTE)
        return [json.loads(stored.event)["type"] for stored in log.load().events]

    assert run(story()) == ["request", "decision", "answer", "operator"]


@pytest.mark.parametrize(("free", "room"), [(10, Room.AMPLE), (9, Room.SHORT), (5, Room.SHORT), (4, Room.SCARCE)])
def test_the_room_beside_a_reserve_of_ten_bytes(free: int, room: Room) -> None:
    """Less than the reserve is short, less than half of it scarce."""
    assert Room.of(free, 10) is room
    assert Room.of(free, 0) is Room.AMPLE


def test_a_file_that_is_taken_away_or_replaced_is_noticed(tmp_path: Path) -> None:
    """Events go into the file that was opened or nowhere; no new file is begun in its place."""
    path = tmp_path / "ledger.sqlite"

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await ledger.append(NOTE)
            path.rename(tmp_path / "away")
            with pytest.raises(LedgerUnavailable, match="file"):
                await ledger.append(NOTE)
            path.write_bytes(b"")
            with pytest.raises(LedgerUnavailable, match="replaced"):
                await ledger.append(NOTE)
            path.unlink()
            (tmp_path / "away").rename(path)
            await ledger.append(NOTE)

    run(story())
    assert verify(path).size == 2


class HangingLog(MemoryLog):
    """A disk that does not answer until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()

    def commit(self, batch: Batch) -> None:
        self.go.wait(10)
        super().commit(batch)


def test_a_full_queue_refuses_after_its_deadline(tmp_path: Path) -> None:
    """While the disk hangs callers are refused in time, whether queued or not, and later ones are served."""

    async def story() -> None:
        log = HangingLog()
        async with ledger_in(tmp_path, log, capacity=3, deadline=0.1) as ledger:
            log.go.clear()
            outcomes = await asyncio.gather(*[ledger.append(NOTE) for _ in range(10)], return_exceptions=True)
            assert all(isinstance(outcome, LedgerUnavailable) for outcome in outcomes)
            log.go.set()
            await asyncio.sleep(0.05)
            await ledger.append(NOTE)

    run(story())
