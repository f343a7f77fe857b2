"""Tampering: whoever changes rows in the file is found out, and the first bad event is named."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import change, ledger_in, query, ring_in, run
from tests.ledger.test_ledger_verify import some_events

from usher.ledger.merkle import Tree
from usher.ledger.record import leaf_hash
from usher.ledger.verify import verify

SIZE = 28
Change = Callable[[sqlite3.Connection, random.Random], int]
"""Does something to the events and says which is then the first bad one."""


def flip(connection: sqlite3.Connection, chance: random.Random) -> int:
    """One bit of one event."""
    number, event = picked(connection, chance)
    place = chance.randrange(len(event))
    changed = event[:place] + bytes([event[place] ^ 1 << chance.randrange(8)]) + event[place + 1 :]
    connection.execute("UPDATE events SET event = ? WHERE number = ?", (changed, number))
    return number


def flip_and_hash_again(connection: sqlite3.Connection, chance: random.Random) -> int:
    """One event in meaning, by somebody who also mends the hash beside it: found at the next checkpoint."""
    number, event = picked(connection, chance)
    changed = event.replace(b'"audit_id":"0', b'"audit_id":"1')
    values = (changed, leaf_hash(changed), number)
    connection.execute("UPDATE events SET event = ?, leaf = ? WHERE number = ?", values)
    return number


def attribute_to_another(connection: sqlite3.Connection, chance: random.Random) -> int:
    """One request to another pseudonym."""
    people = [p for (p,) in connection.execute("SELECT pseudonym FROM subjects")]
    number, event = picked(connection, chance, "'request' AND number < 25")
    mine = next(person for person in people if person.encode() in event)
    other = next(person for person in people if person != mine)
    changed = event.replace(mine.encode(), other.encode())
    connection.execute("UPDATE events SET event = ? WHERE number = ?", (changed, number))
    return number


def change_time(connection: sqlite3.Connection, chance: random.Random) -> int:
    """One event to another time."""
    number, event = picked(connection, chance)
    changed = event.replace(b'"time":"20', b'"time":"19')
    connection.execute("UPDATE events SET event = ? WHERE number = ?", (changed, number))
    return number


def remove(connection: sqlite3.Connection, chance: random.Random) -> int:
    """One event, leaving a gap."""
    number, _ = picked(connection, chance)
    connection.execute("DELETE FROM events WHERE number = ?", (number,))
    return number


def remove_and_close_up(connection: sqlite3.Connection, chance: random.Random) -> int:
    """One event, the later ones moved down."""
    number = remove(connection, chance)
    connection.execute("UPDATE events SET number = -number WHERE number > ?", (number,))
    connection.execute("UPDATE events SET number = -number - 1 WHERE number < 0")
    return number


def swap(connection: sqlite3.Connection, chance: random.Random) -> int:
    """Two events, with their hashes."""
    first, second = sorted(chance.sample(range(1, SIZE + 1), 2))
    for old, new in ((first, -1), (second, first), (-1, second)):
        connection.execute("UPDATE events SET number = ? WHERE number = ?", (new, old))
    return first


def duplicate(connection: sqlite3.Connection, chance: random.Random) -> int:
    """One event once more, in another's place."""
    source, target = chance.sample(range(1, SIZE + 1), 2)
    connection.execute("DELETE FROM events WHERE number = ?", (target,))
    connection.execute("INSERT INTO events SELECT ?, leaf, event FROM events WHERE number = ?", (target, source))
    return target


def append(connection: sqlite3.Connection, chance: random.Random) -> int:
    """A forged event after the last."""
    _, event = picked(connection, chance)
    connection.execute("INSERT INTO events VALUES (?, ?, ?)", (SIZE + 1, leaf_hash(event), event))
    return SIZE + 1


def truncate(connection: sqlite3.Connection, chance: random.Random) -> int:
    """The last events."""
    size = chance.randrange(SIZE)
    connection.execute("DELETE FROM events WHERE number > ?", (size,))
    return size + 1


def truncate_with_tree(connection: sqlite3.Connection, chance: random.Random) -> int:
    """The last events, with a tree made to fit what is left."""
    number = truncate(connection, chance)
    tree = Tree()
    for (leaf,) in connection.execute("SELECT leaf FROM events ORDER BY number"):
        tree.append(leaf)
    connection.execute("UPDATE tree SET size = ?, edge = ?", (tree.size, tree.edge_bytes()))
    return number


def to_text(connection: sqlite3.Connection, chance: random.Random) -> int:
    """One event's bytes to something that is not an event at all."""
    number, _ = picked(connection, chance)
    value = chance.choice(["{}", "", 7, None, b"", b"[]", b'{"number":1}', b"\xff\xfe", "ü"])
    connection.execute("UPDATE events SET event = ? WHERE number = ?", (value if value is not None else b"n", number))
    return number


def picked(connection: sqlite3.Connection, chance: random.Random, type_: str = "type") -> tuple[int, bytes]:
    where = "" if type_ == "type" else f" WHERE json_extract(event, '$.type') = {type_}"
    found = connection.execute(f"SELECT number, event FROM events{where} ORDER BY number").fetchall()  # noqa: S608  # the test's own words
    number, event = chance.choice(found)
    return number, event


EXACT = [
    flip,
    attribute_to_another,
    change_time,
    remove,
    remove_and_close_up,
    swap,
    duplicate,
    append,
    truncate,
    truncate_with_tree,
    to_text,
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    run(some_events(folder))
    assert verify(folder / "ledger.sqlite", ring=ring_in(folder)).size == SIZE
    return folder


def tampered(original: Path, tmp_path: Path, act: Change, seed: int) -> tuple[int, Path]:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes((original / "ledger.sqlite").read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        return act(connection, random.Random(seed)), path  # noqa: S311  # a fixed sample


@pytest.mark.parametrize("act", EXACT)
def test_a_change_of_events_is_found_at_its_number(original: Path, tmp_path: Path, act: Change) -> None:
    """The verdict names the very event, without the key ring."""
    found_exactly(original, tmp_path, act, range(2))


@pytest.mark.slow
@pytest.mark.parametrize("act", EXACT)
def test_many_changes_of_events_are_found_at_their_numbers(original: Path, tmp_path: Path, act: Change) -> None:
    """The same for 40 changes of each kind."""
    found_exactly(original, tmp_path, act, range(2, 42))


def found_exactly(original: Path, tmp_path: Path, act: Change, seeds: range) -> None:
    for seed in seeds:
        number, path = tampered(original, tmp_path, act, seed)
        verdict = verify(path)
        assert (verdict.ok, verdict.first_bad) == (False, number), (seed, verdict.problems)


@pytest.mark.slow
def test_a_change_with_its_hash_mended_is_found_by_the_checkpoint(original: Path, tmp_path: Path) -> None:
    """The first bad event is then the one after the last checkpoint that holds (events 5 and 28 have one)."""
    for seed in range(25):
        number, path = tampered(original, tmp_path, flip_and_hash_again, seed)
        verdict = verify(path)
        assert not verdict.ok
        assert verdict.first_bad in (number, 1 if number <= 5 else 6), verdict.problems


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
