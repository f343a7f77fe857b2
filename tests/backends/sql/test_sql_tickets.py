"""The contract of `Tickets`: used once, in time, and no trace of the ticket itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import sqlalchemy as sa
from tests.backends.sql.sql_kit import NOW, Ports, run

from usher.backends import sql_tables as t
from usher.backends.sql_tickets import SqlTickets
from usher.core.standing import Credential

ALICE = Credential("key", "a" * 16, "alice")
SOON = NOW + timedelta(seconds=30)
ONE, TWO = b"1" * 32, b"2" * 32


def test_a_ticket_is_taken_once(sql: Ports) -> None:
    """By one of many that try at the same time; another's ticket stays."""

    async def story() -> None:
        tickets = SqlTickets(sql.database)
        await tickets.put(ONE, ALICE, SOON, NOW)
        await tickets.put(TWO, Credential("key", "b" * 16, "bob"), SOON, NOW)
        taken = await asyncio.gather(*(tickets.take(ONE, NOW) for _ in range(8)))
        assert [credential for credential in taken if credential is not None] == [ALICE]
        assert await tickets.take(ONE, NOW) is None
        assert (await tickets.take(TWO, NOW)) == Credential("key", "b" * 16, "bob")

    run(story())


def test_a_ticket_ends_at_its_instant(sql: Ports) -> None:
    """Until then it is good; whoever comes too late has used it up."""

    async def story() -> None:
        tickets = SqlTickets(sql.database)
        await tickets.put(ONE, ALICE, SOON, NOW)
        await tickets.put(TWO, ALICE, SOON, NOW)
        assert await tickets.take(ONE, SOON - timedelta(microseconds=1)) == ALICE
        assert await tickets.take(TWO, SOON) is None
        assert await tickets.take(TWO, NOW) is None

    run(story())


def test_what_has_expired_is_forgotten(sql: Ports) -> None:
    """When another is made, at the latest."""

    async def story() -> None:
        tickets = SqlTickets(sql.database)
        await tickets.put(ONE, ALICE, SOON, NOW)
        await tickets.put(TWO, ALICE, SOON + timedelta(seconds=30), SOON)
        with sql.database.engine.connect() as connection:
            assert connection.execute(sa.select(t.ws_ticket.c.digest)).scalars().all() == [TWO]

    run(story())


def test_what_was_never_made_is_none(sql: Ports) -> None:
    """As what was used."""
    assert run(SqlTickets(sql.database).take(ONE, NOW)) is None
