"""`usher audit prepare-database`."""

from __future__ import annotations

import json

import psycopg
import pytest
from tests.ledger.pg_kit import sql
from typer.testing import CliRunner

from usher.cli import app
from usher.errors import UserError

pytestmark = pytest.mark.slow


def prepare(url: str, role: str) -> str:
    done = CliRunner().invoke(app, ["audit", "prepare-database", "--owner-url", url, "--role", role, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_it_makes_the_tables_once_and_gives_the_role_its_rights(pg: str) -> None:
    """Run again it changes nothing, and says the same; the role may add an event and not remove it."""
    sql(pg, "DROP ROLE IF EXISTS recorder; CREATE ROLE recorder LOGIN")
    said = prepare(pg, "recorder")
    assert prepare(pg, "recorder") == said
    assert json.loads(said) == {"origin": sql(pg, "SELECT origin FROM log")[0][0], "role": "recorder"}
    recorder = pg.replace("usher@", "recorder@")
    sql(recorder, "INSERT INTO events VALUES (1, 'l', 'e')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        sql(recorder, "DELETE FROM events")
    sql(pg, "DROP OWNED BY recorder; DROP ROLE recorder")


@pytest.mark.parametrize(
    ("role", "problem"), [("usher", "could change the record"), ("nobody", "no such role"), ("a b", "no such role")]
)
def test_a_role_that_will_not_do_is_refused(pg: str, role: str, problem: str) -> None:
    """One that owns the tables, and one that is not there."""
    with pytest.raises(UserError, match=problem):
        prepare(pg, role)


def test_another_url_is_refused() -> None:
    """Before anything is tried."""
    with pytest.raises(UserError, match="postgresql://"):
        prepare("sqlite:///x", "usher")
