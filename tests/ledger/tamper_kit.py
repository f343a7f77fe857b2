"""A log in memory that somebody changes, and what a verification of it must then say, worked out from its rows."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ledger.ledger_kit import exchange, ledger_in, ring_in, run, search

from usher.backends.keyring import KeyRing
from usher.ledger.checkpoint import Checkpoint, sign, verifier_key
from usher.ledger.merkle import Tree
from usher.ledger.record import leaf_hash, tail_text
from usher.ledger.verify import Means, Verdict, verify_opened
from usher.ledger.verify.source import SqliteSource

SIZE = 23
HELD = (5, 18)
"""Sizes of the checkpoints that are held elsewhere, in one file, as a sink appends them."""
STORED = (0, 5, 18, 23)
Rows = dict[int, tuple[Any, Any]]
Event = dict[str, Any]


@dataclass(frozen=True)
class Original:
    """A log, older copies of it by their sizes, its ring, and the checkpoints that are held elsewhere."""

    data: bytes
    older: dict[int, bytes]
    ring: KeyRing
    held: str
    rows: Rows
    mac: bytes


@dataclass
class Case:
    """One log that is being changed."""

    original: Original
    connection: sqlite3.Connection
    chance: random.Random

    def run(self, statement: str, *values: object) -> list[Any]:
        return self.connection.execute(statement, values).fetchall()  # type: ignore[arg-type]  # the test's own values

    def event(self, type_: str | None = None) -> tuple[int, bytes]:
        """Any event, or any of a type: its number and bytes."""
        found = [(n, e) for n, (_, e) in self.original.rows.items() if not type_ or json.loads(e)["type"] == type_]
        return self.chance.choice(found)

    def put(self, number: int, event: bytes, *, mended: bool) -> None:
        """Other bytes for an event, and, if that is mended, the hash and the tree that fit them."""
        self.run("UPDATE events SET event = ? WHERE number = ?", event, number)
        if mended:
            self.run("UPDATE events SET leaf = ? WHERE number = ?", leaf_hash(event), number)
            fit_tree(self.connection)


Act = Callable[[Case], None]


def made(folder: Path) -> Original:
    """Four exchanges and a search, of three people."""
    older: dict[int, bytes] = {}
    path = folder / "ledger.sqlite"

    async def story() -> list[str]:
        async with ledger_in(folder) as ledger:
            await exchange(ledger)
            notes = [await ledger.checkpoint()]
            await asyncio.to_thread(keep)
            await exchange(ledger, "bob")
            await exchange(ledger)
            await search(ledger)
            notes.append(await ledger.checkpoint())
            await asyncio.to_thread(keep)
            await exchange(ledger, "carol")
        return notes

    def keep() -> None:
        data = serialized(path)
        with loaded(data) as connection:
            older[connection.execute("SELECT count(*) FROM events").fetchone()[0]] = data

    held, data = "".join(run(story())), serialized(path)
    with loaded(data) as connection:
        ((mac,),) = connection.execute("SELECT mac FROM tree")
        return Original(data, older, ring_in(folder), held, rows_of(connection), mac)


def serialized(path: Path) -> bytes:
    """The file's bytes, as of a database that has no write-ahead log: one in memory cannot have any."""
    with closing(sqlite3.connect(path)) as connection:
        data = bytearray(connection.serialize())
    data[18:20] = b"\x01\x01"
    return bytes(data)


@contextmanager
def loaded(data: bytes) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(data)
        yield connection


def rows_of(connection: sqlite3.Connection) -> Rows:
    return {
        number: (leaf, event) for number, leaf, event in connection.execute("SELECT number, leaf, event FROM events")
    }


def parsed(case: Case) -> list[Event]:
    """The events as they were."""
    return [json.loads(event) for _, (_, event) in sorted(case.original.rows.items())]


def verified(connection: sqlite3.Connection, means: Means) -> Verdict:
    return verify_opened(lambda: nullcontext(SqliteSource(connection)), means)


def fit_tree(connection: sqlite3.Connection) -> Tree:
    """The stored tree, made to fit the leaves, as whoever has no key can."""
    tree = Tree()
    for (leaf,) in connection.execute("SELECT leaf FROM events ORDER BY number"):
        tree.append(leaf)
    connection.execute("UPDATE tree SET size = ?, edge = ?", (tree.size, tree.edge_bytes()))
    return tree


def written(case: Case, events: Sequence[Event], *, signed: bool) -> None:
    """Other events in the place of all, in good form; `signed` also with tree, MAC and checkpoints by the ring."""
    case.run("DELETE FROM events")
    for number, event in enumerate(events, 1):
        raw = json.dumps(event | {"number": number}, separators=(",", ":")).encode()
        case.run("INSERT INTO events VALUES (?, ?, ?)", number, leaf_hash(raw), raw)
    known = "(SELECT json_extract(CAST(event AS TEXT), '$.audit_id') FROM events)"
    case.run(f"DELETE FROM content WHERE audit_id NOT IN {known}")  # noqa: S608  # a test's own
    tree = fit_tree(case.connection)
    if signed:
        signed_anew(case, tree)


def signed_anew(case: Case, whole: Tree) -> None:
    """As whoever holds the ring can: at each size at which there was a checkpoint, and at the end."""
    ring, (origin,) = case.original.ring, case.run("SELECT origin FROM log")[0]
    case.run("DELETE FROM checkpoints")
    case.run("UPDATE tree SET mac = ?", ring.tail_mac(tail_text(origin, whole.size, whole.root())))
    tree, key = Tree(), verifier_key(origin, ring.public_key)
    leaves = [leaf for (leaf,) in case.run("SELECT leaf FROM events ORDER BY number")]
    for leaf in (None, *leaves):
        if leaf is not None:
            tree.append(leaf)
        if tree.size in (*STORED, whole.size):
            note = sign(Checkpoint(origin, tree.size, tree.root()), ring.signing_key)
            values = (tree.size, tree.edge_bytes(), note, key)
            case.run("INSERT INTO checkpoints (size, edge, note, key) VALUES (?, ?, ?, ?)", *values)


# What a verification must say: from the rows alone, by other means than it uses.


def first_difference(original: Rows, now: Rows) -> int | None:
    """The first event that is missing, changed or too much."""
    return next((n for n in sorted({*original, *now}) if original.get(n) != now.get(n)), None)


def evident(number: int, row: tuple[Any, Any]) -> bool:
    """Whether an event shows by itself that it is not what was recorded."""
    if not isinstance(row[1], bytes) or hashlib.sha256(b"\0" + row[1]).digest() != row[0]:
        return True
    try:
        return bool(json.loads(row[1])["number"] != number)
    except (ValueError, TypeError, KeyError):
        return True


def expected(original: Rows, now: Rows, stored: Sequence[int]) -> int | None:
    """The first bad event, where checkpoints over `stored` events are as they were made.

    One that shows by itself; else the first that is missing below a checkpoint; else, where a checkpoint is
    contradicted, the first after the last one that is not, and stored ones do not count if a held one is contradicted.
    """
    first = first_difference(original, now)
    if first is None:
        return None
    there = len(now)
    for place, number in enumerate(sorted(now), 1):
        if number != place or evident(number, now[number]):
            return place
    bad = [there + 1] if there < max(*HELD, *stored, 0) else []
    held = [size for size in HELD if size <= there]
    if any(size >= first for size in held):
        bad.append(1 + max((size for size in held if size < first), default=0))
    elif any(first <= size <= there for size in stored):
        bad.append(1 + max(size for size in (*stored, *held, 0) if size < first))
    return min(bad, default=first if there > SIZE else None)
