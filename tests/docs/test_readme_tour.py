"""The README's tours run as they stand there: every command, and what it prints. That of an adapter takes a model
server: `tests/vllm/test_readme_tour.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.tour_kit import commands, free_port, ran

TOURS = ("A tour in five minutes", "An admin's tour", "An auditor's tour")


@pytest.mark.slow
@pytest.mark.loopback
@pytest.mark.crash
def test_the_tour_prints_what_the_readme_says(tmp_path: Path) -> None:
    """Commands and output are the README's, but for the port and the folder."""
    tour = commands(*TOURS)
    assert len(tour) > 10
    instead = {"8080": str(free_port()), "/tmp/usher-tour": str(tmp_path / "home")}  # noqa: S108 - the README's folder
    for one in ran(tour, instead, 280):
        assert one.as_told(), f"$ {one.line}\n{one.printed}"
