"""Tampering beside the events: whoever changes what belongs to them is found out (see also `_many` and `_file`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.ledger.ledger_kit import change, ledger_in, query, ring_in, run
from tests.ledger.test_ledger_verify import some_events

from usher.ledger.verify import verify

SIZE = 28


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    run(some_events(folder))
    assert verify(folder / "ledger.sqlite", ring=ring_in(folder)).size == SIZE
    return folder


BESIDE = [
    "UPDATE tree SET edge = zeroblob(96)",
    "UPDATE tree SET size = 27",
    "DELETE FROM tree",
    "INSERT INTO tree SELECT size, edge, mac FROM tree",
    "DELETE FROM log",
    "UPDATE log SET origin = 'usher/other'",
    "DELETE FROM checkpoints",
    "UPDATE checkpoints SET size = 6 WHERE size = 5",
    "UPDATE checkpoints SET note = replace(note, char(10) || '28' || char(10), char(10) || '27' || char(10))",
    "UPDATE checkpoints SET note = x'00' WHERE size = 5",
    "UPDATE checkpoints SET note = ''",
    "UPDATE checkpoints SET edge = zeroblob(32) WHERE size = 28",
    "UPDATE checkpoints SET key = 'x' WHERE size = 5",
    "UPDATE checkpoints SET id = 99 WHERE size = 5",
    "INSERT INTO open_exchanges VALUES ('x', 3)",
    "UPDATE content SET ciphertext = zeroblob(80) WHERE position = 1",
    "UPDATE content SET commitment = zeroblob(32) WHERE position = 0",
    "UPDATE content SET kind = 'answer' WHERE position = 0",
    "UPDATE content SET pseudonym = 'somebody'",
    "UPDATE content SET conversation = 'talk-2'",
    "UPDATE content SET position = position + 1 WHERE position = 1",
    "DELETE FROM content WHERE position = 1",
    "DELETE FROM content WHERE position = 0",
    "INSERT INTO content SELECT audit_id, 2, kind, conversation, pseudonym, commitment, ciphertext FROM content"
    " WHERE position = 1",
    "INSERT INTO content SELECT 'x', position, kind, conversation, pseudonym, commitment, ciphertext FROM content"
    " WHERE position = 1 LIMIT 1",
    "UPDATE content SET ciphertext = 'text' WHERE position = 1",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = 9",
    "DROP TABLE content",
    "DROP TABLE events",
    "DROP TABLE checkpoints",
]


@pytest.mark.parametrize("statement", BESIDE)
def test_a_change_beside_the_events_is_found(original: Path, tmp_path: Path, statement: str) -> None:
    """Tree, checkpoints, content and lists are held against the events, without the key ring."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes((original / "ledger.sqlite").read_bytes())
    change(path, statement)
    assert not verify(path).ok


SUBJECTS = [
    "UPDATE subjects SET lookup = zeroblob(32) WHERE rowid = 1",
    "UPDATE subjects SET sealed_name = (SELECT sealed_name FROM subjects WHERE rowid = 2) WHERE rowid = 1",
    "UPDATE subjects SET wrapped_key = (SELECT wrapped_key FROM subjects WHERE rowid = 2) WHERE rowid = 1",
    "UPDATE subjects SET pseudonym = 'somebody' WHERE rowid = 1",
    "DELETE FROM subjects WHERE rowid = 1",
]


@pytest.mark.parametrize("statement", SUBJECTS)
def test_with_the_ring_people_are_held_against_their_keys(original: Path, tmp_path: Path, statement: str) -> None:
    """A name, key or pseudonym given to somebody else is found by whoever has the key ring."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes((original / "ledger.sqlite").read_bytes())
    change(path, statement)
    assert not verify(path, ring=ring_in(original)).ok
    assert verify(path).content == "unchecked"


def test_content_that_does_not_open_is_found_at_its_answer(original: Path, tmp_path: Path) -> None:
    """The answer that commits to the row is the first bad event."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes((original / "ledger.sqlite").read_bytes())
    idents = query(path, "SELECT DISTINCT audit_id FROM content ORDER BY audit_id")
    change(path, f"UPDATE content SET ciphertext = zeroblob(99) WHERE audit_id = '{idents[2][0]}'")  # noqa: S608  # the test's own words
    for ring in (None, ring_in(original)):
        assert verify(path, ring=ring).first_bad == 15


def test_a_forged_signature_is_found(original: Path, tmp_path: Path) -> None:
    """With the public key given, a log whose checkpoints somebody else signed is refused."""
    other = tmp_path / "other"
    other.mkdir()

    async def story() -> None:
        async with ledger_in(other):
            pass

    run(story())
    assert verify(other / "ledger.sqlite").ok
    assert not verify(other / "ledger.sqlite", public_key=ring_in(original).public_key).ok
