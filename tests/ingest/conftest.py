"""A house made once, and copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.ingest.ingest_kit import House, new_house


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> House:
    return new_house(tmp_path_factory.mktemp("settled") / "house")


@pytest.fixture
def house(settled: House, tmp_path: Path) -> House:
    """People and a policy, and an empty folder of documents."""
    return settled.copied(tmp_path / "house")
