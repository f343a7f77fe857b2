"""A whole Usher over a ledger in PostgreSQL, and what `usher doctor` says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from tests.backends.sql.conversation_rows import exchange as row_of
from tests.graph_kit import lend
from tests.ledger.ledger_kit import event, exchange, opening, run
from tests.ledger.pg_kit import server_in, sql, verified

from usher import app_parts, doctor
from usher.app import open_services
from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_sql import SqlLog
from usher.backends.sql import Database, migrate
from usher.backends.sql_conversations import SqlConversations
from usher.errors import UserError
from usher.interrupted import end_interrupted
from usher.ledger.record import EventType, uuid7
from usher.settings import Settings, read_settings

pytestmark = pytest.mark.slow


def settings_of(folder: Path, url: str | None) -> Settings:
    return Settings(home=folder / "home", ledger_url=None if url is None else SecretStr(url))


def test_the_setting_chooses_the_storage(pg: str, tmp_path: Path) -> None:
    """PostgreSQL where it is named, else the file."""
    log = app_parts.open_log(settings_of(tmp_path, pg))
    assert isinstance(log, PgLog)
    log.close()
    assert isinstance(app_parts.open_log(settings_of(tmp_path, None)), SqlLog)


@pytest.mark.parametrize("url", ["sqlite:///secret", "mysql://usher:secret@x/y"])
def test_another_database_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Without quoting it: it may hold a password."""
    monkeypatch.setenv("USHER_LEDGER_URL", url)
    with pytest.raises(UserError, match="must begin with postgresql") as refused:
        read_settings()
    assert "secret" not in str(refused.value)


def test_a_lost_key_ring_is_not_replaced(pg: str, tmp_path: Path) -> None:
    """Once something is recorded in PostgreSQL no new ring is made in its place; doctor says so."""
    settings = settings_of(tmp_path, pg)
    settings.home.mkdir()
    app_parts.open_ring(settings).path.unlink()  # nothing is recorded: a new one is made
    (found,) = doctor._ledger(settings)
    assert (found.ok, found.detail) == (True, "in PostgreSQL, which answers; empty yet")

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            await exchange(ledger)

    run(story())
    (tmp_path / "home.keys").unlink()
    with pytest.raises(UserError, match="is missing"):
        app_parts.open_ring(settings)
    (found,) = doctor._ledger(settings)
    assert found.detail.endswith("begun")


def test_doctor_says_that_the_ledger_does_not_answer(tmp_path: Path) -> None:
    """With the remedy, and without the URL's password."""
    settings = settings_of(tmp_path, f"postgresql://usher:secret@/none?host={tmp_path}")
    (found,) = doctor._ledger(settings)
    assert not found.ok
    assert "secret" not in found.detail
    assert "USHER_LEDGER_URL" in found.remedy


def test_nothing_is_read_where_the_tables_are_gone(pg: str, tmp_path: Path) -> None:
    """An empty database is one where nothing was recorded."""

    async def story() -> None:
        async with server_in(tmp_path, pg):
            pass

    run(story())
    sql(pg, "DROP SCHEMA usher_ledger CASCADE")
    (found,) = doctor._ledger(settings_of(tmp_path, pg))
    assert found.detail.endswith("empty yet")


@pytest.mark.crash  # two embedders: seconds of work, not of waiting
def test_two_servers_start_and_stop_on_one_ledger(graph: Path, pg: str, tmp_path: Path) -> None:
    """Each records what it does at its start; the checkpoint that each keeps is one of the shared log's."""
    (tmp_path / "policy.csv").write_text("p, role:staff, sys:chat, chat.ask, allow, always\n")

    def settings(name: str) -> Settings:
        lend(graph, tmp_path / name)
        given = {"home": tmp_path / name, "policy": tmp_path / "policy.csv", "keyring": tmp_path / "home.keys"}
        return read_settings(ledger_url=pg, **given)

    async def story() -> None:
        async with open_services(settings("one")) as one, open_services(settings("two")) as two:
            assert (await two.ready())["ledger"] == (await one.ready())["ledger"] == "ok"

    run(story())
    types = [json.loads(event)["type"] for (event,) in sql(pg, "SELECT event FROM events ORDER BY number")]
    assert types.count("policy") == 2
    kept = (tmp_path / "home.keys.checkpoint").read_text()
    assert kept in {note for (note,) in sql(pg, "SELECT note FROM checkpoints")}
    assert verified(pg, tmp_path).problems == ()


def test_only_what_no_server_answers_is_said_to_be_interrupted(pg: str, tmp_path: Path) -> None:
    """A server that starts, and one that runs on, leave alone what another one is answering; what a lost one left is
    said once the ledger has ended it."""
    database = Database(f"sqlite:///{tmp_path / 'usher.sqlite'}")
    migrate(database)
    index = SqlConversations(database)

    async def story() -> None:
        async with server_in(tmp_path, pg) as ledger:
            flowing, lost = uuid7(), uuid7()
            await ledger.append(opening(flowing))
            for ident in (flowing, lost):
                assert await index.begin("alice", replace(row_of(uuid4()), id=UUID(ident)), None)
            log = PgLog(pg)
            assert await end_interrupted(index, log) == 1
            assert {str(row.id): row.outcome for row in await index.newest("alice", 9)} == {
                flowing: None,
                lost: "interrupted",
            }
            await ledger.append([event(EventType.ANSWER, flowing, outcome="interrupted")])
            assert await end_interrupted(index, log) == 1
            assert await end_interrupted(index, log) == 0
            log.close()

    run(story())
    database.close()
