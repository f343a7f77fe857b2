"""Imports point one way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_import_contracts_hold() -> None:
    """`lint-imports` keeps every contract of `.importlinter`."""
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
@pytest.mark.parametrize("heavy", ["qdrant_client", "qdrant_edge", "markitdown", "onnxruntime", "litestar", "uvicorn"])
def test_help_loads_nothing_heavy(heavy: str) -> None:
    """The command line alone imports no server, store, converter or model."""
    asked = f"import sys, usher.cli; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], cwd=ROOT).returncode == 0
