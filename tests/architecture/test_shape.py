"""The shape of the house: small files, small functions, reasons beside exceptions from the rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("service", "policies", "adapters", "sample", "tests")
FILES = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py") if "migrations/versions" not in str(file))

MAX_FILE = 300
MAX_FUNCTION = 60
CONSTRAINT = re.compile(r"[a-z0-9][a-z0-9._-]*==[a-z0-9.!+]+", re.IGNORECASE)


def names(files: Iterator[tuple[Path, object]]) -> list[str]:
    return [f"{file.relative_to(ROOT)}: {what}" for file, what in files]


def lines() -> Iterator[tuple[Path, int, str]]:
    for file in FILES:
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            yield file, number, line


def test_no_file_is_long() -> None:
    """A file has at most 300 lines."""
    long = ((file, n) for file in FILES if (n := len(file.read_text("utf-8").splitlines())) > MAX_FILE)
    assert not names(long)


def test_no_function_is_long() -> None:
    """A function has at most 60 lines."""

    def found() -> Iterator[tuple[Path, str]]:
        for file in FILES:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = (node.end_lineno or 0) - node.lineno + 1
                    if length > MAX_FUNCTION:
                        yield file, f"{node.name} has {length} lines"

    assert not names(found())


def test_every_exception_from_a_rule_has_its_reason() -> None:
    """`noqa` and `type: ignore` name their codes; a reason follows, or is the comment on the line above."""
    bare = re.compile(r"#\s*(noqa|type: ignore)(?!(: [A-Z0-9, ]+|\[[a-z-, ]+\])\s*[-#(]\s*\S)")
    coded = re.compile(r"#\s*(noqa: [A-Z]|type: ignore\[)")

    def found() -> Iterator[tuple[Path, str]]:
        above = ""
        for file, number, line in lines():
            explained = above.lstrip().startswith("#") and coded.search(line)
            if bare.search(line) and not explained and file != Path(__file__):
                yield file, f"line {number}"
            above = line

    assert not names(found())


def test_nothing_is_left_to_do() -> None:
    """No file carries a note of unfinished work."""
    unfinished = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented" + r"Error)\b")
    assert not names((file, f"line {n}") for file, n, line in lines() if unfinished.search(line))


@pytest.mark.parametrize("word", ["tor" + "ch", "pe" + "ft"])
def test_the_service_trains_nothing(word: str) -> None:
    """No module of the service or of the policies imports a training library, lazily or not."""
    imports = re.compile(rf"^\s*(import|from) {word}\b")
    rooms = (ROOT / "service", ROOT / "policies")
    found = ((f, f"line {n}") for f, n, line in lines() if imports.match(line) and any(r in f.parents for r in rooms))
    assert not names(found)


def test_constraints_are_plain_pins() -> None:
    """`constraints.txt` names versions, and no place to get them from."""
    given = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert given
    assert not [line for line in given if not CONSTRAINT.fullmatch(line)]
    assert not [line for line in given if line.startswith(("torch", "usher"))]
