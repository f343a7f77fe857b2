"""The log's last events, which no checkpoint covers yet, against somebody who has the file and no key."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.ledger_kit import event, exchange, ledger_in, opening, query, ring_in, run, search

from usher.backends.keyring import KeyRing
from usher.ledger.log import LedgerDamaged
from usher.ledger.merkle import Tree
from usher.ledger.record import EMPTY_DIGEST, EventType, leaf_hash, uuid7
from usher.ledger.verify import verify


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger of one exchange, closed in order: its last checkpoint covers all of it."""
    folder = tmp_path_factory.mktemp("stopped")

    async def story() -> None:
        async with ledger_in(folder) as ledger:
            await exchange(ledger)

    run(story())
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a kill leaves it: a checkpoint over 5 events, then 5 of an exchange and 3 of a search."""
    folder = tmp_path_factory.mktemp("killed")
    home = folder / "home"
    home.mkdir()

    async def story() -> None:
        async with ledger_in(home) as ledger:
            await exchange(ledger)
            await ledger.checkpoint()
            await exchange(ledger)
            await search(ledger)
            for path in home.iterdir():
                await asyncio.to_thread(shutil.copy, path, folder)

    run(story())
    return folder


def copied(source: Path, folder: Path) -> Path:
    """The folder's files in another one; the path of the ledger's."""
    for path in source.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder / "ledger.sqlite"


def rebuild(path: Path, keep: int, *bodies: dict[str, Any]) -> None:
    """Keep the first events, add others in good form, and make everything that needs no key fit them."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM events WHERE number > ?", (keep,))
        tree = Tree()
        for (leaf,) in connection.execute("SELECT leaf FROM events ORDER BY number"):
            tree.append(leaf)
        for body in bodies:
            number = tree.size + 1
            raw = json.dumps({"number": number, "time": f"2040-01-01T00:00:00.{number:06d}Z", **body}).encode()
            tree.append(leaf_hash(raw))
            connection.execute("INSERT INTO events VALUES (?, ?, ?)", (number, leaf_hash(raw), raw))
        known = "(SELECT json_extract(CAST(event AS TEXT), '$.audit_id') FROM events)"
        connection.execute(f"DELETE FROM content WHERE audit_id NOT IN {known}")  # noqa: S608  # a test's own
        connection.execute("UPDATE tree SET size = ?, edge = ?", (tree.size, tree.edge_bytes()))


def forged_exchange() -> list[dict[str, Any]]:
    """A whole chat, without a word of content."""
    envelope = {"audit_id": uuid7(), "who": None}
    return [
        {"type": "request", **envelope, "operation": "chat"},
        {"type": "decision", **envelope, "effect": "allow"},
        {"type": "retrieval", **envelope},
        {"type": "generation", **envelope},
        {"type": "answer", **envelope, "outcome": "answered", "content": {"rows": 0, "digest": EMPTY_DIGEST.hex()}},
    ]


def refused(folder: Path) -> None:
    """The ledger does not open, and signs nothing."""
    before = query(folder / "ledger.sqlite", "SELECT count(*) FROM checkpoints")

    async def story() -> None:
        with pytest.raises(LedgerDamaged, match="not committed with this key ring"):
            async with ledger_in(folder):
                pass

    run(story())
    assert query(folder / "ledger.sqlite", "SELECT count(*) FROM checkpoints") == before


def test_a_forged_tail_is_found_and_never_signed(stopped: Path, tmp_path: Path) -> None:
    """Events appended to a stopped ledger without the ring: the check says so, and the next start refuses them."""
    path = copied(stopped, tmp_path)
    assert verify(path, ring=ring_in(tmp_path)).ok
    rebuild(path, 5, {"type": "operator", "audit_id": None, "who": None})
    verdict = verify(path, ring=ring_in(tmp_path))
    assert (verdict.ok, verdict.first_bad, verdict.uncovered) == (False, 6, 1)
    refused(tmp_path)


@pytest.mark.parametrize("keep", [5, 9, 10, 12])
def test_a_tail_cut_off_after_a_kill_is_found(killed: Path, tmp_path: Path, keep: int) -> None:
    """What was recorded since the last checkpoint cannot be dropped, be it all of it or the last event."""
    path = copied(killed, tmp_path)
    whole = verify(path, ring=ring_in(tmp_path))
    assert (whole.ok, whole.size, whole.uncovered) == (True, 13, 8), whole.problems
    rebuild(path, keep)
    verdict = verify(path, ring=ring_in(tmp_path))
    assert not verdict.ok
    refused(tmp_path)


def test_a_changed_event_of_the_tail_is_found(killed: Path, tmp_path: Path) -> None:
    """Another outcome in place of the recorded one, hashed into a tree that fits."""
    path = copied(killed, tmp_path)
    last = json.loads(query(path, "SELECT event FROM events WHERE number = 13")[0][0])
    rebuild(path, 12, {name: value for name, value in last.items() if name not in ("number", "time")} | {"k": 1})
    verdict = verify(path, ring=ring_in(tmp_path))
    assert (verdict.ok, verdict.first_bad) == (False, 6)
    refused(tmp_path)


def test_a_chat_without_a_question_is_no_chat(stopped: Path, tmp_path: Path) -> None:
    """Also without the ring: each exchange is recorded with what was asked."""
    path = copied(stopped, tmp_path)
    rebuild(path, 5, *forged_exchange())
    verdict = verify(path)
    assert (verdict.ok, verdict.first_bad) == (False, 10)
    assert any("no question" in problem for problem in verdict.problems)

    async def recorded() -> None:
        async with ledger_in(tmp_path / "own") as ledger:
            ident = uuid7()
            await ledger.append([*opening(ident), event(EventType.ANSWER, ident, outcome="answered")])

    (tmp_path / "own").mkdir()
    run(recorded())
    assert not verify(tmp_path / "own" / "ledger.sqlite", ring=ring_in(tmp_path / "own")).ok


def test_the_verdict_says_whose_key_was_believed(stopped: Path, tmp_path: Path) -> None:
    """The ring's, the one given, or the file's own; and how many events nothing vouches for."""
    path, ring = copied(stopped, tmp_path), ring_in(tmp_path)
    assert (verify(path, ring=ring).signatures, verify(path, public_key=ring.public_key).signatures) == (
        "ring",
        "given",
    )
    alone = verify(path)
    assert (alone.ok, alone.signatures, alone.content, alone.uncovered) == (True, "own", "unchecked", 0)


def test_no_name_gives_the_mac_of_a_tail(tmp_path: Path) -> None:
    """Look-ups of names lie in the file: none of them may be a MAC."""
    ring = KeyRing.create(tmp_path / "keys")
    assert ring.tail_mac(b"text") != ring.lookup("text")
    assert ring.tail_mac(b"text") == KeyRing.open(tmp_path / "keys").tail_mac(b"text")
