"""A server that is started with a key ring from before an erasure."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import run
from tests.ledger.pg_kit import sql

from usher.backends.keyring import KeyRing
from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_sql import SqlLog
from usher.ledger.log import LedgerDamaged, Log
from usher.ledger.record import Entry, EventType, subject_key_aad
from usher.ledger.sequencer import Ledger
from usher.ledger.shared import SharedLog

PEOPLE = ("alice", "bob", "carol", "dave", "erin")


def log_in(folder: Path, url: str | None) -> Log | SharedLog:
    return SqlLog(folder / "ledger.sqlite") if url is None else PgLog(url)


async def erased(log: Log | SharedLog, ring: KeyRing, many: int) -> None:
    """Alice is, and so many of the others have their keys under the new one, in the order of an erasure."""
    ledger = await Ledger.open(log, ring)
    gone, *_ = [await ledger.pseudonym(user) for user in PEOPLE]
    ring.renew()
    rows = [row for row in log.subjects("", 10) if row.pseudonym != gone][:many]
    bound = [(row, subject_key_aad(row.pseudonym)) for row in rows]
    anew = [(row.pseudonym, ring.wrap(ring.unwrap(row.wrapped_key, aad), aad)) for row, aad in bound]
    event = Entry(EventType.ERASURE, body={"subject": gone})
    await ledger.append([event], rewrapped=[(gone, b""), *anew])
    await ledger.close()


@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_is_refused_before_it_wraps_anything(tmp_path: Path, shared: bool, request: pytest.FixtureRequest) -> None:
    """Nothing is recorded, and nobody is served, by a ring that a new key would be destroyed with."""
    url = request.getfixturevalue("pg") if shared else None
    ring = KeyRing.create(tmp_path / "home.keys")
    shutil.copy(ring.path, tmp_path / "old.keys")
    run(erased(log_in(tmp_path, url), ring, 4))
    for keys, opens in ((ring.path, True), (tmp_path / "old.keys", False), (ring.path, True)):
        log = log_in(tmp_path, url)
        if opens:
            run(opened(log, keys))
        else:
            with pytest.raises(LedgerDamaged, match="put the newest key ring back"):
                run(opened(log, keys))
    if url is not None:
        assert sql(url, "SELECT count(*) FROM sessions") == [(0,)]


def test_an_erasure_that_was_cut_off_and_a_damaged_key_hold_nobody_up(tmp_path: Path) -> None:
    """The ring has both keys then; of a few people whose keys open no more the rest is served."""
    ring = KeyRing.create(tmp_path / "home.keys")
    run(erased(SqlLog(tmp_path / "ledger.sqlite"), ring, 2))
    run(opened(SqlLog(tmp_path / "ledger.sqlite"), ring.path))

    async def tampered() -> None:
        ledger = await Ledger.open(log := SqlLog(tmp_path / "ledger.sqlite"), ring)
        *_, last = log.subjects("", 10)
        await ledger.append([], rewrapped=[(last.pseudonym, b"no key")])
        await ledger.close()

    run(tampered())
    run(opened(SqlLog(tmp_path / "ledger.sqlite"), ring.path))


@pytest.mark.parametrize("stored", ["no key", 7, 1.5, b"\0"])
def test_what_is_no_key_at_all_holds_nobody_up_either(tmp_path: Path, stored: object) -> None:
    """SQLite's file takes a value of any type there."""
    ring = KeyRing.create(tmp_path / "home.keys")
    run(erased(SqlLog(tmp_path / "ledger.sqlite"), ring, 4))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as file, file:
        one = "SELECT min(pseudonym) FROM subjects WHERE wrapped_key <> x''"
        file.execute(f"UPDATE subjects SET wrapped_key = ? WHERE pseudonym = ({one})", (stored,))  # noqa: S608 - no input
    run(opened(SqlLog(tmp_path / "ledger.sqlite"), ring.path))


async def opened(log: Log | SharedLog, keys: Path) -> None:
    ledger = await Ledger.open(log, KeyRing.open(keys))
    await ledger.close()
