"""One tiny model, and one server of it, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.vllm.kit import FACTS, Vllm, make_models, vllm


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base`, and an adapter for each name of `FACTS`."""
    folder = tmp_path_factory.mktemp("models")
    make_models(folder, FACTS)
    return folder


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """A server that loads adapters at run time, with none loaded at first. Each test unloads what it loaded."""
    with vllm(models, tmp_path_factory.mktemp("vllm") / "log") as running:
        yield running
