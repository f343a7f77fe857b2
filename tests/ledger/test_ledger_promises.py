"""What `docs/audit.md` says that somebody *can* do: not found by itself, and found with a checkpoint held elsewhere."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.ledger_kit import change, event, exchange, ledger_in, opening, query, ring_in, rows, run, search
from tests.ledger.test_ledger_tail import copied, rebuild

from usher.backends.keyring import KeyRing
from usher.ledger.checkpoint import Checkpoint, sign, verifier_key
from usher.ledger.merkle import Tree
from usher.ledger.record import EventType, leaf_hash, tail_text, uuid7
from usher.ledger.verify import Verdict, verify

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
SIZE = 18
Event = dict[str, Any]


@dataclass(frozen=True)
class Stages:
    """One log at three moments, in folders with its key ring, and the checkpoint over all 18 events, held elsewhere."""

    older: Path
    """After an orderly stop: one exchange, 5 events."""
    killed: Path
    """As a kill leaves it: a checkpoint over 10 events, then an exchange and a search that none covers."""
    whole: Path
    held: str


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    base = tmp_path_factory.mktemp("stages")
    older, killed, whole = (base / name for name in ("older", "killed", "whole"))
    for folder in (older, killed, whole):
        folder.mkdir()

    async def story() -> str:
        async with ledger_in(whole) as ledger:
            await exchange(ledger)
        await asyncio.to_thread(copied, whole, older)
        async with ledger_in(whole) as ledger:
            await exchange(ledger, "bob")
            await ledger.checkpoint()
            await asyncio.to_thread(change, whole / "ledger.sqlite", "PRAGMA wal_checkpoint(TRUNCATE)")
            await exchange(ledger)
            await search(ledger)
            await asyncio.to_thread(copied, whole, killed)
            return await ledger.checkpoint()

    held = run(story())
    assert verify(whole / "ledger.sqlite", ring=ring_in(whole), held=held).size == SIZE
    return Stages(older, killed, whole, held)


def only_found_with(held: str, folder: Path) -> Verdict:
    """Nothing is found with or without the key ring, and with the held checkpoint something is, by either."""
    path, ring = folder / "ledger.sqlite", ring_in(folder)
    for verdict in (verify(path), verify(path, ring=ring)):
        assert verdict.ok, verdict.problems
    verdict = verify(path, ring=ring, held=held)
    assert not verdict.ok
    assert not verify(path, held=held).ok
    return verdict


def test_the_page_promises_what_is_tested_here() -> None:
    """Whoever changes what the page says that somebody can do changes the tests below, too."""
    table = [line.split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    can = {row[1].strip(): [what.strip() for what in row[3].split(";")] for row in table}
    assert can["Somebody with the data folder, without the ring"][1:] == [
        "destroy the folder",
        "put an older copy of it back",
        "in the metadata (`usher.sqlite`) what a database administrator can there",  # test_holds_recorded and its like
        "have a start end an answer again that had ended, which `verify` names",  # test_ledger_references
    ]
    assert can["Root on the host, with the ring"] == ["read everything", "write another log that is good in itself"]


# Somebody with the data folder


def test_an_older_copy(stages: Stages, tmp_path: Path) -> None:
    """Put back as it was: the first event that is missing is named."""
    copied(stages.older, tmp_path)
    assert only_found_with(stages.held, tmp_path).first_bad == 6


def test_an_older_copy_on_which_a_server_went_on(stages: Stages, tmp_path: Path) -> None:
    """Though it has as many events again, and the server's own signatures over them."""
    copied(stages.older, tmp_path)

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            for _ in range(3):
                await exchange(ledger, "carol")

    run(story())
    verdict = only_found_with(stages.held, tmp_path)
    assert (verdict.size, verdict.first_bad) == (20, 1)


def test_commits_that_were_only_in_the_write_ahead_log(stages: Stages, tmp_path: Path) -> None:
    """The file without its log is the state of an earlier commit."""
    copied(stages.killed, tmp_path)
    assert verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path), held=stages.held).ok
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"ledger.sqlite{suffix}").unlink()
    assert only_found_with(stages.held, tmp_path).first_bad == 11


def test_a_destroyed_log_in_whose_place_a_server_made_another(stages: Stages, tmp_path: Path) -> None:
    """It has a name of its own, which is not the one on the held checkpoint."""
    copied(stages.older, tmp_path)
    (tmp_path / "ledger.sqlite").unlink()

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)

    run(story())
    assert any("another log" in problem for problem in only_found_with(stages.held, tmp_path).problems)


def test_a_log_that_is_gone(tmp_path: Path) -> None:
    """A destroyed folder shows without any checkpoint."""
    assert not verify(tmp_path / "ledger.sqlite").ok


# Root on the host (what else whoever has the ring can write: `test_ledger_unseen`)


def written_anew(folder: Path, ring: KeyRing, events: list[Event]) -> None:
    """Put other events into the log and make everything fit them: numbers, hashes, tree, MAC, signed checkpoint."""
    tree = Tree()
    with closing(sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)) as connection:
        (origin,) = connection.execute("SELECT origin FROM log").fetchone()
        connection.executescript("DELETE FROM events; DELETE FROM checkpoints")
        for number, body in enumerate(events, 1):
            raw = json.dumps(body | {"number": number}, separators=(",", ":")).encode()
            tree.append(leaf_hash(raw))
            connection.execute("INSERT INTO events VALUES (?, ?, ?)", (number, leaf_hash(raw), raw))
        known = "(SELECT json_extract(CAST(event AS TEXT), '$.audit_id') FROM events)"
        connection.execute(f"DELETE FROM content WHERE audit_id NOT IN {known}")  # noqa: S608  # a test's own
        edge, mac = tree.edge_bytes(), ring.tail_mac(tail_text(origin, tree.size, tree.root()))
        connection.execute("UPDATE tree SET size = ?, edge = ?, mac = ?", (tree.size, edge, mac))
        note = sign(Checkpoint(origin, tree.size, tree.root()), ring.signing_key)
        values = (tree.size, edge, note, verifier_key(origin, ring.public_key))
        connection.execute("INSERT INTO checkpoints (size, edge, note, key) VALUES (?, ?, ?, ?)", values)


# What is not promised


@pytest.mark.parametrize("keep", [10, 15, 17])
def test_the_newest_events_without_the_ring(stages: Stages, tmp_path: Path, keep: int) -> None:
    """A tail that is cut off, forged or changed passes, counted; the ring finds it, and so does a held checkpoint."""
    path = copied(stages.killed, tmp_path)
    forged = [] if keep == 10 else [{"type": "operator", "audit_id": None, "who": None}]
    if keep == 17:
        last = json.loads(query(path, "SELECT event FROM events WHERE number = 18")[0][0])
        forged = [{name: last[name] for name in ("type", "audit_id", "who")} | {"passages": [1]}]
    rebuild(path, keep, *forged)
    alone = verify(path)
    assert (alone.ok, alone.uncovered) == (True, keep + len(forged) - 10), alone.problems
    assert not verify(path, ring=ring_in(tmp_path)).ok
    assert not verify(path, held=stages.held).ok


def test_parts_of_an_answer_that_has_not_ended(tmp_path: Path) -> None:
    """A row that is dropped passes, also with the ring and a held checkpoint. One that is exchanged passes until the
    next start has ended the answer: it does not open, which the ring shows."""

    async def story() -> str:
        async with ledger_in(tmp_path / "home") as ledger:
            subject, ident = await ledger.subject("alice"), uuid7()
            question, answer = rows(subject, ident)
            await ledger.append(opening(ident), [question])
            await ledger.append([event(EventType.RETRIEVAL, ident)])
            await ledger.append([event(EventType.GENERATION, ident)], [answer])
            held = await ledger.checkpoint()
            for name in ("dropped", "exchanged"):
                await asyncio.to_thread(copied, tmp_path / "home", tmp_path / name)
            return held

    async def next_start(folder: Path) -> None:
        async with ledger_in(folder):
            pass

    for name in ("home", "dropped", "exchanged"):
        (tmp_path / name).mkdir()
    held, ring = run(story()), ring_in(tmp_path / "home")
    cases = (
        ("dropped", "DELETE FROM content WHERE position = 1", False),
        ("exchanged", "UPDATE content SET ciphertext = zeroblob(90) WHERE position = 1", True),
    )
    for name, statement, found in cases:
        path = tmp_path / name / "ledger.sqlite"
        change(path, statement)
        assert verify(path, ring=ring, held=held).ok
        run(next_start(tmp_path / name))
        assert verify(path, held=held).ok
        assert verify(path, ring=ring, held=held).ok is not found


def test_a_forger_without_any_key(stages: Stages, tmp_path: Path) -> None:
    """Another log under the same name and the forger's own key agrees with itself, and with no checkpoint held."""
    path = copied(stages.older, tmp_path)
    (origin,) = query(path, "SELECT origin FROM log")[0]
    forger = tmp_path / "forger"
    forger.mkdir()

    async def story() -> None:
        async with ledger_in(forger) as ledger:
            await exchange(ledger)

    run(story())
    forged = forger / "ledger.sqlite"
    change(forged, f"UPDATE log SET origin = '{origin}'")  # noqa: S608  # a test's own
    written_anew(
        forger, ring_in(forger), [json.loads(e) for (e,) in query(forged, "SELECT event FROM events ORDER BY number")]
    )
    shutil.copy(forged, path)
    alone = verify(path)
    assert (alone.ok, alone.signatures) == (True, "own"), alone.problems
    assert not verify(path, held=stages.held).ok
    assert not verify(path, ring=ring_in(tmp_path)).ok
