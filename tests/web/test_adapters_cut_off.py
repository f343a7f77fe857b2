"""Registering and publishing, cut off before and after everything durable: nothing is half done, and it can be done."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from tests.web.erasure_kit import again
from tests.web.registry_kit import (
    adapter_events,
    as_person,
    company,
    evaluated,
    fresh,
    handbook,
    lying,
    published,
    registered,
    trained,
    with_model_server,
)
from tests.web.world import World

from usher.backends import adapter_folder
from usher.backends.adapter_folder import AdapterWeights
from usher.backends.memory import MemoryStore
from usher.backends.sql_adapters import SqlAdapters
from usher.backends.sql_outbox import SqlOutbox
from usher.core.adapters import Registered
from usher.ledger.sequencer import Ledger
from usher_lora.registry import State

pytestmark = pytest.mark.crash
DURABLE: tuple[tuple[object, str], ...] = (
    (AdapterWeights, "keep_manifest"),
    (AdapterWeights, "_write"),
    (adapter_folder, "_copy"),
    (adapter_folder, "_sync"),
    (os, "fsync"),
    (SqlAdapters, "add"),
    (SqlAdapters, "put"),
    (SqlOutbox, "finish"),
    (Ledger, "append"),
)
"""All that is done durably. It is cut off before and after each time that one of them is called."""


class Killed(BaseException):
    """As if the process were: nothing after it cleans up."""


class Cutter:
    """Counts what is durable and cuts at one of its beginnings (even) or ends (odd). After that nothing works."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def point(self) -> None:
        if self.seen >= self.at:
            raise Killed
        self.seen += 1

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(act)
        def plain(*args: Any, **more: Any) -> Any:
            self.point()
            result = act(*args, **more)
            self.point()
            return result

        @wraps(act)
        async def waited(*args: Any, **more: Any) -> Any:
            self.point()
            result = await act(*args, **more)
            self.point()
            return result

        return waited if iscoroutinefunction(act) else plain


@contextmanager
def cutting(at: int) -> Iterator[Cutter]:
    cutter = Cutter(at)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in DURABLE:
            patch.setattr(owner, name, cutter.around(getattr(owner, name)))
        patch.setattr(AdapterWeights, "drop", lambda *_: None)  # nothing cleans up after a kill
        yield cutter


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, MemoryStore]]:
    """A world that is only opened again: what was opened first does nothing more."""
    (tmp_path / "world").mkdir()
    with_model_server(monkeypatch)
    with company(tmp_path / "world") as made:
        yield made


def cut(usher: World, at: int, act: Coroutine[Any, Any, object]) -> bool:
    """Whether there was such a point."""
    with cutting(at):
        try:
            usher.run(act)
        except Killed:
            return True
    return False


def check_whole(usher: World) -> None:
    """All of an adapter lies there, and it is registered with one event; or nothing of it is anywhere."""
    there = usher.run(usher.services.adapters.store.all())
    parts = [f"{one.id}{suffix}" for one in there for suffix in ("", ".manifest.json", ".training.json")]
    assert lying(usher) == sorted(parts)
    events = [event["adapter"] for event in adapter_events(usher) if event["act"] == "registered"]
    assert sorted(events) == sorted(one.name for one in there)
    what = {event["adapter"] for event in adapter_events(usher) if event["act"] == "learned"}
    assert what >= set(events)
    assert all(one.recorded for one in there)
    assert [usher.run(usher.services.adapters.upkeep.problem(one)) for one in there] == [None] * len(there)


def test_registering_cut_off_anywhere_leaves_all_or_nothing(begun: tuple[World, MemoryStore], tmp_path: Path) -> None:
    """After the next start it is a draft, or there is nothing of it; and it can be registered."""
    usher, store = begun
    points, seen, folder = 0, set(), None
    while True:
        with again(usher, store) as one:
            check_whole(one)
            if folder is not None:
                known = len(one.run(one.services.adapters.store.all()))
                assert one.run(registered(one, folder)).entry.state is State.DRAFT
                seen.add(len(one.run(one.services.adapters.store.all())) - known)
                check_whole(one)
            folder = trained(tmp_path / f"run{points}", handbook(one), made=fresh())
            if not cut(one, points, registered(one, folder)):
                break
        points += 1
    assert points > 20
    assert seen == {0, 1}


def test_publishing_cut_off_anywhere_is_done_or_not(begun: tuple[World, MemoryStore], tmp_path: Path) -> None:
    """It serves only once its event stands; after the next start it is as if done, or as if never asked for."""
    usher, store = begun
    points, seen, before = 0, set(), None
    while True:
        with again(usher, store) as one:
            if before is not None:
                done = before.name in published(one)
                assert acts_of(one, before).count("published") == int(done)
                seen.add(done)
                one.run(_publish(one, before))
                assert before.name in published(one)
            before = _approved(one, trained(tmp_path / f"run{points}", handbook(one), made=fresh()))
            if not cut(one, points, _publish(one, before)):
                break
            assert before.name not in published(one) or "published" in acts_of(one, before)
        points += 1
    assert points > 5
    assert seen == {True, False}


def acts_of(usher: World, one: Registered) -> list[str]:
    return [event["act"] for event in adapter_events(usher) if event["adapter"] == one.name]


def _approved(usher: World, folder: Path) -> Registered:
    one = usher.run(evaluated(usher, usher.run(registered(usher, folder))))
    carol = usher.run(as_person(usher, "carol"))
    return usher.run(usher.services.adapters.registry.approve(one.id, one.digest or "", carol))


async def _publish(usher: World, one: Registered) -> Registered | None:
    """Once more changes nothing."""
    stands = await usher.services.adapters.store.get(one.id)
    if stands is not None and stands.entry.served:
        return stands
    return await usher.services.adapters.registry.publish(one.id, one.digest or "", await as_person(usher, "carol"))
