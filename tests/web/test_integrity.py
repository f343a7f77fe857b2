"""An adapter whose files are no longer those of its name is stopped everywhere."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.deploy.guard_kit import TOKEN
from tests.web.adapter_kit import retire_all
from tests.web.serving_kit import FakeVllm, serving, spoil, with_weights
from tests.web.world import World, world

from usher.adapters.integrity import Integrity
from usher.adapters.serving import Serving
from usher.adapters.upkeep import Upkeep
from usher.backends.adapter_folder import AdapterWeights
from usher.backends.adapter_server_vllm import VllmServer
from usher.core.adapters import Registered
from usher_lora.registry import Alarm, State


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("integrity")) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_published(usher: World) -> Iterator[None]:
    yield
    retire_all(usher)


def watching(usher: World) -> Integrity:
    """One that has begun now, as in another server."""
    parts = usher.services.adapters
    return Integrity(parts.store, parts.weights, parts.upkeep, parts.upkeep)


def weights(usher: World, one: Registered) -> Path:
    return usher.services.adapters.weights.place(one.id) / "adapter_model.safetensors"


def stands(usher: World, one: Registered) -> tuple[State, Alarm | None]:
    found = usher.run(usher.services.adapters.store.get(one.id))
    assert found is not None
    return found.entry.state, found.entry.alarm


STOPPED = (State.QUARANTINED, Alarm.INTEGRITY)


def _config(path: Path) -> None:
    spoil(path.with_name("adapter_config.json"))


def _gone(path: Path) -> None:
    path.parent.chmod(0o700)
    path.unlink()


def _more(path: Path) -> None:
    path.parent.chmod(0o700)
    path.with_name("added_tokens.json").write_text("{}")


def _link(path: Path) -> None:
    path.parent.chmod(0o700)
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def _manifest(path: Path) -> None:
    spoil(path.parent.with_name(f"{path.parent.name}.manifest.json"))


def _training_set(path: Path) -> None:
    spoil(path.parent.with_name(f"{path.parent.name}.training.json"))


@pytest.mark.parametrize("act", [spoil, _config, _gone, _more, _link, _manifest, _training_set])
def test_whatever_is_written_is_seen_at_the_next_look(usher: World, act: object) -> None:
    """Size and time of change put back as far as that can be."""
    assert callable(act)
    one, other = (usher.run(with_weights(usher)) for _ in range(2))
    watch = watching(usher)
    assert usher.run(watch.look()) == []
    act(weights(usher, one))
    assert usher.run(watch.look()) == [one.id]
    assert usher.run(watch.look()) == []
    assert stands(usher, one) == STOPPED
    assert stands(usher, other) == (State.PUBLISHED, None)
    assert (usher.events()[-1]["act"], usher.events()[-1]["adapter"]) == ("quarantined", one.name)


def test_what_only_looks_different_goes_on(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are read once, and found to be what they were."""
    one = usher.run(with_weights(usher))
    watch = watching(usher)
    usher.run(watch.look())
    os.utime(weights(usher, one))
    assert usher.run(watch.look()) == []
    monkeypatch.setattr(Upkeep, "problem", _away)
    assert usher.run(watch.look()) == []
    assert stands(usher, one) == (State.PUBLISHED, None)


def test_what_changed_unseen_is_found_on_the_schedule(usher: World) -> None:
    """While nothing ran, or beneath the file system: each file is read, whatever it looks like."""
    one = usher.run(with_weights(usher))
    spoil(weights(usher, one))
    watch = watching(usher)
    assert usher.run(watch.look()) == []
    assert usher.run(watch.read_all()) == [one.id]
    assert stands(usher, one) == STOPPED


def test_a_look_that_fails_is_made_again(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change is not forgotten because it could not be read in full just then."""
    one = usher.run(with_weights(usher))
    watch = watching(usher)
    usher.run(watch.look())
    spoil(weights(usher, one))
    with monkeypatch.context() as patch:
        patch.setattr(Upkeep, "problem", _away)
        with pytest.raises(OSError, match="away"):
            usher.run(watch.look())
    assert usher.run(watch.look()) == [one.id]


async def _away(*_: object) -> str | None:
    raise OSError("away")


def test_reading_on_the_schedule_leaves_the_disk_to_others(usher: World) -> None:
    """At the pace that it was given."""
    parts = usher.services.adapters
    one = usher.run(with_weights(usher))
    size = weights(usher, one).stat().st_size
    slow = Upkeep(replace(parts.registry._acts, weights=AdapterWeights(usher.folder / "home" / "adapters", size * 4)))
    began = time.monotonic()
    assert usher.run(Integrity(parts.store, parts.weights, parts.upkeep, slow).read_all()) == []
    assert time.monotonic() - began >= 0.25


@pytest.mark.loopback
def test_every_server_is_rid_of_it_within_a_second(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of Usher's over one database, each with a model server: from the change to the last unloading."""
    parts = usher.services.adapters
    with ExitStack() as stack:
        fakes = [stack.enter_context(serving(FakeVllm(), monkeypatch)) for _ in range(2)]
        ports = [VllmServer(fake.url, TOKEN) for fake in fakes]
        servings = [
            Serving([port], None, parts.store, parts.upkeep, parts.weights, loads=True, clock=time.monotonic)
            for port in ports
        ]
        one = usher.run(with_weights(usher))

        async def test() -> float:
            for made in servings:
                await made.converge()
            assert all(fake.adapters for fake in fakes)
            running = [asyncio.create_task(each.run()) for each in (*servings, watching(usher), watching(usher))]
            await asyncio.sleep(0.3)  # so that each has looked once
            spoil(weights(usher, one))
            began = time.monotonic()
            async with asyncio.timeout(10):
                while any(fake.adapters for fake in fakes):  # noqa: ASYNC110 - the servers run in threads
                    await asyncio.sleep(0.01)
            took = time.monotonic() - began
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            return took

        took = usher.run(test())
        for port in ports:
            usher.run(port.close())
    assert stands(usher, one) == STOPPED
    assert took < 2, "half a second to see it, and a second from then on"
