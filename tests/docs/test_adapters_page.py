"""docs/adapters.md names what exists."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from usher.cli import app
from usher.core import routing
from usher.core.routing import Rule
from usher.core.routing_yaml import parse_rules
from usher_lora.gates import Bounds
from usher_lora.gates_yaml import parse_gates
from usher_lora.yaml_nodes import BadYaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text("utf-8")


def test_each_command_exists() -> None:
    """With the options that are written there."""
    lines = re.findall(r"^\$ usher (.*)$", PAGE, re.MULTILINE)
    assert len(lines) > 5
    for line in lines:
        words = line.split()
        shown = CliRunner().invoke(app, [*words[:2], "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, line
        for option in (word for word in words if word.startswith("--")):
            assert option in shown.output, line


def rows(header: str) -> list[list[str]]:
    """The cells of the table with this first column, without their backticks."""
    table = PAGE.partition(f"| {header} |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]


def test_the_rules_of_the_page_are_read() -> None:
    """And each key of a rule is told, and no other."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert [rule.name for rule in parse_rules(text)] == ["news", "help", "rest"]
    assert {key for key, _ in rows("key")} == {one.name for one in fields(Rule)}


def test_each_reason_of_a_route_is_told() -> None:
    """As the record has it."""
    constants = {name: value for name, value in vars(routing).items() if name.isupper() and isinstance(value, str)}
    assert {reason for reason, _ in rows("reason")} == set(constants.values())


def test_each_bound_of_the_gate_is_told() -> None:
    """With its default, and what is taken at most."""
    told = rows("section")
    assert len(told) == len(msgspec.structs.fields(Bounds))
    for section, key, default, least, most, _ in told:
        assert parse_gates(f"{section}: {{{key}: {default}}}") == Bounds()
        for end, beyond in ((least, -1), (most, 1)):
            parse_gates(f"{section}: {{{key}: {end}}}")
            with pytest.raises(BadYaml):
                parse_gates(f"{section}: {{{key}: {float(end) + beyond:g}}}")


def test_each_file_exists() -> None:
    """Also those that links lead to."""
    for name in re.findall(r"`((?:adapters|deploy)/[^`]+)`", PAGE):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / "docs" / name).exists(), name
