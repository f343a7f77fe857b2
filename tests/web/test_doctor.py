"""What `usher doctor` finds that somebody has to finish, and how far the reviewers' index is."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from tests.ledger.audit_index_kit import chat, index_of, told

from usher.backends.sql import Database, migrate
from usher.backends.sql_proposal_tables import proposal
from usher.backends.sql_retention import SqlRetention
from usher.doctor import _audit, _shared_store
from usher.settings import Settings

NOW = datetime(2026, 1, 5, tzinfo=UTC)
ENDED, WAITING = {"end": {"outcome": "carried_out"}}, {"end": None}


def row(alone: bool, state: dict[str, Any], done: bool) -> dict[str, Any]:
    fixed = {"id": uuid4(), "kind": "erase_person", "parts": [], "created_at": NOW, "revision": 1}
    return {**fixed, "alone": alone, "state": state, "done_at": NOW if done else None}


def test_what_waits_for_somebody_is_counted(tmp_path: Path) -> None:
    """Erasures that were granted and are not done, and what was done alone and nobody has reviewed; nothing else."""
    database = Database(f"sqlite:///{tmp_path / 'usher.sqlite'}")
    migrate(database)
    assert [(f.ok, f.detail) for f in _audit(Settings(home=tmp_path))] == [
        (True, "0 unfinished"),
        (True, "0 without a review"),
    ]
    rows = [row(False, ENDED, False), row(False, ENDED, True), row(False, WAITING, False)]
    rows += [
        row(True, {"reviewed": None}, True),
        row(True, {"reviewed": None}, False),
        row(True, {"reviewed": {}}, True),
    ]
    with database.begin() as connection:
        connection.execute(sa.insert(proposal), rows)
    database.close()
    found = {finding.name: finding for finding in _audit(Settings(home=tmp_path))}
    assert (found["erasures"].ok, found["erasures"].detail) == (False, "2 unfinished")
    assert (found["break-glass"].ok, found["break-glass"].detail) == (False, "2 without a review")
    assert all(finding.remedy for finding in found.values())


def test_how_far_the_index_is_behind_the_record(tmp_path: Path) -> None:
    """In events, where both lie in files; an index that is no database is told, and is no fault: it is built anew."""
    index_of(told(chat(0), chat(1)), tmp_path).close()
    [level] = _audit(Settings(home=tmp_path))
    assert (level.ok, level.detail, level.remedy) == (True, "0 events behind the record", "")
    with closing(sqlite3.connect(tmp_path / "audit-index.sqlite")) as index, index:
        index.execute("UPDATE progress SET number = number - 2")
    [behind] = _audit(Settings(home=tmp_path))
    assert behind.detail == "2 events behind the record"
    assert behind.remedy
    (tmp_path / "audit-index.sqlite").write_bytes(b"no database at all" * 99)
    [broken] = _audit(Settings(home=tmp_path))
    assert (broken.ok, bool(broken.remedy)) == (True, True)


def test_a_shared_store_that_nobody_serves_is_named_with_its_remedy(tmp_path: Path) -> None:
    """And one that listens is well; without one there is nothing to say."""
    settings = Settings(home=tmp_path, qdrant_url=f"unix:{tmp_path / 'store.sock'}")
    (finding,) = _shared_store(settings)
    assert not finding.ok
    assert f"usher store --socket {tmp_path / 'store.sock'}" in finding.remedy
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "store.sock"))
        listening.listen()
        (finding,) = _shared_store(settings)
    assert finding.ok
    assert list(_shared_store(Settings(home=tmp_path))) == []


def test_that_retention_waits_for_the_operator_is_told(tmp_path: Path) -> None:
    """Where the clock stands so far after the last run that none is made by itself; nothing before the first run."""
    database = Database(f"sqlite:///{tmp_path / 'usher.sqlite'}")
    migrate(database)
    assert "retention" not in {finding.name for finding in _audit(Settings(home=tmp_path))}
    store = SqlRetention(database)
    for days, ok in ((1, True), (8, False)):
        asyncio.run(store.ran(datetime.now(UTC) - timedelta(days=days)))
        found = {finding.name: finding for finding in _audit(Settings(home=tmp_path))}["retention"]
        assert (found.ok, "waits for the operator" in found.detail, bool(found.remedy)) == (ok, not ok, not ok)
    database.close()
