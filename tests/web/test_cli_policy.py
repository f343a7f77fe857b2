"""`usher policy …` by command: as a person, as a job, and as the operator; its exit codes, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from tests.web.cli_kit import road_to
from tests.web.policy_kit import NARROWER, RULES, SOURCE, WIDER, company
from tests.web.world import World
from typer.testing import CliRunner, Result

from usher import cli, cli_road
from usher.backends.policy_files import write_source
from usher.cli_road import Refused
from usher.core.policy_source import PolicySource
from usher.errors import UserError

Run = Callable[..., Result]
policy = cli.cli_policy.policy  # with all the commands that the program gives it
GAIN = RULES + WIDER + "\n"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with company(tmp_path_factory.mktemp("cli")) as made:
        yield made


@pytest.fixture(scope="module")
def operators(usher: World) -> Litestar:
    return usher.operator_app()


@pytest.fixture
def command(usher: World, operators: Litestar, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line; its road leads to the world's operator app. `key`: as whom."""

    def command(*words: str, key: str | None = None) -> Result:
        given = [] if key is None else ["--key", usher.keys[key]]
        return CliRunner().invoke(policy, [*words, *given])

    monkeypatch.delenv("USHER_KEY", raising=False)
    monkeypatch.setattr(cli_road, "road", road_to(operators))
    monkeypatch.setattr(cli_road, "run", usher.run)
    return command


def shown(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])  # the log may come before it
    return found


def folder(tmp_path: Path, rules: str = RULES, **more: dict[str, str]) -> str:
    """A policy as a folder."""
    path = tmp_path / "policy"
    write_source(
        path, PolicySource(rules, **({"documents": SOURCE.documents, "cases": SOURCE.cases} | more)), over=True
    )
    return str(path)


def test_what_is_exported_is_what_was_applied(command: Run, tmp_path: Path) -> None:
    """File, store, file: the same bytes, comments, documents and cases too; applying it again is nothing to do."""
    given = folder(tmp_path, RULES.replace("\n", "  \n", 1) + "\n# The end, without a line feed: ü")
    first = command("apply", given, key="dave")
    assert (first.exit_code, " is in force" in first.output) == (0, True)
    said = command("export", str(tmp_path / "out"), key="dave")
    assert (said.exit_code, "cases/people.yaml" in said.output) == (0, True)
    for file in ("policy.csv", "links.yaml", "cases/people.yaml"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "policy" / file).read_bytes()
    assert "nothing to do" in command("apply", str(tmp_path / "out"), key="dave").output
    assert shown(command("apply", given, "--json", key="dave"))["nothing_to_do"] is True
    assert shown(command("plan", given, "--json"))["diff"]["added"] == []
    assert isinstance(command("export", str(tmp_path / "out"), key="dave").exception, UserError)


def test_a_job_waits_for_somebody_else(command: Run, tmp_path: Path) -> None:
    """Exit code 1 and the id, until the other has approved what it would do; then the same job brings it into force."""
    given = folder(tmp_path, GAIN)
    planned = command("plan", given, key="dave")
    assert planned.exit_code == 0
    assert "`bob` gains `finance` (1 document)" in planned.output
    assert "It takes the approval of somebody else." in planned.output
    waits = command("apply", given, "--comment", "build 7", key="dave")
    assert waits.exit_code == 1
    listed = shown(command("changesets", "--json", key="alice"))["changesets"][0]
    assert (listed["comment"], listed["state"]) == ("build 7", "open")
    assert f"usher policy approve {listed['id']} --digest {listed['digest']}" in waits.output
    assert shown(command("apply", given, "--json", key="dave"), 1)["id"] == listed["id"]
    said = command("approve", listed["id"], "--digest", listed["digest"], key="alice")
    assert f"usher policy activate {listed['id']}" in said.output
    done = shown(command("apply", given, "--json", key="dave"))
    assert (done["id"], done["state"]) == (listed["id"], "carried_out")
    back = shown(command("rollback", str(done["version"] - 1), "--json", key="dave"))
    assert back["version"] == done["version"] + 1


def test_a_plan_for_machines_and_for_a_comment(command: Run, tmp_path: Path) -> None:
    """JSON with the same fields as over HTTP; Markdown with the rules as a difference; and who gains, alone."""
    given = folder(tmp_path, GAIN)
    plan = shown(command("plan", given, "--json", key="dave"))
    assert (plan["needs_approval"], plan["gains"]) == (True, ["user:bob: document.read on coll:finance"])
    text = command("plan", given, "--markdown", key="dave").output
    assert f"```diff\n+ {WIDER}\n```" in text
    assert plan["digest"] in text
    for form in ([], ["--markdown"]):
        assert "`bob` gains `finance`" in command("impact", given, *form, key="dave").output
    assert shown(command("impact", given, "--json"))["impact"]["gaining"] == 1


def test_what_the_operator_drafts_is_said_to_wait_for_somebody(command: Run) -> None:
    """Also where nobody gains: there are people who can approve."""
    drafted = command("edit", "--remove", NARROWER)
    assert "as the operator's it always waits for somebody else" in drafted.output
    ident = shown(command("changesets", "--json"))["changesets"][0]["id"]
    assert "waits for the approval" in str(command("activate", ident).exception)
    command("withdraw", ident)


@pytest.mark.parametrize(
    ("rules", "more", "said"),
    [
        ("p, role:hr\n", {}, "error, line 1: a p line has 5 values"),
        (RULES.replace("p, role:finance, coll:finance", "p, role:finance, coll:sales"), {}, "people.yaml case 1"),
        (RULES, {"documents": {"links.yaml": "hosts: 7"}}, "links.yaml"),
        (RULES.replace("g, user:alice, role:keeper\n", ""), {}, "refused: it leaves fewer than two people"),
    ],
)
def test_what_stands_in_the_way_is_exit_code_one(
    command: Run, tmp_path: Path, rules: str, more: dict[str, dict[str, str]], said: str
) -> None:
    """Said in the plan, also as a comment; and it is not applied, nor kept."""
    given = folder(tmp_path, rules, **more)
    for form in ([], ["--markdown"]):
        planned = command("plan", given, *form, key="dave")
        assert planned.exit_code == 1
        assert said.split(": ")[0] in planned.output
    assert said in command("plan", given, key="dave").output
    assert isinstance(command("apply", given, key="dave").exception, Refused)


def test_bad_usage_is_told_before_anything_is_asked(command: Run, tmp_path: Path) -> None:
    """A folder without a rule file, options that do not go together, a server that would get the key in the clear."""
    (tmp_path / "empty").mkdir()
    given = folder(tmp_path)
    for words in (
        ("plan", str(tmp_path / "empty")),
        ("apply", str(tmp_path / "nowhere")),
        ("impact", "./nowhere"),
        ("apply", given, "--break-glass"),
        ("apply", given, "--reason", "x"),
        ("apply", given, "--minutes", "5"),
        ("plan", given, "--server", "http://usher.example.com"),
        ("plan", given, "--server", "usher.example.com"),
    ):
        assert isinstance(command(*words, key="dave").exception, UserError), words
    assert isinstance(command("approve", "x", "--digest", "y").exception, UserError)
    assert command("apply", given, "--break-glass", "--reason", "x", "--minutes", "0").exit_code == 2
    assert command("approve", "x").exit_code == 2


def test_lines_are_drafted_looked_at_and_decided(command: Run) -> None:
    """Each step says the next one."""
    drafted = command("edit", "--add", WIDER, "--remove", NARROWER, "--comment", "swap", key="alice")
    assert drafted.exit_code == 0
    for line in (f"- {NARROWER}", f"+ {WIDER}", "`bob` gains", "`carol` loses"):
        assert line in drafted.output
    ident = shown(command("changesets", "--limit", "1", "--json", key="dave"))["changesets"][0]["id"]
    assert f"usher policy approve {ident}" in command("show", ident, key="dave").output
    assert shown(command("show", ident, "--json", key="dave"))["changeset"]["comment"] == "swap"
    assert "refused" in command("refuse", ident, key="dave").output
    less = shown(command("edit", "--remove", NARROWER, "--json", key="alice"))["changeset"]["id"]
    assert "nobody gains" in command("show", less, key="dave").output
    assert "is in force" in command("activate", less, key="alice").output
    assert "swap" in command("changesets", key="dave").output
    more = shown(command("edit", "--add", NARROWER, "--json", key="alice"))["changeset"]
    assert "withdrawn" in command("withdraw", more["id"], key="alice").output
    waits = command("rollback", str(more["base"] - 1), key="alice")
    assert (waits.exit_code, "usher policy approve" in waits.output) == (1, True)
    assert f"- {NARROWER}" in command("diff", str(more["base"] - 1), key="dave").output
    assert f"+ {NARROWER}" in command("diff", str(more["base"]), str(more["base"] - 1)).output
    assert "no rule" in command("diff", "2", "2", key="dave").output
    assert "in force" in command("versions", key="dave").output


def test_the_operator_breaks_the_glass_once_others_may_approve(command: Run, tmp_path: Path) -> None:
    """Directly it is refused, and told how; alone, it is in force for a time, and waits for its review."""
    given = folder(tmp_path, GAIN + "g, user:erin, role:finance\n")
    refused = command("apply", given).exception
    assert isinstance(refused, Refused)
    assert "--break-glass" in str(refused)
    done = shown(command("apply", given, "--break-glass", "--reason", "Fire.", "--minutes", "5", "--json"))
    assert done["version"] == done["policy_version"]
    alone = shown(command("changesets", "--limit", "1", "--json", key="dave"))["changesets"][0]
    assert (alone["state"], alone["comment"]) == ("unreviewed", "Fire.")
    assert "still open" in str(command("close-review", alone["id"], key="dave").exception)


def test_a_person_breaks_the_glass(command: Run, tmp_path: Path) -> None:
    """What is printed says how the review is closed; the operator cannot close it."""
    given = folder(tmp_path, GAIN + "g, user:erin, role:board\n")
    said = command("apply", given, "--break-glass", "--reason", "Flood.", key="dave")
    assert said.exit_code == 0
    assert "usher policy close-review" in said.output
    assert isinstance(command("close-review", "x").exception, UserError)


@pytest.mark.loopback
def test_a_server_that_is_not_there_is_told(command: Run, tmp_path: Path) -> None:
    """By its address, in words."""
    refused = command("plan", folder(tmp_path), "--server", "https://127.0.0.1:1", key="dave").exception
    assert isinstance(refused, Refused)
    assert "https://127.0.0.1:1 does not answer" in str(refused)
