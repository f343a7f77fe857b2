"""For every test: no network. A test marked `loopback` may talk to this machine, and to no other."""

from __future__ import annotations

import os

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("loopback"):
        item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1"]))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own USHER_ variables decide nothing in a test, except the server that one may test against."""
    for name in os.environ:
        if name.startswith("USHER_") and name != "USHER_QDRANT_URL":
            monkeypatch.delenv(name)
