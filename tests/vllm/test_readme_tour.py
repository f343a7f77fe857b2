"""The README's tour of adapters runs as it stands there, with a real vLLM and a training on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.tour_kit import commands, free_port, ran

SECONDS = 480
"""Within which all of it is done, also on a machine that has other work."""


@pytest.mark.loopback
def test_the_tour_prints_what_the_readme_says(tmp_path: Path) -> None:
    """From documents to an answer by the adapter for one person and by retrieval for another, until the policy is
    tightened: commands and output are the README's, but for the ports and the folder."""
    tour = commands("An adapter's tour")
    assert len(tour) > 20
    instead = {"8080": str(free_port()), "8100": str(free_port())}
    instead["/tmp/usher-store"] = str(tmp_path / "store")  # noqa: S108 - the README's folder
    for one in ran(tour, instead, SECONDS):
        assert one.as_told(), f"$ {one.line}\n{one.printed}"
