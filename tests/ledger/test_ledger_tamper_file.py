"""Damage to the ledger's file itself: there is a verdict whatever the bytes are, and no damage passes for whole."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.ledger.tamper_kit import HELD, SIZE, Original, Rows, loaded, made, verified

from usher.ledger.verify import Means

PAGE = 4096
TOLD = (
    "SELECT origin FROM log",
    "SELECT number, leaf, event FROM events ORDER BY number",
    "SELECT size, edge FROM tree",
    "SELECT audit_id, number FROM open_exchanges ORDER BY 1",
    "SELECT audit_id, position, kind, conversation, pseudonym, commitment, ciphertext"
    " FROM content NOT INDEXED ORDER BY 1, 2",
)
"""What is checked without the ring; the checkpoints besides, of which the newest can be taken away."""
BY_RING = (
    "SELECT mac FROM tree",
    "SELECT lookup, pseudonym, wrapped_key, sealed_name FROM subjects NOT INDEXED ORDER BY 1",
)
CHECKPOINTS = "SELECT size, edge, note, key FROM checkpoints ORDER BY id"
Damage = Callable[[bytearray, random.Random, Original], None]


def one_bit(data: bytearray, chance: random.Random, _: Original) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def many_bytes(data: bytearray, chance: random.Random, _: Original) -> None:
    for _ in range(chance.randrange(2, 200)):
        data[chance.randrange(len(data))] = chance.randrange(256)


def page(data: bytearray, chance: random.Random) -> slice:
    number = chance.randrange(len(data) // PAGE)
    return slice(number * PAGE, (number + 1) * PAGE)


def random_page(data: bytearray, chance: random.Random, _: Original) -> None:
    data[page(data, chance)] = chance.randbytes(PAGE)


def empty_page(data: bytearray, chance: random.Random, _: Original) -> None:
    data[page(data, chance)] = bytes(PAGE)


def page_in_anothers_place(data: bytearray, chance: random.Random, _: Original) -> None:
    data[page(data, chance)] = data[page(data, chance)]


def page_of_an_older_copy(data: bytearray, chance: random.Random, original: Original) -> None:
    older = bytearray(chance.choice(list(original.older.values())))
    place = page(older, chance)
    data[place] = older[place]


def bytes_inserted(data: bytearray, chance: random.Random, _: Original) -> None:
    place = chance.randrange(len(data))
    data[place:place] = chance.randbytes(chance.randrange(1, 2 * PAGE))


def cut_off(data: bytearray, chance: random.Random, _: Original) -> None:
    del data[chance.randrange(len(data)) :]


def nothing_but_a_head(data: bytearray, chance: random.Random, _: Original) -> None:
    data[100:] = chance.randbytes(len(data) - 100)


def no_database(data: bytearray, chance: random.Random, _: Original) -> None:
    data[:] = chance.randbytes(chance.randrange(1, 3 * PAGE))


DAMAGES = [
    *(one_bit, many_bytes, random_page, empty_page, page_in_anothers_place, page_of_an_older_copy, bytes_inserted),
    *(cut_off, nothing_but_a_head, no_database),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return made(tmp_path_factory.mktemp("original"))


def told(connection: sqlite3.Connection, *, by_ring: bool) -> list[Any]:
    return [connection.execute(query).fetchall() for query in (*TOLD, *(BY_RING if by_ring else ()))]


def readable(connection: sqlite3.Connection) -> Rows:
    """The events that can be had by their numbers."""
    found: Rows = {}
    for number in range(1, SIZE + 1):
        with suppress(sqlite3.Error, UnicodeDecodeError):
            for row in connection.execute("SELECT leaf, event FROM events WHERE number = ?", (number,)):
                found[number] = row
    return found


def never_whole(original: Original, damage: Damage, seeds: range) -> int:
    """How many damages are found; the others changed nothing that is read."""
    found = 0
    with loaded(original.data) as connection:
        whole = {by_ring: told(connection, by_ring=by_ring) for by_ring in (False, True)}
        notes = connection.execute(CHECKPOINTS).fetchall()
    for seed in seeds:
        chance, data = random.Random(f"{damage.__name__} {seed}"), bytearray(original.data)  # noqa: S311  # a fixed sample
        damage(data, chance, original)
        given = Means(original.ring if seed % 2 else None, original.ring.public_key, original.held)
        with loaded(bytes(data)) as connection:
            verdict, now = verified(connection, given), readable(connection)
        found += not verdict.ok
        if verdict.ok:
            with loaded(bytes(data)) as connection:  # as a server would read it
                assert told(connection, by_ring=seed % 2 == 1) == whole[seed % 2 == 1], seed
                left = connection.execute(CHECKPOINTS).fetchall()
            assert left == notes[: len(left)], seed
        first = next((n for n in range(1, SIZE + 1) if now.get(n) != original.rows[n]), None)
        if first is not None:
            assert verdict.first_bad is not None, (seed, verdict.problems)
            assert verdict.first_bad <= first, (seed, verdict.problems)
        most = max((trust.events for trust in verdict.trusted), default=0)
        assert all(now[n][1] == original.rows[n][1] for n in range(1, most + 1)), seed
    return found


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damage_passes_for_whole(original: Original, damage: Damage) -> None:
    """With held checkpoints: never an exception, never a good word where anything reads otherwise, and what can be
    relied on is there as it was."""
    never_whole(original, damage, range(8))


@pytest.mark.crash
@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damage_passes_for_whole_at_length(original: Original, damage: Damage) -> None:
    """The same 1,000 times each. Many damages hit what is not in use; a part of each kind is found, at the least."""
    assert never_whole(original, damage, range(8, 1008)) > 150


def test_a_file_that_was_cut_is_read_as_far_as_it_goes(original: Original) -> None:
    """The first event that cannot be read is named, and those before it are vouched for by the held checkpoints."""
    reached = {0}
    for pages in range(1, len(original.data) // PAGE):
        with loaded(original.data[: pages * PAGE]) as connection:
            verdict, now = (
                verified(connection, Means(public_key=original.ring.public_key, held=original.held)),
                readable(connection),
            )
        assert not verdict.ok
        there = next((n for n in range(1, SIZE + 1) if n not in now), None)
        assert verdict.first_bad == there, (pages, verdict.problems)
        held = [trust.events for trust in verdict.trusted if trust.by == "held"]
        assert held == [max(size for size in (0, *HELD) if size < (there or SIZE))][: len(held)]
        reached.add(there or 0)
    assert max(reached) > min(HELD)


def test_what_a_server_cannot_open_is_not_whole(original: Original) -> None:
    """Though each event can still be read: the words that made a table are spoilt."""
    data = original.data.replace(b"CREATE TABLE subjects", b"CREATE TABLX subjects")
    assert data != original.data
    with loaded(data) as connection:
        verdict = verified(connection, Means(public_key=original.ring.public_key, held=original.held))
    assert (verdict.ok, verdict.size, verdict.trusted[0].events) == (False, SIZE, max(HELD))
    assert any("damaged" in problem for problem in verdict.problems)


HOSTILE = [
    b"[" * 200_000,
    b'{"number":1,"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    b'{"number":1e400}',
    b'{"number":' + b"9" * 5_000 + b"}",
    b'{"number":1,"time":"\\ud800"}',
    b'{"number":true,"time":1,"type":{}}',
    b"",
]


@pytest.mark.parametrize("event", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_json_is_a_bad_event(original: Original, event: bytes) -> None:
    """Depth, length and odd numbers end no verification."""
    with loaded(original.data) as connection:
        connection.execute("UPDATE events SET event = ? WHERE number = 7", (event,))
        verdict = verified(connection, Means(held=original.held))
    assert (verdict.ok, verdict.first_bad, verdict.size) == (False, 7, SIZE)
