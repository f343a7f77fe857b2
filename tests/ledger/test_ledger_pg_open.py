"""What a database administrator does with the lists of open exchanges and of sessions, for which no key vouches: an
answer may be ended, kept from its end, or cut while it flows. `docs/audit.md` says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import event, exchange, opening, rows, run
from tests.ledger.pg_kit import cut, server_in, sql, verified
from tests.ledger.test_ledger_pg_failover import NOTE, lost_session, tried, until

from usher.ledger import leader, sequencer
from usher.ledger.record import EventType, uuid7

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(leader, "GONE_SECONDS", 0.1)
    monkeypatch.setattr(sequencer, "PROBE_SECONDS", 0.05)


def answers(url: str) -> list[tuple[int, str]]:
    events = [json.loads(event) for (event,) in sql(url, "SELECT event FROM events ORDER BY number")]
    return [(event["number"], event["outcome"]) for event in events if event["type"] == "answer"]


def test_an_answer_that_is_ended_twice_is_named(pg: str, tmp_path: Path) -> None:
    """Put back among those that a lost server left open, an exchange that has ended is ended once more."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            ident = await exchange(ledger)
            await ledger.checkpoint()
            sql(pg, "INSERT INTO sessions OVERRIDING SYSTEM VALUE VALUES (999)")
            sql(pg, "INSERT INTO usher_ledger.open_exchanges VALUES (%s, 1, 999)", ident)
            await until(lambda: len(answers(pg)) == 2)

    run(story())
    verdict = verified(pg, tmp_path)
    assert (answers(pg), verdict.first_bad) == ([(5, "answered"), (6, "interrupted")], 6), verdict.problems
    assert "it is the answer of an exchange that has no request or has ended" in verdict.problems[0]


def test_an_answer_that_is_kept_from_its_end_is_counted(pg: str, tmp_path: Path) -> None:
    """Of a lost server whose session somebody took out; an exchange taken out of the list is a fault."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as one, server_in(tmp_path, pg) as two:
            subject, ident = await one.subject("alice"), uuid7()
            await one.append(opening(ident), rows(subject, ident))
            await one.checkpoint()
            sql(pg, "DELETE FROM sessions")
            lost_session(one)
            for _ in range(5):
                await two.append(NOTE)

    run(story())
    verdict = verified(pg, tmp_path)
    assert (answers(pg), verdict.ok, verdict.open) == ([], True, 1), verdict.problems
    sql(pg, "DELETE FROM open_exchanges")
    assert verified(pg, tmp_path).problems == ("the list of open exchanges is not the one of the events",)


def test_of_an_answer_that_flows_the_last_rows_can_be_dropped(pg: str, tmp_path: Path) -> None:
    """While its server's connection is cut: it commits to what is there when it comes back."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            subject, ident = await ledger.subject("alice"), uuid7()
            await ledger.append(opening(ident), rows(subject, ident))
            sql(pg, "DELETE FROM content WHERE position = 1")
            cut(pg, leader=False)
            await tried(lambda: ledger.append([event(EventType.ANSWER, ident, outcome="answered")]))

    run(story())
    assert (verified(pg, tmp_path).ok, sql(pg, "SELECT count(*) FROM content")) == (True, [(1,)])
