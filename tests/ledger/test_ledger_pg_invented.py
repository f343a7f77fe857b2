"""Rows of `pending` that no server put there: they get no place, hold nobody up, and are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.ledger.ledger_kit import exchange, ring_in, run
from tests.ledger.pg_kit import WAIT, server_in, sql, verified, waiting

from usher.backends.ledger_pg import PgLog
from usher.ledger.log import LedgerDamaged
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger

pytestmark = pytest.mark.slow
NOTE = [Entry(EventType.OPERATOR)]
INVENTED = b'{"type":"operator","audit_id":null,"who":null,"invented":true}'
BEFORE = (
    "ALTER TABLE pending DROP COLUMN mac, DROP COLUMN place; DROP TABLE set_aside;"
    " INSERT INTO pending (session, part) VALUES (1, '{}')"
)
CHANGES = [
    "session = session + 1",
    "place = place + 1",
    "part = 'no event'",
    "part = NULL",
    "rows = 1, digest = 'x'",
    "opens = 'x'",
    "closes = 'x'",
    "drops = 'no list'",
    "drops = '[[\"x\", 0]]'",
    "mac = ''",
]


def events(url: str) -> list[dict[str, Any]]:
    return [json.loads(event) for (event,) in sql(url, "SELECT event FROM events ORDER BY number")]


def test_what_nobody_with_the_ring_put_there_gets_no_place(pg: str, tmp_path: Path) -> None:
    """Each field of a row is under the MAC; whatever is changed, the row is set aside and others get their place."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await ledger.checkpoint()
            with psycopg.connect(pg) as other:
                for place, change in enumerate(CHANGES, 100):
                    given = (*waiting(pg, tmp_path, INVENTED, place, session=90),)
                    (row,) = other.execute(f"{WAIT} RETURNING id", given).fetchone() or ()
                    other.execute(f"UPDATE usher_ledger.pending SET {change} WHERE id = %s", (row,))  # noqa: S608  # a test's own
            await exchange(ledger)
            await ledger.checkpoint()

    run(story())
    found = events(pg)
    assert sorted(event["type"] for event in found) == sorted(
        ["recovery", "request", "decision", "retrieval", "generation", "answer"]
    )
    assert verified(pg, tmp_path).problems == ()
    (said,) = [event for event in found if event["type"] == "recovery"]
    kept = sql(pg, "SELECT fingerprint FROM set_aside ORDER BY id")
    assert (said["outcome"], said["rows"]) == ("set_aside", len(CHANGES))
    assert said["fingerprints"] == [fingerprint for (fingerprint,) in kept]
    assert sql(pg, "SELECT count(*) FROM set_aside WHERE part = 'no event'") == [(1,)]
    assert sql(pg, "SELECT count(*) FROM pending") == [(0,)]


def test_a_row_that_had_its_place_gets_no_second_one(pg: str, tmp_path: Path) -> None:
    """Put there again, as it was, by somebody who saw it wait."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            given = waiting(pg, tmp_path, INVENTED, 7, session=90)
            for _ in range(3):
                sql(pg, WAIT, *given)
            await ledger.checkpoint()
            sql(pg, WAIT, *given)
            await ledger.append(NOTE)

    run(story())
    assert [event["type"] for event in events(pg) if "invented" in event] == ["operator"]
    assert sum(event["rows"] for event in events(pg) if event["type"] == "recovery") == 3


def test_a_row_of_another_log_is_not_of_this_one(pg: str, tmp_path: Path) -> None:
    """Of the same key ring."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            given = waiting(pg, tmp_path, INVENTED, 7, session=90)
            await ledger.append(NOTE)
        sql(pg, "DROP SCHEMA usher_ledger CASCADE")
        async with server_in(tmp_path, pg) as ledger:
            sql(pg, WAIT, *given)
            await ledger.append(NOTE)

    run(story())
    assert [event["type"] for event in events(pg) if "invented" in event] == []


def test_tables_of_before_are_brought_up_to_date(pg: str, tmp_path: Path) -> None:
    """Once nothing waits in them: of what waits without a MAC nobody could tell who put it there."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await ledger.append(NOTE)
        sql(pg, BEFORE)
        with pytest.raises(LedgerDamaged, match="start that release once more and stop it"):
            await Ledger.open(PgLog(pg), ring_in(tmp_path))
        sql(pg, "DELETE FROM pending")
        async with server_in(tmp_path, pg) as ledger:
            await exchange(ledger)
            with pytest.raises(psycopg.errors.NotNullViolation):  # a server of before, which is still there
                sql(pg, "INSERT INTO pending (session, part) VALUES (1, '{}')")

    run(story())
    assert events(pg)[0]["type"] == "operator"
    assert verified(pg, tmp_path).problems == ()
