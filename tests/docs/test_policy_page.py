"""`docs/policy.md` is held by tests: rules that parse, refusals that are told so, commands, addresses and settings."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from usher.cli import app
from usher.core.break_glass import BOX, LONGEST_BOX
from usher.core.policy_source import MAX_BESIDE, MAX_FILES, MAX_RULES
from usher.web import policy, policy_changes
from usher.web.policy_drafts import MAX_BODY
from usher.web.policy_token import PATIENCE
from usher_policy.cases import read_case
from usher_policy.conditions import REGISTRY, Context, parse_condition
from usher_policy.lint import MAX_RULES as MAX_RULES_IN_A_FILE
from usher_policy.lint import Finding, lint
from usher_policy.vocabulary import KINDS, MAX_NAME, RESERVED, SYSTEM_OBJECTS, Action, objects_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text("utf-8")
FILES = {
    "the same rule twice": "g, user:alice, role:hr\ng, user:alice, role:hr",
    "two roles that inherit from each other": "g, role:a, role:b\ng, role:b, role:a",
    "eleven roles in a row": "\n".join(f"g, role:r{n}, role:r{n + 1}" for n in range(11)),
    "`user:alice` and `user:a1ice`": "g, user:alice, role:hr\ng, user:a1ice, role:hr",
}
"""The files that the table of refusals describes, where it does not quote the line."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def table(head: str) -> list[list[str]]:
    """The rows of the table whose first cell is `head`."""
    _, _, rest = PAGE.partition(f"| {head} |")
    rows = re.match(r"(?:.*\n)\|.*\n((?:\|.*\n)+)", rest)
    assert rows is not None, head
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows[1].splitlines()]


def codes(text: str) -> list[str]:
    """What stands in a text as code: between backticks."""
    return re.findall(r"`([^`]+)`", text)


def fits(said: str, text: str) -> bool:
    """`…` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, said.split("…"))), text) is not None


@pytest.mark.parametrize("number", range(3))
def test_each_rule_file_is_sound(number: int) -> None:
    """Lint has nothing to say about the page's examples."""
    assert len(blocks("csv")) == 3
    assert lint(blocks("csv")[number]) == []


def test_each_refusal_is_told_in_these_words() -> None:
    """The line, the message and the remedy are lint's."""
    rows = table("a file with")
    assert len(rows) > 15
    for file, message, remedy in rows:
        found: list[Finding] = lint(FILES.get(file) or codes(file)[0])
        assert [one for one in found if fits(message, one.message) and fits(remedy, one.remedy)], (file, found)


def test_all_actions_names_and_conditions_are_there() -> None:
    """Each action with what it is about, each kind of name, each reserved character, each condition."""
    about = {action: tuple(codes(objects)) for actions, objects in table("action") for action in codes(actions)}
    assert about == {action.value: objects_of(action) for action in Action}
    kinds = table("kind")
    assert {codes(kind)[0] for kind, _ in kinds} == {f"{kind}:" for kind in KINDS}
    assert set(codes(kinds[-1][1])) == SYSTEM_OBJECTS
    assert set(codes(PAGE.partition("no quoting. In a name ")[2])[0].split()) == RESERVED
    conditions = [codes(row[0])[0] for row in table("condition")]
    assert {condition.partition(":")[0] for condition in conditions} == set(REGISTRY)
    for condition in conditions:
        parse_condition(condition).value(Context(datetime(2026, 1, 7, tzinfo=UTC)))


def test_each_case_and_job_can_be_read() -> None:
    """The cases are cases, and the job is YAML whose commands exist."""
    cases, job = blocks("yaml")
    assert len([read_case(case, "page") for case in yaml.safe_load(cases)]) == 2
    steps = yaml.safe_load(job)["jobs"]["policy"]["steps"]
    told = [step["run"] for step in steps if "run" in step]
    assert len(told) == 3
    for command in told:
        exists(command.partition(" >> ")[0])


def commands() -> Iterator[str]:
    """Every command that the page writes: inline, in its shell blocks, and in its table of steps."""
    yield from (line for block in blocks("sh") for line in block.splitlines())
    yield from (
        code for code in codes(re.sub(r"^```.*?^```", "", PAGE, flags=re.M | re.S)) if code.startswith("usher ")
    )
    for _, steps, _ in table("step"):
        first, *others = codes(steps)
        yield from [first, *(f"usher policy {other}" for other in others)]


@functools.cache
def program() -> Any:
    return typer.main.get_command(app)


def exists(command: str) -> None:
    """A command of the program, with options that it has."""
    words = command.split()
    assert words.pop(0) == "usher", command
    here: Any = program()
    while hasattr(here, "commands"):
        assert words[0] in here.commands, command
        here = here.commands[words.pop(0)]
    known = {name for parameter in here.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, command


def test_each_command_exists() -> None:
    """Also its options."""
    found = list(commands())
    assert len(found) > 20
    for command in found:
        exists(command)


def test_each_address_exists() -> None:
    """Under the method that the page gives; and no address of changes is left out."""
    served = {
        (method, path)
        for router in (policy.number, policy.router, policy_changes.router)
        for path, methods in router.route_handler_method_map.items()
        for method in methods
        if method != "OPTIONS"
    }
    written: set[tuple[str, str]] = set()
    for address, what in table("address"):
        method, _, path = codes(address)[0].partition(" ")
        path = re.sub(r"\?.*", "", path).replace("{version}", "{version:str}").replace("{changeset}", "{changeset:str}")
        written |= {(method, path)}
        written |= {(method, path.replace("approve", other)) for other in codes(what) if path.endswith("approve")}
    assert written == served


def test_each_bound_is_the_one_that_holds() -> None:
    """Sizes, numbers and times that the page gives."""
    assert f"at most {MAX_RULES >> 20} MiB and a million rules" in PAGE.replace("\n", " ")
    assert MAX_RULES_IN_A_FILE == 1_000_000
    assert f"together {MAX_BESIDE >> 20} MiB in {MAX_FILES} files" in PAGE.replace("\n", " ")
    assert f"at most {MAX_BODY >> 20} MiB: more is 413" in PAGE
    assert (PATIENCE, "up to five seconds" in PAGE) == (5.0, True)
    assert (timedelta(hours=1), timedelta(days=1)) == (BOX, LONGEST_BOX)
    assert "an hour if they say nothing, at most a day" in PAGE
    assert f"at most {MAX_NAME} characters" in PAGE


def test_each_setting_exists() -> None:
    """`USHER_…` as the settings or the commands read it."""
    code = "".join(path.read_text("utf-8") for path in (ROOT / "service" / "usher").glob("*.py"))
    known = {name.removeprefix("USHER_") for name in re.findall(r"USHER_[A-Z_]+", code)}
    known |= {name.upper() for name in re.findall(r"^    ([a-z_]+): ", code, re.MULTILINE)}
    assert set(re.findall(r"USHER_([A-Z_]+)", re.sub("secrets\\.\\w+", "", PAGE))) <= known
