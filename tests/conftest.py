"""For every test: no network. A test marked `loopback` may talk to this machine, and to no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from tests import graph_kit

settings.register_profile("short", max_examples=24)
settings.register_profile("long", max_examples=240)
settings.load_profile("short")  # `make test-crash` asks for the long one


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("loopback"):
        item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1"]))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own USHER_ variables decide nothing in a test, except the server that one may test against."""
    for name in os.environ:
        if name.startswith("USHER_") and name != "USHER_QDRANT_URL":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedding model's graph, one for all processes of a test run."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "graph"
    folder.mkdir(exist_ok=True)
    return graph_kit.build(folder)
