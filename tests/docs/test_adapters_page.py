"""docs/adapters.md names what exists."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from usher.cli import app

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


def test_each_file_exists() -> None:
    """Also those that links lead to."""
    for name in re.findall(r"`((?:adapters|deploy)/[^`]+)`", PAGE):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (ROOT / "docs" / name).exists(), name
