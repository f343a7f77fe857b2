"""A ledger that is not the one that was left: an older copy, another history, bytes that rotted. `docs/faults.md` has
a line for each of these tests."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.graph_kit import lend
from tests.ledger.ledger_kit import exchange, ledger_in, query, ring_in, run

from usher.app import open_services
from usher.backends.checkpoint_sink import SinkFailed
from usher.backends.known_checkpoint import KnownCheckpoint
from usher.errors import UserError
from usher.ledger.log import LedgerDamaged, LogFailed
from usher.ledger.record import Entry, EventType
from usher.ledger.verify import verify
from usher.settings import read_settings


def known_in(folder: Path) -> KnownCheckpoint:
    return KnownCheckpoint(folder / "home.keys")


async def went_on(folder: Path, exchanges: int = 1) -> None:
    """A server's life: start with what is known, some exchanges, stop; each checkpoint is kept."""
    known = known_in(folder)
    async with ledger_in(folder, heard=known.keep, known=known.read()) as ledger:
        for _ in range(exchanges):
            await exchange(ledger)


def put_back(copy: Path, folder: Path) -> None:
    """The ledger's files of a copy in place of those that are there."""
    for path in folder.glob("ledger.sqlite*"):
        path.unlink()
    for path in copy.glob("ledger.sqlite*"):
        shutil.copy(path, folder)


def copy_of(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    put_back(folder, made)
    return made


def test_an_older_copy_that_is_put_back(tmp_path: Path) -> None:
    """It does not start, though it is good in itself; what is missing can be shown with the kept checkpoint. It starts
    when somebody has moved that away."""
    run(went_on(tmp_path))
    backup = copy_of(tmp_path, "backup")
    run(went_on(tmp_path))
    put_back(backup, tmp_path)
    path = tmp_path / "ledger.sqlite"
    with pytest.raises(LedgerDamaged, match=r"older copy.*move the kept checkpoint away"):
        run(went_on(tmp_path))
    assert verify(path, ring=ring_in(tmp_path)).ok
    assert not verify(path, ring=ring_in(tmp_path), held=known_in(tmp_path).read()).ok
    assert query(path, "SELECT count(*) FROM events") == [(5,)], "a refused start adds nothing"
    known_in(tmp_path).path.rename(tmp_path / "proof")
    run(went_on(tmp_path))


@pytest.mark.parametrize("exchanges", [1, 2])
def test_an_older_copy_that_went_on_elsewhere(tmp_path: Path, exchanges: int) -> None:
    """It is found by its root where it is as long as the log that is known, and where it is longer."""
    run(went_on(tmp_path))
    backup = copy_of(tmp_path, "backup")
    shutil.copy(tmp_path / "home.keys", backup)
    run(went_on(tmp_path))
    run(went_on(backup, exchanges))
    put_back(backup, tmp_path)
    with pytest.raises(LedgerDamaged, match="another history" if exchanges == 1 else "went on from one"):
        run(went_on(tmp_path))


def test_another_log_in_its_place(tmp_path: Path) -> None:
    """Also a new, empty one: a ledger that is gone is not begun again without a word."""
    run(went_on(tmp_path))
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(LedgerDamaged, match="not of this log"):
        run(went_on(tmp_path))


def test_a_kill_before_the_newest_checkpoint_was_kept(tmp_path: Path) -> None:
    """A log that is ahead of what is known elsewhere starts: the known one is in it."""
    run(went_on(tmp_path))
    note = known_in(tmp_path).read()
    run(went_on(tmp_path))
    assert note
    known_in(tmp_path).keep(note)
    run(went_on(tmp_path))
    assert query(tmp_path / "ledger.sqlite", "SELECT count(*) FROM events") == [(15,)]


def test_a_place_that_takes_no_checkpoint_is_told(tmp_path: Path) -> None:
    """A folder that cannot be written stops nothing here; whoever delivers hears why."""
    with pytest.raises(SinkFailed, match="beside the key ring"):
        KnownCheckpoint(tmp_path / "absent" / "home.keys").keep("note")
    (tmp_path / "home.keys.checkpoint").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        known_in(tmp_path).read()


@pytest.mark.slow
def test_a_data_folder_from_an_older_backup(graph: Path, tmp_path: Path) -> None:
    """The server keeps its newest checkpoint, and does not start on a folder without it."""
    lend(graph, tmp_path / "home")
    settings = read_settings(home=tmp_path / "home")

    async def served() -> None:
        async with open_services(settings) as services:
            shutil.copytree(settings.home, tmp_path / "backup")
            await services.ledger.append([Entry(EventType.OPERATOR)])

    asyncio.run(served())
    shutil.rmtree(settings.home)
    (tmp_path / "backup").rename(settings.home)
    with pytest.raises(LedgerDamaged, match="older copy"):
        asyncio.run(served())


def rotten(folder: Path, name: str, at: Sequence[int]) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    for offset in at:
        data[offset] ^= 0xFF
    path.write_bytes(data)


def test_a_tail_whose_bytes_rotted(tmp_path: Path) -> None:
    """Whichever byte of the newest event or of its leaf: nothing starts, and `verify` names the event."""
    folder = tmp_path / "good"
    folder.mkdir()
    run(went_on(folder))
    leaf, event = query(folder / "ledger.sqlite", "SELECT leaf, event FROM events ORDER BY number DESC LIMIT 1")[0]
    stored = (folder / "ledger.sqlite").read_bytes()
    start = stored.index(leaf + event)
    for offset in range(start, start + len(leaf + event), 23):
        put_back(folder, tmp_path)
        shutil.copy(folder / "home.keys", tmp_path)
        rotten(tmp_path, "ledger.sqlite", [offset])
        with pytest.raises((LedgerDamaged, LogFailed)):
            run(went_on(tmp_path))
        assert verify(tmp_path / "ledger.sqlite").first_bad == json.loads(event)["number"]


def killed(folder: Path) -> Path:
    """A folder as a kill leaves it: six exchanges in the write-ahead log, known up to the checkpoint after three."""
    copy = folder / "killed"
    copy.mkdir()

    async def story() -> None:
        async with ledger_in(folder) as ledger:
            for count in range(6):
                await exchange(ledger)
                if count == 2:
                    known_in(copy).keep(await ledger.checkpoint())
            put_back(folder, copy)
            shutil.copy(folder / "home.keys", copy)

    run(story())
    return copy


def test_a_write_ahead_log_whose_bytes_rotted(tmp_path: Path) -> None:
    """SQLite passes over what follows them: a start is refused where something is missing that the kept checkpoint
    covers. What came after that checkpoint is lost then, and nothing says so."""
    folder = killed(tmp_path)
    total = (folder / "ledger.sqlite-wal").stat().st_size
    sizes = {}
    for part in (0.3, 0.95):
        at = tmp_path / str(part)
        at.mkdir()
        for path in folder.iterdir():
            shutil.copy(path, at)
        rotten(at, "ledger.sqlite-wal", [int(total * part)])
        try:
            run(went_on(at))
        except LedgerDamaged as damaged:
            sizes[part] = str(damaged)
        else:
            sizes[part] = ""
            assert verify(at / "ledger.sqlite", ring=ring_in(at), held=known_in(folder).read()).ok
    assert "older copy" in sizes[0.3]
    assert sizes[0.95] == ""
