"""What one ledger for several servers refuses: changes by a server's role, another key ring, a changed end."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from tests.ledger.ledger_kit import exchange, ring_in, run
from tests.ledger.pg_kit import server_in, sql, verified

from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_pg_tables import prepare
from usher.ledger.log import LedgerDamaged, LogFailed
from usher.ledger.record import Entry, EventType, is_dropped
from usher.ledger.sequencer import Ledger

pytestmark = pytest.mark.slow
NOTE = [Entry(EventType.OPERATOR)]


CHANGES = [
    "UPDATE events SET event = ''",
    "DELETE FROM events",
    "TRUNCATE events",
    "UPDATE checkpoints SET note = ''",
    "DELETE FROM checkpoints",
    "UPDATE log SET origin = ''",
]


def test_a_server_s_role_adds_to_the_record_and_cannot_change_it(pg: str, tmp_path: Path) -> None:
    """PostgreSQL refuses it to update, delete or truncate; all that a server does it may do."""
    server = role(pg)

    async def story() -> None:
        async with server_in(tmp_path, server) as ledger:
            ident = await exchange(ledger)
            gone = [Entry(EventType.RETENTION, body={"exchanges": [ident]})]
            await ledger.append(gone, dropped=[(ident, 0), (ident, 1)])
            alice = await ledger.subject("alice")
            await ledger.append(NOTE, rewrapped=[(alice.pseudonym, b"wrapped anew")])

    run(story())
    for statement in CHANGES:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sql(server, statement)
    assert all(is_dropped(ciphertext) for (ciphertext,) in sql(pg, "SELECT ciphertext FROM content"))
    assert sql(pg, "SELECT wrapped_key FROM subjects") == [(b"wrapped anew",)]
    assert verified(pg, tmp_path).first_bad is None


def role(url: str) -> str:
    """The URL of a role of a server's, in a ledger that its owner prepared."""
    with psycopg.connect(url, autocommit=True) as owner:
        if owner.execute("SELECT FROM pg_roles WHERE rolname = 'server'").fetchone() is None:
            owner.execute("CREATE ROLE server LOGIN")
        prepare(owner, "server")
    return url.replace("usher@", "server@")


def test_a_role_that_may_make_no_tables_says_what_to_do(pg: str, tmp_path: Path) -> None:
    """A server that comes before its owner's preparation does not start, and names the command."""
    role(pg)
    sql(pg, "DROP SCHEMA usher_ledger CASCADE")

    async def story() -> None:
        with pytest.raises(LogFailed, match="prepare-database"):
            await Ledger.open(PgLog(pg.replace("usher@", "server@")), ring_in(tmp_path))

    run(story())


def test_another_key_ring_is_refused(pg: str, tmp_path: Path) -> None:
    """A server with another ring neither leads nor appends, also beside one with the right one."""
    other = tmp_path / "other"
    other.mkdir()

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await ledger.append(NOTE)
            await ledger.checkpoint()
            with pytest.raises(LedgerDamaged, match="this key ring"):
                await Ledger.open(PgLog(pg), ring_in(other))
        with pytest.raises(LedgerDamaged, match="key"):
            await Ledger.open(PgLog(pg), ring_in(other))

    run(story())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET event = replace(encode(event, 'escape'), 'operator', 'operatox')::bytea WHERE number = 3",
        "DELETE FROM events WHERE number > 3; UPDATE tree SET size = 3",
        "UPDATE tree SET mac = 'x'",
        "UPDATE checkpoints SET note = replace(note, E'\\n5\\n', E'\\n4\\n') WHERE size = 5",
    ],
)
def test_a_changed_end_is_not_written_on(pg: str, tmp_path: Path, statement: str) -> None:
    """Whoever would lead checks the log's end, and refuses one that contradicts itself."""

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await ledger.append(NOTE * 5)
        sql(pg, statement)
        with pytest.raises(LedgerDamaged, match="audit verify"):
            await Ledger.open(PgLog(pg), ring_in(tmp_path))

    run(story())


def test_a_newer_format_is_refused(pg: str, tmp_path: Path) -> None:
    """Tables of a newer release are not touched."""

    async def story() -> None:
        async with server_in(tmp_path, pg):
            pass
        sql(pg, "UPDATE layout SET format = 99")
        with pytest.raises(LedgerDamaged, match="newer version"):
            await Ledger.open(PgLog(pg), ring_in(tmp_path))

    run(story())
