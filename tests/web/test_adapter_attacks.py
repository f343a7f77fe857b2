"""Adapters that were made, changed or registered by somebody who wants more of them than they may have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.web.adapter_kit import moved
from tests.web.registry_kit import company
from tests.web.serving_kit import spoil, with_weights
from tests.web.world import World

from usher.adapters.integrity import Integrity
from usher.adapters.serving import Serving
from usher.adapters.upkeep import Upkeep
from usher.core.adapters import Registered
from usher.ports.adapter_server import Loaded
from usher_lora.manifest import WEIGHTS
from usher_lora.registry import State


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with company(tmp_path_factory.mktemp("attacks")) as (made, _):
        yield made


@pytest.fixture(autouse=True)
def _nothing_published(usher: World) -> Iterator[None]:
    yield
    for one in usher.run(usher.services.adapters.store.all()):
        if one.serves:
            usher.run(moved(usher, one.id, State.RETIRED))


class Reader:
    """A model server that reads weights when it is told to load them."""

    name = "reader"

    def __init__(self, before: Callable[[Path], None], after: Callable[[Path], None]) -> None:
        self.before, self.after = before, after
        self.read: dict[str, tuple[str, bytes]] = {}

    async def loaded(self) -> Loaded:
        return Loaded(frozenset({"base"}), {name: place for name, (place, _) in self.read.items()})

    async def load(self, name: str, folder: Path) -> None:
        self.before(folder / WEIGHTS)
        self.read[name] = (str(folder), (folder / WEIGHTS).read_bytes())
        self.after(folder / WEIGHTS)

    async def unload(self, name: str) -> None:
        del self.read[name]

    async def close(self) -> None: ...


def nothing(_: Path) -> None: ...


class Swap:
    """Other weights in the place of the right ones, and back, with the times that the right ones had."""

    def __call__(self, weights: Path) -> None:
        weights.parent.chmod(0o700)
        weights.rename(weights.with_name("right"))
        weights.write_bytes(b"others")

    def back(self, weights: Path) -> None:
        weights.with_name("right").rename(weights)
        weights.parent.chmod(0o555)


def serving(usher: World, server: Reader, now: list[float]) -> Serving:
    parts = usher.services.adapters
    return Serving([server], "base", parts.store, parts.upkeep, parts.weights, loads=True, clock=lambda: now[0])


def test_weights_that_are_others_while_they_are_loaded_serve_nobody(usher: World) -> None:
    """Put back before anybody reads them again; once nobody touches them, they are loaded."""
    one = usher.run(with_weights(usher))
    swap, now = Swap(), [0.0]
    server = Reader(swap, swap.back)
    made = serving(usher, server, now)
    usher.run(made.converge())
    assert (made.served(), server.read) == (frozenset(), {})
    assert usher.run(usher.services.adapters.upkeep.problem(one)) is None
    server.before = server.after = nothing
    now[0] += 5
    usher.run(made.converge())
    assert made.served() == {one.name}


def test_an_adapter_that_cannot_be_read_keeps_nobody_from_reading_the_others(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes first: what was changed is stopped, and the look tells that it was not whole."""
    first, second = sorted((usher.run(with_weights(usher)) for _ in range(2)), key=lambda one: one.id)
    parts = usher.services.adapters
    watch = Integrity(parts.store, parts.weights, parts.upkeep, parts.upkeep)
    assert usher.run(watch.look()) == []
    os.utime(parts.weights.place(first.id) / WEIGHTS)
    spoil(parts.weights.place(second.id) / WEIGHTS)
    problem = Upkeep.problem

    async def read(self: Upkeep, one: Registered) -> str | None:
        if one.id == first.id:
            raise OSError("broken disk")
        return await problem(self, one)

    monkeypatch.setattr(Upkeep, "problem", read)
    with pytest.raises(OSError, match="broken"):
        usher.run(watch.look())
    found = usher.run(parts.store.get(second.id))
    assert found is not None
    assert found.entry.state is State.QUARANTINED
