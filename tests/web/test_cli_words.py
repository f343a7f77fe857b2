"""What the command line makes of its arguments, and what it prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from usher.cli import app, main
from usher.cli_output import clean, counts
from usher.cli_people import expiry
from usher.cli_road import refused
from usher.cli_system import first_rules
from usher.errors import UserError

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)

COMMANDS = (
    *("init", "serve", "doctor", "ingest", "ask", "search"),
    *("person add", "person groups", "person deactivate", "person list"),
    *("key create", "key list", "key revoke"),
    *("policy check", "policy apply", "policy explain"),
    "route explain",
    *("policy who", "policy what", "policy matrix", "policy replay"),
    *(
        "adapter register",
        "adapter list",
        "adapter show",
        "adapter gate",
        "adapter approve",
        "adapter publish",
        "adapter retire",
    ),
    *("adapter plan", "adapter dataset", "adapter train", "adapter retrieval", "adapter evaluate"),
    *("adapter quarantine", "adapter reopen", "adapter check", "adapter servers", "adapter serve-config"),
    *("audit verify", "audit events", "audit proof", "audit consistency", "audit check-proof"),
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_json(command: str) -> None:
    """Each command has help, and `--json`."""
    shown = run(*command.split(), "--help")
    assert shown.exit_code == 0
    assert "--json" in shown.output


@pytest.mark.parametrize(
    "arguments", [["fly"], ["key", "create"], ["serve", "--port", "70000"], ["search", "x", "-k", "0"]]
)
def test_bad_usage_is_two(arguments: list[str]) -> None:
    """An unknown command, a missing argument and a value out of range end with 2."""
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("given", "instant"),
    [
        (None, None),
        ("90m", NOW + timedelta(minutes=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("30d", NOW + timedelta(days=30)),
        ("2030-01-31", datetime(2030, 1, 31, tzinfo=UTC)),
        ("2030-01-31T09:00+02:00", datetime(2030, 1, 31, 7, tzinfo=UTC)),
    ],
)
def test_an_expiry_is_an_age_or_a_date(given: str | None, instant: datetime | None) -> None:
    """Ages count from now; a date without a zone is UTC."""
    assert expiry(given, NOW) == instant


@pytest.mark.parametrize("given", ["soon", "", "30", "-1d", "9999999d", "2030-13-01"])
def test_another_expiry_is_refused(given: str) -> None:
    """What is neither is an error with the remedy, and so is an age beyond the calendar."""
    with pytest.raises(UserError, match="30d"):
        expiry(given, NOW)


def test_text_cannot_steer_the_terminal() -> None:
    """Escape sequences, carriage returns and direction marks go; letters of every script and lines stay."""
    assert clean("a\x1b[2Jb\rc\x9bd\u202ee\nf\tg é \u200d می‌خواهم") == "a[2Jbcde\nf\tg é \u200d می‌خواهم"


def test_a_report_in_words() -> None:
    """Whole numbers are told with their names; zeros, lists and flags are not."""
    assert counts({"added": 2, "not_seen": 1, "deleted": 0, "refused": [1], "ok": True}) == "2 added, 1 not seen"
    assert counts({"added": 0}) == "nothing to do"


def test_the_first_policy_is_sound() -> None:
    """It passes lint, and two admins approve each other's changes."""
    from usher_policy.catalog import Catalog
    from usher_policy.compile import compile_snapshot
    from usher_policy.conditions import Context
    from usher_policy.decide import may
    from usher_policy.lint import lint
    from usher_policy.rules import parse_rules
    from usher_policy.vocabulary import Action, Principal

    rules = first_rules(["alice", "user:bob"])
    assert [finding for finding in lint(rules) if finding.severity == "error"] == []
    snapshot = compile_snapshot(1, parse_rules(rules), Catalog())
    allowed = [
        may(snapshot, Principal(f"user:{name}", frozenset()), "sys:policy", Action.POLICY_APPROVE, Context(NOW)).allowed
        for name in ("alice", "bob", "eve")
    ]
    assert allowed == [True, True, False]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"title": "Bad Request", "detail": "k is 0: give 1 to 100"}', "k is 0: give 1 to 100"),
        (b'{"error": {"message": "no such model", "type": "t", "code": "c"}}', "no such model"),
        (b"<html>", "cannot be read"),
    ],
)
def test_a_refusal_is_told_in_its_words(content: bytes, said: str) -> None:
    """Problems, errors in OpenAI's shape and anything else become one message."""
    assert said in str(refused(content))


@pytest.mark.parametrize(("arguments", "code"), [(["usher", "ask", "why"], 2), (["usher", "init", "--json"], 2)])
def test_what_is_missing_is_named(
    arguments: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a key, or without admins, nothing is opened; the message has the remedy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == code
    assert '"remedy"' in printed.out if "--json" in arguments else "usher key create" in printed.err
    assert not list(tmp_path.iterdir())
