"""What the disk and the database take by themselves: the floors under the ledger's figures."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import psycopg

BATCH = 31
"""Exchanges in one bare transaction: a group of the ledger's has 123 appends of 256 callers on average, which are
those of 31 exchanges."""
SYNCS = 500


def sqlite_floor(source: Path, target: Path, total: int) -> float:
    """Seconds in which the first `total` exchanges of a ledger's file go into an equal one, rows as they are, with the
    same durability: no hashing, no sealing, no order, one thread."""
    batches = _batches(source, total)
    with closing(sqlite3.connect(target, isolation_level=None)) as bare:
        bare.execute("PRAGMA journal_mode = WAL")
        bare.execute("PRAGMA synchronous = FULL")
        with closing(sqlite3.connect(source)) as made:
            for (sql,) in made.execute(
                "SELECT sql FROM sqlite_master WHERE tbl_name IN ('events', 'content') AND sql IS NOT NULL"
            ):
                bare.execute(sql)
        began = time.perf_counter()
        for events, content in batches:
            bare.execute("BEGIN IMMEDIATE")
            bare.executemany("INSERT INTO events VALUES (?, ?, ?)", events)
            bare.executemany("INSERT INTO content VALUES (?, ?, ?, ?, ?, ?, ?)", content)
            bare.execute("COMMIT")
        return time.perf_counter() - began


def pg_floor(url: str, source: Path, total: int) -> float:
    """The same into PostgreSQL: one statement for the events and one for the content of a batch, as arrays."""
    batches = _batches(source, total)
    with psycopg.connect(url) as bare:
        bare.execute("CREATE SCHEMA bare")
        bare.execute("CREATE TABLE bare.events (LIKE usher_ledger.events INCLUDING ALL)")
        bare.execute("CREATE TABLE bare.content (LIKE usher_ledger.content INCLUDING ALL)")
        bare.commit()
        began = time.perf_counter()
        for events, content in batches:
            bare.execute(_PG_EVENTS, [list(column) for column in zip(*events, strict=True)])
            bare.execute(_PG_CONTENT, [list(column) for column in zip(*content, strict=True)])
            bare.commit()
        return time.perf_counter() - began


_PG_EVENTS = "INSERT INTO bare.events (number, leaf, event) SELECT * FROM unnest(%b::int8[], %b::bytea[], %b::bytea[])"
_PG_CONTENT = """
INSERT INTO bare.content (audit_id, position, kind, conversation, pseudonym, commitment, ciphertext)
SELECT * FROM unnest(%b::text[], %b::int4[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[])
"""

Rows = list[tuple[object, ...]]


def _batches(source: Path, total: int) -> list[tuple[Rows, Rows]]:
    """The rows in the order they were written, as many content rows as belong to so many events."""
    with closing(sqlite3.connect(source)) as made:
        events = made.execute("SELECT number, leaf, event FROM events ORDER BY number LIMIT ?", (total * 5,)).fetchall()
        content = made.execute("SELECT * FROM content ORDER BY rowid LIMIT ?", (total * 2,)).fetchall()
    return [
        (events[start * 5 : (start + BATCH) * 5], content[start * 2 : (start + BATCH) * 2])
        for start in range(0, total, BATCH)
    ]


def fsyncs(folder: Path) -> list[float]:
    """Seconds of each of many appends of 4 KiB made durable."""
    took = []
    with (folder / "synced").open("wb") as file:
        for _ in range(SYNCS):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return took
