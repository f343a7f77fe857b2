"""Opening: what was interrupted is closed, what contradicts itself is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import change, event, exchange, ledger_in, opening, query, ring_in, rows, run, search

from usher.backends.keyring import KeyRing
from usher.backends.ledger_sql import SqlLog
from usher.ledger.log import LedgerDamaged, LogFailed
from usher.ledger.record import Entry, EventType, Who, uuid7
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import verify


async def crashed(folder: Path) -> tuple[str, str]:
    """A copy of a running ledger's folder, as a crash would leave it, in `folder`: two exchanges are open in it."""
    home = folder / "home"
    home.mkdir()
    async with ledger_in(home) as ledger:
        await exchange(ledger)
        subject, early, late = await ledger.subject("alice"), uuid7(), uuid7()
        asked = rows(subject, early)[:1]
        await ledger.append(opening(early, Who(subject.pseudonym, ("role:hr",), "key")), asked)
        await ledger.append(opening(late), rows(subject, late)[:1])
        await ledger.append([event(EventType.RETRIEVAL, late)])
        await ledger.append([], rows(subject, late)[1:])
        await search(ledger)
        for path in home.iterdir():
            await asyncio.to_thread(shutil.copy, path, folder)
    return early, late


def test_interrupted_exchanges_are_closed_before_anything_else(tmp_path: Path) -> None:
    """Each gets an answer `interrupted`, by whoever asked, over the rows that exist; then comes `recovery`."""
    early, late = run(crashed(tmp_path))
    assert verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path)).ok

    async def reopen() -> None:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)

    run(reopen())
    events = [json.loads(raw) for (raw,) in query(tmp_path / "ledger.sqlite", "SELECT event FROM events")]
    first, second, recovery = events[13:16]
    assert [(e["type"], e["outcome"], e["audit_id"]) for e in (first, second)] == [
        ("answer", "interrupted", early),
        ("answer", "interrupted", late),
    ]
    assert first["who"]["roles"] == ["role:hr"]
    assert (first["content"]["rows"], second["content"]["rows"]) == (1, 2)
    assert (recovery["type"], recovery["interrupted"]) == ("recovery", 2)
    verdict = verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path))
    assert verdict.ok, verdict.problems


def test_a_clean_stop_needs_no_recovery(tmp_path: Path) -> None:
    """After an orderly close the next start adds no event."""

    async def story() -> None:
        for _ in range(3):
            async with ledger_in(tmp_path) as ledger:
                await exchange(ledger)

    run(story())
    assert query(tmp_path / "ledger.sqlite", "SELECT count(*) FROM events") == [(15,)]


DAMAGE = {
    "event": ("UPDATE events SET event = replace(event, 'answered', 'Answered') WHERE number = 5", "event 5"),
    "hash": ("UPDATE events SET leaf = zeroblob(32) WHERE number = 4", "event 4"),
    "gap": ("DELETE FROM events WHERE number = 3", "event 3"),
    "tail": ("DELETE FROM events WHERE number = 5", "end at 4"),
    "extra": ("INSERT INTO events SELECT 6, leaf, event FROM events WHERE number = 5", "end at 6"),
    "edge": ("UPDATE tree SET edge = zeroblob(64)", "differ"),
    "edge length": ("UPDATE tree SET edge = zeroblob(31)", "edge"),
    "shorter": ("UPDATE tree SET size = 4, edge = zeroblob(32)", "checkpoint covers 5"),
    "note": ("UPDATE checkpoints SET note = replace(note, 'A', 'B')", "checkpoint"),
    "note size": ("UPDATE checkpoints SET size = 3 WHERE size = 5", "checkpoint"),
    "checkpoint edge": ("UPDATE checkpoints SET edge = zeroblob(32) WHERE size = 0", "edge"),
    "request": ("INSERT INTO open_exchanges VALUES ('x', 99)", "missing"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger of one exchange, closed in order."""
    folder = tmp_path_factory.mktemp("whole")

    async def story() -> None:
        async with ledger_in(folder) as ledger:
            await exchange(ledger)

    run(story())
    return folder


@pytest.mark.parametrize("name", DAMAGE)
def test_a_log_that_contradicts_itself_is_not_opened(whole: Path, tmp_path: Path, name: str) -> None:
    """A corrupt tail, an edge that does not fit, a checkpoint ahead of the log: refused, with what is wrong."""
    statement, words = DAMAGE[name]
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    change(tmp_path / "ledger.sqlite", statement)

    async def story() -> None:
        with pytest.raises(LedgerDamaged, match=words):
            async with ledger_in(tmp_path):
                pass

    run(story())


def test_a_log_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A file written by a later version is neither read nor changed."""

    async def story() -> None:
        async with ledger_in(tmp_path):
            pass
        await asyncio.to_thread(change, tmp_path / "ledger.sqlite", "PRAGMA user_version = 2")
        with pytest.raises(LedgerDamaged, match="newer version"):
            async with ledger_in(tmp_path):
                pass

    run(story())
    assert not verify(tmp_path / "ledger.sqlite").ok


def test_another_key_ring_is_refused(tmp_path: Path) -> None:
    """A ring that did not sign this log's checkpoints cannot go on with it."""

    async def story() -> None:
        async with ledger_in(tmp_path):
            pass
        with pytest.raises(LedgerDamaged, match="key ring"):
            await Ledger.open(SqlLog(tmp_path / "ledger.sqlite"), KeyRing.create(tmp_path / "other.keys"))

    run(story())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Other bytes under the ledger's name are an error with words, and stay as they are."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database " * 100)

    async def story() -> None:
        with pytest.raises(LogFailed, match="not a database"):
            async with ledger_in(tmp_path):
                pass

    run(story())
    assert path.read_bytes() == b"not a database " * 100


def test_a_long_log_is_opened_from_its_checkpoint(tmp_path: Path) -> None:
    """Only events after a recent checkpoint are read at a start: damage before it is left to the verifier."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            for _ in range(3):
                await ledger.append([Entry(EventType.OPERATOR)] * 300)
                await ledger.checkpoint()
        await asyncio.to_thread(change, tmp_path / "ledger.sqlite", "UPDATE events SET leaf = x'00' WHERE number = 9")
        async with ledger_in(tmp_path) as ledger:
            await ledger.append([Entry(EventType.OPERATOR)])

    run(story())
    assert verify(tmp_path / "ledger.sqlite").first_bad == 9
