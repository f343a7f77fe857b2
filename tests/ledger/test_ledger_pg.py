"""One ledger for several servers, in PostgreSQL: what is acknowledged, what is numbered, what is read of it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.ledger.ledger_kit import event, exchange, opening, rows, run, search
from tests.ledger.pg_kit import WAIT, cut, server_in, sql, verified, waiting

from usher.backends.audit_index import AuditIndexFile
from usher.backends.audit_index_ledger import in_log
from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_pg_tables import LOCK, SEQUENCER
from usher.ledger import leader, sequencer
from usher.ledger.log import LedgerUnavailable, OutOfOrder
from usher.ledger.record import Entry, EventType, is_dropped, uuid7
from usher.ports.audit_index import Between

pytestmark = pytest.mark.slow
NOTE = [Entry(EventType.OPERATOR)]


def types(url: str) -> list[str]:
    return [json.loads(event)["type"] for (event,) in sql(url, "SELECT event FROM events ORDER BY number")]


def test_an_exchange_and_a_search_are_recorded_and_verify(pg: str, tmp_path: Path) -> None:
    """Number by number as in a file; at the stop everything has its place, and a checkpoint is over it."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            ident = await exchange(ledger)
            await search(ledger)
            alice = await ledger.subject("alice")
            assert [alice.conversation("talk-1").open(row)[:3] for row in await ledger.content(ident)] == ["Wha", "The"]

    run(story())
    assert types(pg) == ["request", "decision", "retrieval", "generation", "answer", "request", "decision", "retrieval"]
    verdict = verified(pg, tmp_path)
    assert (verdict.problems, verdict.size, verdict.content, verdict.uncovered) == ((), 8, "checked", 0)
    left = "SELECT count(*) FROM (SELECT 1 FROM pending UNION ALL SELECT 1 FROM sessions) AS left_over"
    assert sql(pg, left) == [(0,)]


def test_two_servers_record_in_one_log(pg: str, tmp_path: Path) -> None:
    """Each event of either is there once, in one numbering, with rising times; a person has one pseudonym at both."""

    async def story() -> set[str]:
        async with server_in(tmp_path, pg) as one, server_in(tmp_path, pg) as two:
            first = await asyncio.gather(*[ledger.pseudonym("alice") for ledger in (one, two)])
            assert len(set(first)) == 1
            done = await asyncio.gather(*[exchange(ledger) for ledger in (one, two) for _ in range(20)])
            assert {row.pseudonym for row in await one.content(done[-1])} == set(first)
            return set(done)

    done = run(story())
    events = [json.loads(event) for (event,) in sql(pg, "SELECT event FROM events ORDER BY number")]
    assert [event["number"] for event in events] == list(range(1, 201))
    assert {event["audit_id"] for event in events} == done
    assert verified(pg, tmp_path).problems == ()


def test_the_order_within_an_exchange_is_enforced_where_it_is_answered(pg: str, tmp_path: Path) -> None:
    """What has no place is refused alone, beside others in the same moment."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            ident = uuid7()
            orders = [[event(EventType.RETRIEVAL, ident)], NOTE, [event(EventType.ANSWER, "none", outcome="x")]]
            outcomes = await asyncio.gather(*[ledger.append(order) for order in orders], return_exceptions=True)
            assert [isinstance(outcome, OutOfOrder) for outcome in outcomes] == [True, False, True]
            assert outcomes[1].numbers == range(0)

    run(story())
    assert types(pg) == ["operator"]


def test_an_acknowledgement_is_a_committed_row_that_waits(pg: str, tmp_path: Path) -> None:
    """It does not wait for the one that leads; what was acknowledged meanwhile has its place within a second of one."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            with psycopg.connect(pg) as connection:
                connection.execute("SELECT 1 FROM usher_ledger.tree FOR UPDATE")  # the leader cannot take its turn
                await ledger.append(NOTE * 3)
                assert sql(pg, "SELECT count(*) FROM pending WHERE part IS NOT NULL") == [(3,)]
                assert sql(pg, "SELECT count(*) FROM events") == [(0,)]
            began = time.monotonic()
            while sql(pg, "SELECT count(*) FROM events") != [(3,)]:
                assert time.monotonic() < began + 1
                await asyncio.sleep(0.01)

    run(story())


def test_what_commits_late_with_a_lower_number_is_not_skipped(pg: str, tmp_path: Path) -> None:
    """Rows of a transaction that began before others and ended after them get their place all the same."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            with psycopg.connect(pg) as slow:
                given = waiting(pg, tmp_path, b'{"type":"operator","audit_id":null,"who":null,"n":1}', session=9)
                (early,) = slow.execute(f"{WAIT} RETURNING id", given).fetchone() or ()
                await ledger.append(NOTE)
                await ledger.checkpoint()
                assert sql(pg, "SELECT count(*) FROM events") == [(1,)]
                (late,) = sql(pg, "SELECT max(id) FROM (SELECT nextval(pg_get_serial_sequence('pending', 'id')) id) s")[
                    0
                ]
                assert early < late
            await ledger.checkpoint()
            assert sql(pg, "SELECT count(*) FROM events") == [(2,)]

    run(story())
    assert verified(pg, tmp_path).problems == ()


def test_reading_events_shows_what_was_acknowledged_before(pg: str, tmp_path: Path) -> None:
    """A page that is asked for after an append holds its events."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            log = PgLog(pg)
            for count in range(1, 6):
                await ledger.append(NOTE)
                page = await asyncio.to_thread(log.events, 0, 50, type=EventType.OPERATOR)
                assert [number for number, _ in page.events] == list(range(1, count + 1))
            assert log.events(0, 2).next == 2
            log.close()

    run(story())


def test_nothing_is_acknowledged_where_nobody_leads(pg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When what waits has had no place for too long all servers refuse, and go on by themselves when one leads."""
    monkeypatch.setattr(leader, "LAG_SECONDS", 0.3)
    monkeypatch.setattr(leader, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(sequencer, "PROBE_SECONDS", 0.05)

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            with psycopg.connect(pg, autocommit=True) as other:
                cut(pg, leader=True)
                other.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK, SEQUENCER))  # and does not sequence
                async with asyncio.timeout(5):
                    while True:
                        try:
                            await ledger.append(NOTE)
                        except LedgerUnavailable as refusal:
                            if "its place" in refusal.reason:
                                break
                        await asyncio.sleep(0.02)
            async with asyncio.timeout(5):
                while ledger.healthy() is not None:  # noqa: ASYNC110  # health is a value to look at, not an event
                    await asyncio.sleep(0.02)
            await ledger.append(NOTE)

    run(story())
    assert verified(pg, tmp_path).problems == ()


def test_what_was_dropped_is_a_tombstone_of_the_same_bytes(pg: str, tmp_path: Path) -> None:
    """Content goes with its event, in one commit, and what remains still leads to the commitment."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            ident = await exchange(ledger)
            await ledger.append(
                [Entry(EventType.ERASURE, body={"exchanges": [ident]})], dropped=[(ident, 0), (ident, 1)]
            )
            await ledger.checkpoint()
            assert [is_dropped(row.ciphertext) for row in await ledger.content(ident)] == [True, True]

    run(story())
    assert verified(pg, tmp_path).problems == ()


def test_the_reviewers_index_follows(pg: str, tmp_path: Path) -> None:
    """The index is built from PostgreSQL's events as from a file's."""

    async def story() -> tuple[str, Any]:
        async with server_in(tmp_path, pg) as ledger:
            ident = uuid7()
            decision = {"action": "chat.ask", "effect": "deny", "reason": "no rule", "rules": []}
            denied = [opening(ident)[0], Entry(EventType.DECISION, ident, None, decision)]
            await ledger.append([*denied, event(EventType.ANSWER, ident, outcome="refused")])
            await ledger.checkpoint()
            log = PgLog(pg)
            index = AuditIndexFile(tmp_path / "audit-index.sqlite", in_log(log))
            while index.step():
                pass
            found = index.denied(Between(0, 10))
            index.close()
            log.close()
            return ident, found

    ident, found = run(story())
    assert (found.indexed, found.size) == (3, 3)
    assert [denial.audit_id for denial in found.entries] == [ident]


def test_open_exchanges_are_those_that_are_being_answered(pg: str, tmp_path: Path) -> None:
    """Also while they wait for their place; not when they have ended."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            subject, ident = await ledger.subject("alice"), uuid7()
            log = PgLog(pg)
            await ledger.append(opening(ident), rows(subject, ident))
            assert log.open_exchanges() == {ident}
            await ledger.checkpoint()
            assert log.open_exchanges() == {ident}
            await ledger.append([event(EventType.ANSWER, ident, outcome="answered")])
            assert log.open_exchanges() == frozenset()
            await ledger.checkpoint()
            assert log.open_exchanges() == frozenset()
            log.close()

    run(story())
