"""A ledger in PostgreSQL is verified as one in a file is: what is found in it, and what the verifier cannot do."""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import psycopg
import pytest
from tests.ledger.ledger_kit import exchange, ring_in, run, search
from tests.ledger.pg_kit import WAIT, server_in, sql, waiting
from typer.testing import CliRunner

from usher.cli import app
from usher.ledger.verify import Means, Verdict, postgresql, verify_opened
from usher.ledger.verify.source import Unreadable

pytestmark = pytest.mark.slow


@pytest.fixture
def held(pg: str, tmp_path: Path) -> str:
    """The checkpoint over an exchange and a search, eight events, after which five more come."""

    async def story() -> str:
        async with server_in(tmp_path, pg) as ledger:
            await exchange(ledger)
            await search(ledger)
            note = await ledger.checkpoint()
            await exchange(ledger, "bob")
            return note

    return run(story())


def verdict_of(url: str, folder: Path, held: str | None = None) -> Verdict:
    return verify_opened(partial(postgresql.opened, url), Means(ring_in(folder), held=held))


CHANGES = [
    ("UPDATE events SET event = set_byte(event, 40, 0) WHERE number = 3", 3),
    ("UPDATE events SET leaf = set_byte(leaf, 4, get_byte(leaf, 4) # 1) WHERE number = 4", 4),
    ("DELETE FROM events WHERE number = 6", 6),
    ("DELETE FROM events WHERE number > 7", 8),
    ("UPDATE events SET number = -1 WHERE number = 2; UPDATE events SET number = 2 WHERE number = 5", 1),
    ("INSERT INTO events SELECT 14, leaf, event FROM events WHERE number = 13", 14),
    ("UPDATE content SET ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)", 5),
    ("DELETE FROM content WHERE position = 1", 5),
    ("UPDATE tree SET edge = set_byte(edge, 0, get_byte(edge, 0) # 1)", None),
    ("UPDATE checkpoints SET note = replace(note, '8', '9') WHERE size = 8", None),
    ("DELETE FROM checkpoints WHERE size = 8", None),
    ("INSERT INTO open_exchanges VALUES ('x', 3, 1)", None),
    ("DELETE FROM subjects WHERE pseudonym = (SELECT min(pseudonym) FROM content)", ...),
    ("UPDATE layout SET format = 9", 1),
    ("DROP TABLE content", ...),
    ("DROP TABLE layout", 1),
]


def test_what_a_database_administrator_changes_is_found(pg: str, tmp_path: Path, held: str) -> None:
    """With the held checkpoint and the ring, at its event where it is one."""
    before = verdict_of(pg, tmp_path, held)
    assert (before.ok, before.size) == (True, 13), before.problems
    assert [trust.events for trust in before.trusted] == [8, 13, 13]
    for statement, number in CHANGES:
        with psycopg.connect(pg) as connection:
            connection.execute(f"SET LOCAL search_path = pg_catalog, usher_ledger; {statement}")
            source = postgresql.PgSource(connection)
            verdict = verify_opened(lambda source=source: nullcontext(source), Means(ring_in(tmp_path), held=held))  # type: ignore[misc]  # bound
            connection.rollback()
        assert not verdict.ok, statement
        assert number is ... or verdict.first_bad == number, (statement, verdict.problems)


def test_what_waits_for_its_number_is_counted_and_no_fault(pg: str, tmp_path: Path, held: str) -> None:
    """Acknowledged and with its content there, but not in the tree yet; a waiting row that is no event is a fault."""
    part = json.dumps({"type": "request", "audit_id": "waiting", "who": None, "operation": "chat"})
    for place, row in enumerate((part.encode(), None), 1):
        sql(pg, WAIT, *waiting(pg, tmp_path, row, place))
    values = "position, kind, conversation, pseudonym, commitment, ciphertext"
    sql(pg, f"INSERT INTO content SELECT 'waiting', {values} FROM content WHERE position = 0 LIMIT 1")  # noqa: S608  # a test's own
    verdict = verdict_of(pg, tmp_path, held)
    assert (verdict.ok, verdict.pending, verdict.size) == (True, 1, 13), verdict.problems
    sql(pg, "UPDATE pending SET part = 'no event'")
    assert not verdict_of(pg, tmp_path, held).ok


def test_the_verifier_cannot_write(pg: str, held: str) -> None:
    """Its transaction is one that only reads, whatever its role may do."""
    with postgresql.opened(pg) as source, pytest.raises(Unreadable, match="read-only"):
        next(source.rows("SELECT setval(pg_get_serial_sequence('usher_ledger.checkpoints', 'id'), 99)"))


def test_a_database_that_cannot_be_read_is_a_verdict(pg: str, tmp_path: Path, held: str) -> None:
    """One that is not there, without a ledger, or whose server ends the connection."""
    nowhere = verdict_of(f"postgresql://usher@/nowhere?host={tmp_path}", tmp_path)
    assert (nowhere.ok, nowhere.first_bad, nowhere.size) == (False, 1, 0)
    sql(pg, "ALTER SCHEMA usher_ledger RENAME TO other")
    assert (verdict_of(pg, tmp_path).ok, verdict_of(pg, tmp_path).size) == (False, 0)
    sql(pg, "ALTER SCHEMA other RENAME TO usher_ledger")

    def ended(done: int, total: int) -> None:
        sql(pg, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")

    means = Means(ring_in(tmp_path), progress=ended)
    verdict = verify_opened(partial(postgresql.opened, pg), means)
    assert not verdict.ok
    assert verdict.size == 13


def test_the_command_takes_a_url(pg: str, tmp_path: Path, held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an argument or as the setting; with --resume it goes on."""
    monkeypatch.setenv("USHER_HOME", str(tmp_path / "home"))
    (tmp_path / "held").write_text(held)
    words = ["audit", "verify", "--json", "--checkpoint", str(tmp_path / "held"), "--resume", str(tmp_path / "state")]
    told = json.loads(CliRunner().invoke(app, [*words, pg]).stdout)
    assert (told["ok"], told["size"], told["content"], told["resumed_from"]) == (True, 13, "checked", 0)
    monkeypatch.setenv("USHER_LEDGER_URL", pg)
    told = json.loads(CliRunner().invoke(app, words).stdout)
    assert (told["ok"], told["size"], told["resumed_from"]) == (True, 13, 13)
    sql(pg, "DELETE FROM events WHERE number = 9")
    found = CliRunner().invoke(app, words[:-2])
    told = json.loads(found.stdout)
    assert (found.exit_code, told["first_bad"], told["trusted"][0]["events"]) == (1, 9, 8)
