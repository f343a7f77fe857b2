"""`docs/replicas.md` is held by tests: what it names exists, and each fault has its tests."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from tests.docs.test_faults import functions_in

from usher.backends import sql, sql_turn, store_socket, store_socket_server
from usher.backends.sql_listen import CHANNEL
from usher.cli import app
from usher.settings import Settings, variable
from usher.watch import EVERY
from usher.web import policy_token

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "replicas.md").read_text()
PLACES = ("replicas", "backends", "backends/sql", "web")


def test_the_settings_and_commands_that_it_names_exist() -> None:
    """Every variable is a setting, every `usher` command is one."""
    named = set(re.findall(r"USHER_[A-Z_]+", PAGE))
    assert {"USHER_QDRANT_URL", "USHER_KEYRING"} <= named
    assert named <= {variable(field) for field in Settings.model_fields}
    commands = set(re.findall(r"(?:`|^|\s)usher (\w+)", PAGE)) - {"and"}
    assert {"store", "serve", "init"} <= commands
    assert commands <= set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # it is a group


def test_the_bounds_that_it_names_are_those_of_the_code() -> None:
    """In its own words."""
    assert f"at most {store_socket.LONGEST >> 20} MiB and one server at most {store_socket_server.OUTSTANDING}" in PAGE
    assert f"every {EVERY * 1000:.0f} ms" in PAGE
    assert f"silent | as above, after {sql.ANSWERS_WITHIN:.0f} seconds" in PAGE
    assert f"told after {sql_turn.PATIENCE:.0f} seconds" in PAGE
    assert f"answered 503 after {policy_token.PATIENCE:.0f} seconds" in PAGE
    assert policy_token.HEADER in PAGE
    assert CHANNEL == "usher_revision", "what database administrators see in pg_stat_activity"


def test_each_fault_names_tests_that_exist() -> None:
    """Fault, what people see, what it does, and tests; each test of several servers stands there."""
    rows = [line for line in PAGE.partition("## When something fails")[2].splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 7
    tests = {row: re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1]) for row in rows}
    assert all(tests.values())
    named = {name for some in tests.values() for name in some}
    assert named <= functions_in(*(file for place in PLACES for file in (TESTS / place).glob("test_*.py")))
    assert functions_in(*(TESTS / "replicas").glob("test_*.py")) - named == {"test_a_change_on_one_server_binds_on_all"}
