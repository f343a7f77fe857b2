"""Subjects' keys wrapped anew, or taken away, with the event that says so; and what a verification makes of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledger.pg_kit import server_in
from tests.ledger.pg_kit import verified as pg_verified

from usher.backends.keyring import KeyRing
from usher.backends.ledger_memory import MemoryLog
from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_sql import SqlLog
from usher.ledger.log import Log
from usher.ledger.record import CHAT, Entry, EventType, Kind, subject_key_aad, uuid7
from usher.ledger.sequencer import Ledger
from usher.ledger.subjects import Erased
from usher.ledger.verify import Verdict, verify

LOGS: list[Callable[[Path], Log]] = [lambda path: MemoryLog(), lambda path: SqlLog(path / "ledger.sqlite")]


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing.create(tmp_path / "home.keys")


async def asked(ledger: Ledger, user: str) -> str:
    """One exchange of theirs; their pseudonym."""
    subject, ident, talk = await ledger.subject(user), uuid7(), uuid7()
    request = Entry(EventType.REQUEST, ident, body={"operation": CHAT})
    decision = Entry(EventType.DECISION, ident, body={"effect": "allow"})
    rows = [subject.conversation(talk).seal(ident, 0, Kind.QUESTION, f"{user} wonders")]
    await ledger.append([request, decision], rows)
    await ledger.append([Entry(EventType.ANSWER, ident, body={"outcome": "answered"})])
    return subject.pseudonym


def erasure(whom: str) -> Entry:
    return Entry(EventType.ERASURE, body={"subject": whom})


@pytest.mark.parametrize("make", LOGS)
def test_an_erased_subject_opens_no_more_and_a_rewrapped_one_does(
    tmp_path: Path, ring: KeyRing, make: Callable[[Path], Log]
) -> None:
    """In one commit with the event; the name is free for somebody new."""

    async def work() -> None:
        log = make(tmp_path)
        ledger = await Ledger.open(log, ring)
        gone, stays = [await asked(ledger, user) for user in ("alice", "bob")]
        ring.renew()
        kept = log.subject_by_pseudonym(stays)
        assert kept is not None
        bound = subject_key_aad(stays)
        anew = ring.wrap(ring.unwrap(kept.wrapped_key, bound), bound)
        await ledger.append([erasure(gone)], rewrapped=[(gone, b""), (stays, anew)])
        ledger.subjects.forget(gone)
        ring.destroy_retired()
        rows = {row.pseudonym: row for row in log.subjects("", 10)}
        assert [row.pseudonym for row in log.subjects("", 10)] == sorted(rows)
        assert log.subjects(max(rows), 10) == []
        assert (rows[gone].erased, rows[gone].sealed_name, rows[stays].wrapped_key) == (True, b"", anew)
        for asking in (ledger.subjects.known(gone), ledger.subjects.name_of(gone)):
            with pytest.raises(Erased):
                await asking
        assert await ledger.subjects.name_of(stays) == "bob"
        assert await ledger.subjects.found("alice") is None
        assert await ledger.pseudonym("alice") != gone
        await ledger.close()

    asyncio.run(work())


def verified(tmp_path: Path, ring: KeyRing, sql: str = "", *, say: bool = True, take: bool = True) -> list[Verdict]:
    """What is found, with the ring and without, where an event says that alice was erased and her key was taken."""

    async def work() -> None:
        ledger = await Ledger.open(SqlLog(tmp_path / "ledger.sqlite"), ring)
        gone = await asked(ledger, "alice")
        await asked(ledger, "bob")
        await ledger.append([erasure(gone)] if say else [], rewrapped=[(gone, b"")] if take else [])
        await ledger.close()

    asyncio.run(work())
    if sql:
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as connection:
            connection.execute(sql)
    return [verify(tmp_path / "ledger.sqlite", ring=one) for one in (ring, None)]


def test_a_recorded_erasure_is_no_damage(tmp_path: Path, ring: KeyRing) -> None:
    """With the ring and without; it is said that texts of one person are not checked."""
    for verdict in verified(tmp_path, ring):
        assert (verdict.ok, verdict.problems) == (True, ())
        assert any("what 1 erased people said" in warning for warning in verdict.warnings)


def test_a_key_that_went_without_an_event_is_found(tmp_path: Path, ring: KeyRing) -> None:
    """Somebody took it away, in the database."""
    for verdict in verified(tmp_path, ring, say=False):
        assert not verdict.ok
        assert any("no event says" in problem for problem in verdict.problems)


def test_an_erasure_that_did_not_happen_is_found(tmp_path: Path, ring: KeyRing) -> None:
    """The event stands there, and the key too: somebody put it back, or never took it."""
    for verdict in verified(tmp_path, ring, take=False):
        assert not verdict.ok
        assert any("which it says was erased" in problem for problem in verdict.problems)


def test_what_an_erased_person_said_is_still_committed_to(tmp_path: Path, ring: KeyRing) -> None:
    """A ciphertext that was changed is found, though nobody can open it."""
    change = "UPDATE content SET ciphertext = zeroblob(length(ciphertext))"
    for verdict in verified(tmp_path, ring, change):
        assert not verdict.ok
        assert verdict.first_bad is not None


@pytest.mark.slow
def test_on_postgresql_too_and_other_servers_are_seen(tmp_path: Path, pg: str) -> None:
    """Keys are taken and wrapped anew in one commit; how many others record is known before a ring is renewed."""

    async def work() -> str:
        log = PgLog(pg)
        async with server_in(tmp_path, pg) as ledger:
            gone, stays = [await asked(ledger, user) for user in ("alice", "bob")]
            assert log.others() == 1
            async with server_in(tmp_path, pg):
                assert log.others() == 2
            await ledger.append([erasure(gone)], rewrapped=[(gone, b""), (stays, b"wrapped anew")])
            rows = {row.pseudonym: row for row in log.subjects("", 10)}
            assert [row.pseudonym for row in log.subjects("", 10)] == sorted(rows)
            assert (rows[gone].erased, rows[gone].sealed_name) == (True, b"")
            assert rows[stays].wrapped_key == b"wrapped anew"
            await ledger.append([], rewrapped=[(stays, b"")])
            await ledger.append([erasure(stays)])
        log.close()
        return gone

    asyncio.run(work())
    assert pg_verified(pg, tmp_path).problems == ()
