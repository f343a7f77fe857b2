"""`docs/road.md` names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_file_of_the_road_exists() -> None:
    """Below the service's folder, or the repository's."""
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs" / "road.md").read_text("utf-8"))
    bases = (ROOT, ROOT / "service" / "usher", ROOT / "service" / "usher" / "backends")
    assert len(named) > 15
    assert [name for name in named if not any((base / name).is_file() for base in bases)] == []
