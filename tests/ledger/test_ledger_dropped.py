"""Content that is dropped: its bytes go from every file, and what is left proves what was there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import change, event, exchange, ledger_in, opening, ring_in, rows, run, search

from usher.backends.ledger_memory import MemoryLog
from usher.backends.ledger_sql import SqlLog
from usher.ledger.content import Dropped
from usher.ledger.log import Log, OutOfOrder
from usher.ledger.record import ContentRow, Entry, EventType, Kind, is_dropped, remains, row_digest, uuid7
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import Verdict, verify

MAKERS: dict[str, Callable[[Path], Log]] = {
    "memory": lambda folder: MemoryLog(),
    "sqlite": lambda folder: SqlLog(folder / "ledger.sqlite"),
}


async def drop(ledger: Ledger, *idents: str) -> None:
    """As retention does."""
    gone = [(ident, row.position) for ident in idents for row in await ledger.content(ident)]
    await ledger.append([Entry(EventType.RETENTION, body={"exchanges": list(idents)})], dropped=gone)


def verdict(folder: Path) -> Verdict:
    return verify(folder / "ledger.sqlite", ring=ring_in(folder))


@pytest.mark.parametrize("kind", MAKERS)
def test_of_a_dropped_row_its_commitments_are_left(tmp_path: Path, kind: str) -> None:
    """What an answer commits to of it is the same as before, once more too; opening it says that it is gone."""

    async def work() -> tuple[Sequence[ContentRow], Sequence[ContentRow], Sequence[ContentRow]]:
        async with ledger_in(tmp_path, MAKERS[kind](tmp_path)) as ledger:
            ident, other = await exchange(ledger), await exchange(ledger)
            before = await ledger.content(ident)
            await drop(ledger, ident)
            await drop(ledger, ident)
            talk = (await ledger.subject("alice")).conversation("talk-1")
            after = await ledger.content(ident)
            with pytest.raises(Dropped):
                talk.open(after[0])
            return before, after, await ledger.content(other)

    before, after, other = run(work())
    assert [row_digest(row) for row in after] == [row_digest(row) for row in before]
    assert [row.ciphertext for row in after] == [remains(row.ciphertext) for row in before]
    assert not any(is_dropped(row.ciphertext) for row in other)


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_is_dropped_without_an_event_that_names_it(tmp_path: Path, kind: str) -> None:
    """Nor of an exchange that is open: no event commits to it yet."""

    async def work() -> None:
        async with ledger_in(tmp_path, MAKERS[kind](tmp_path)) as ledger:
            ended, opened, subject = await exchange(ledger), uuid7(), await ledger.subject("alice")
            await ledger.append(opening(opened), rows(subject, opened))
            for entries in ([], [Entry(EventType.RETENTION, body={"exchanges": [opened]})]):
                with pytest.raises(ValueError, match="name"):
                    await ledger.append(entries, dropped=[(ended, 0)])
            with pytest.raises(ValueError, match="name"):
                await ledger.append([Entry(EventType.VIEW, body={"exchanges": [ended]})], dropped=[(ended, 0)])
            with pytest.raises(OutOfOrder):
                await drop(ledger, opened)
            kept = [row for ident in (ended, opened) for row in await ledger.content(ident)]
            assert not [row for row in kept if is_dropped(row.ciphertext)]

    run(work())


def test_no_byte_of_what_was_dropped_is_left_in_any_file(tmp_path: Path) -> None:
    """Texts that fill many pages too, whose pages are moved about by what is dropped around them."""

    async def work() -> None:
        async with ledger_in(tmp_path) as ledger:
            subject, kept = await ledger.subject("alice"), []
            for n in range(40):
                ident, talk = uuid7(), subject.conversation("talk")
                texts = ["x" * (1 + n * 7), "y" * (n % 5 * 2_500 + 10), "z" * 60]
                sealed = [
                    talk.seal(ident, at, Kind.ANSWER if at else Kind.QUESTION, text) for at, text in enumerate(texts)
                ]
                await ledger.append(opening(ident), sealed)
                await ledger.append([event(EventType.ANSWER, ident, outcome="answered")])
                kept.append((ident, [row.ciphertext for row in sealed]))
            order = [kept[(n * 17) % 40] for n in range(40)]
            for start in range(0, 40, 10):
                await drop(ledger, *(ident for ident, _ in order[start : start + 10]))
                assert_gone(tmp_path, [sealed for _, all_of in order[: start + 10] for sealed in all_of])

    run(work())
    assert verdict(tmp_path).problems == ()


def assert_gone(folder: Path, sealed: Sequence[bytes]) -> None:
    stored = b"".join(file.read_bytes() for file in folder.iterdir())
    assert not any(piece in stored for text in sealed for piece in (text[:20], text[len(text) // 2 :][:20], text[-20:]))


def test_somebody_who_reads_an_older_state_only_delays_that(tmp_path: Path) -> None:
    """Nobody waits for them; the next commit after they have ended overwrites what they read."""

    async def work() -> None:
        async with ledger_in(tmp_path) as ledger:
            ident = await exchange(ledger)
            sealed = [row.ciphertext for row in await ledger.content(ident)]
            with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM content").fetchone()
                await drop(ledger, ident)
                with pytest.raises(AssertionError):
                    assert_gone(tmp_path, sealed)
            await search(ledger)
            assert_gone(tmp_path, sealed)

    run(work())


def put(folder: Path, row: ContentRow, ciphertext: bytes) -> None:
    """Somebody with the file and SQLite."""
    with closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as connection:
        statement = "UPDATE content SET ciphertext = ? WHERE audit_id = ? AND position = ?"
        connection.execute(statement, (ciphertext, row.audit_id, row.position))


def test_a_tombstone_that_no_event_explains_is_found(tmp_path: Path) -> None:
    """At the exchange's answer, without a key ring too; that others were dropped explains nothing."""

    async def work() -> ContentRow:
        async with ledger_in(tmp_path) as ledger:
            ident = await exchange(ledger)
            await drop(ledger, await exchange(ledger))
            return (await ledger.content(ident))[1]

    row = run(work())
    assert verdict(tmp_path).ok
    put(tmp_path, row, remains(row.ciphertext))
    for ring in (ring_in(tmp_path), None):
        found = verify(tmp_path / "ledger.sqlite", ring=ring)
        assert (found.ok, found.first_bad) == (False, 5)
        assert "no later event says so" in found.problems[0]


def test_an_event_before_the_exchange_explains_nothing(tmp_path: Path) -> None:
    """It has itself a problem, and the exchange too once its content is gone."""

    async def work() -> ContentRow:
        async with ledger_in(tmp_path) as ledger:
            await ledger.append([Entry(EventType.RETENTION, body={"exchanges": [ident := uuid7()]})])
            await ledger.append(opening(ident), sealed := rows(await ledger.subject("alice"), ident))
            await ledger.append([event(EventType.ANSWER, ident, outcome="answered")])
            return sealed[0]

    row = run(work())
    assert verdict(tmp_path).first_bad == 1
    put(tmp_path, row, remains(row.ciphertext))
    assert any(problem.startswith("event 4: its content was dropped") for problem in verdict(tmp_path).problems)


def test_content_that_came_back_is_found(tmp_path: Path) -> None:
    """From an older copy of the rows: at the event that says that it went."""

    async def work() -> ContentRow:
        async with ledger_in(tmp_path) as ledger:
            ident = await exchange(ledger)
            before = await ledger.content(ident)
            await drop(ledger, ident)
            return before[1]

    row = run(work())
    put(tmp_path, row, row.ciphertext)
    found = verdict(tmp_path)
    assert (found.ok, found.first_bad) == (False, 6)
    assert "was dropped is there" in found.problems[0]


def test_a_tombstone_of_something_else_is_found(tmp_path: Path) -> None:
    """Its 32 bytes stand in the answer's commitment."""

    async def work() -> None:
        async with ledger_in(tmp_path) as ledger:
            await drop(ledger, await exchange(ledger))

    run(work())
    change(tmp_path / "ledger.sqlite", "UPDATE content SET ciphertext = zeroblob(32) WHERE position = 1")
    found = verdict(tmp_path)
    assert (found.ok, found.first_bad) == (False, 5)
