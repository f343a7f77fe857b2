"""`docs/faults.md` is held by tests: each line names some that exist, and each test of a fault stands in a line."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
COLUMNS = 5
PARTS = ("ledger", "crash", "ingest", "web")


def lines() -> list[list[str]]:
    """The cells of each line of the page's tables, without heads and rules."""
    rows = [line.strip("|").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not row[0].strip().startswith(("Fault", "---"))]


def functions_in(*files: Path) -> set[str]:
    return {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}


def named() -> set[str]:
    return {name for row in lines() for name in re.findall(r"`(test_\w+)`", row[-1])}


def test_each_line_says_all_and_names_tests_that_exist() -> None:
    """Fault, what people see, what is recorded, remedy, and tests."""
    assert len(lines()) > 15
    for row in lines():
        assert len(row) == COLUMNS, row
        assert all(row), row
        assert re.search(r"`test_\w+`", row[-1]), row
    assert named() <= functions_in(*(file for part in PARTS for file in (TESTS / part).glob("test_*.py")))


def test_each_test_of_a_fault_stands_in_a_line() -> None:
    """Whoever adds a fault says what comes of it."""
    faults = {*(TESTS / "ledger").glob("test_ledger_faults*.py"), *(TESTS / "crash").glob("test_*.py")}
    assert functions_in(*faults) - named() == set()
