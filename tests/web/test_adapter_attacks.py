"""Adapters that were made, changed or registered by somebody who wants more of them than they may have."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from tests.web.adapter_kit import retire_all
from tests.web.registry_kit import (
    company,
    evaluated,
    fresh,
    gave,
    give,
    handbook,
    learned,
    published,
    registered,
    served,
    trained,
)
from tests.web.serving_kit import spoil, with_weights
from tests.web.world import World

from usher.adapters.integrity import Integrity
from usher.adapters.serving import Serving
from usher.adapters.upkeep import Upkeep
from usher.backends.adapter_folder import BaseModel
from usher.core.adapters import Registered
from usher.errors import UserError
from usher.ports.adapter_server import Loaded
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Cause, Lineage, ParentKind, canonical, lineage
from usher_lora.manifest import WEIGHTS
from usher_lora.registry import Alarm, State


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with company(tmp_path_factory.mktemp("attacks")) as (made, _):
        yield made


@pytest.fixture(autouse=True)
def _nothing_published(usher: World) -> Iterator[None]:
    yield
    retire_all(usher)


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


def of_bob(usher: World) -> tuple[Lineage, list[tuple[str, str]]]:
    """What learned from an exchange of bob's, and which that is."""
    person = usher.run(usher.services.ledger.pseudonym("bob"))
    return lineage([learned(usher, "handbook/hotels.md")], [person]), [(person, gave(usher, "bob"))]


def test_a_leave_that_was_taken_back_before_the_registering_is_none(usher: World, tmp_path: Path) -> None:
    """Nothing had learned from the exchange then; given again, it may be learned."""
    line, given = of_bob(usher)
    folder = trained(tmp_path / "run", line, made=fresh(), exchanges=given)
    give(usher, "bob", given[0][1], train=False)
    with pytest.raises(UserError, match="lets nobody learn from"):
        usher.run(registered(usher, folder))
    give(usher, "bob", given[0][1], train=True)
    usher.run(registered(usher, folder))


def test_a_conversation_that_was_deleted_before_the_registering_is_learned_by_nobody(
    usher: World, tmp_path: Path
) -> None:
    """The leave goes with it."""
    line, given = of_bob(usher)
    folder = trained(tmp_path / "run", line, made=fresh(), exchanges=given)
    for talk in usher.ask("GET", "/api/conversations", "bob").json()["conversations"]:
        assert usher.ask("DELETE", f"/api/conversations/{talk['id']}", "bob").status_code == 204
    with pytest.raises(UserError, match="lets nobody learn from"):
        usher.run(registered(usher, folder))


def test_people_of_a_lineage_whose_exchanges_are_not_named_are_refused(usher: World, tmp_path: Path) -> None:
    """And exchanges of people whom the lineage leaves out; somebody else's exchange is nobody's leave."""
    line, given = of_bob(usher)
    carols = gave(usher, "carol")
    for number, (told, exchanges) in enumerate(
        [(line, []), (handbook(usher), given), (line, [(given[0][0], carols)]), (line, [("p", given[0][1])])]
    ):
        with pytest.raises(UserError):
            usher.run(registered(usher, trained(tmp_path / str(number), told, made=fresh(), exchanges=exchanges)))


def test_a_leave_that_was_taken_back_unheard_stops_what_learned_by_it(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off between the record of it and the mark: at the next start, and what was built from it too. Words that are
    kept no more stop nothing."""
    line, given = of_bob(usher)
    one = usher.run(served(usher, trained(tmp_path / "a", line, made=fresh(), exchanges=given)))
    built = lineage([learned(usher, "handbook/notice.md")], parents=[(ParentKind.ADAPTER, one.name, line)])
    child = usher.run(served(usher, trained(tmp_path / "c", built, made=fresh())))
    forgotten, exchange = of_bob(usher)
    other = usher.run(served(usher, trained(tmp_path / "b", forgotten, made=fresh(), exchanges=exchange)))
    with monkeypatch.context() as patch:
        patch.setattr(Upkeep, "without", _cut_off)
        give(usher, "bob", given[0][1], train=False)
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as connection, connection:
        connection.execute("UPDATE feedback SET sealed = x'' WHERE exchange = ?", (UUID(exchange[0][1]).hex,))
    assert one.name in published(usher)
    usher.run(usher.services.adapters.upkeep.recover())
    for ident in (one.id, child.id):
        found = usher.run(usher.services.adapters.store.get(ident))
        assert found is not None
        assert [each.cause for each in found.entry.stale] == [Cause.SUBJECT_WITHDREW]
    assert not {one.name, child.name} & set(published(usher))
    assert other.name in published(usher)


async def _cut_off(*_: object) -> None: ...


def test_a_leave_that_was_taken_back_while_it_was_registered_is_seen_when_it_is_published(
    usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights may take minutes to be copied, after the leaves were looked at and before it is in the registry."""
    line, given = of_bob(usher)
    folder = trained(tmp_path / "a", line, made=fresh(), exchanges=given)
    with monkeypatch.context() as patch:
        patch.setattr(Upkeep, "without", _cut_off)
        one = usher.run(evaluated(usher, usher.run(registered(usher, folder))))
        give(usher, "bob", given[0][1], train=False)
    body = {"digest": one.digest}
    assert usher.ask("POST", f"/api/adapters/{one.id}/approve", "carol", json=body).status_code == 200
    assert usher.ask("POST", f"/api/adapters/{one.id}/publish", "carol", json=body).status_code == 409
    assert usher.ask("GET", f"/api/adapters/{one.id}", "carol").json()["adapter"]["stale"] == ["subject_withdrew"]


def test_nothing_is_built_from_an_adapter_that_learned_what_may_no_longer_be_known(
    usher: World, tmp_path: Path
) -> None:
    """Its weights still tell of it, whatever a child's lineage says."""
    line, given = of_bob(usher)
    parent = usher.run(registered(usher, trained(tmp_path / "parent", line, made=fresh(), exchanges=given)))
    child = lineage([learned(usher, "handbook/notice.md")], parents=[(ParentKind.ADAPTER, parent.name, line)])
    usher.run(registered(usher, trained(tmp_path / "before", child, made=fresh())))
    give(usher, "bob", given[0][1], train=False)
    with pytest.raises(UserError, match="may no longer be known"):
        usher.run(registered(usher, trained(tmp_path / "after", child, made=fresh())))


def test_what_the_base_has_learned_is_inherited(usher: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that was itself trained on documents: who leaves it out, or some of it, is refused."""
    base = tmp_path / "base"
    base.mkdir()
    above = lineage([learned(usher, "board/merger.md")])
    (base / "lineage.json").write_bytes(canonical(above))
    monkeypatch.setattr(usher.services.adapters.registry._acts.base, "_folder", base)
    monkeypatch.setattr(BaseModel, "digest", lambda _: None)
    whole = lineage(handbook(usher).documents, parents=[(ParentKind.BASE, "tiny-llama", above)])
    less = Lineage(handbook(usher).documents, (), whole.parents)
    with pytest.raises(UserError, match="leave out the base model"):
        usher.run(registered(usher, trained(tmp_path / "none", handbook(usher), made=fresh())))
    with pytest.raises(UserError, match="leave out what a parent learned"):
        usher.run(registered(usher, trained(tmp_path / "less", less, made=fresh())))
    usher.run(registered(usher, trained(tmp_path / "whole", whole, made=fresh())))


def test_a_lineage_is_at_least_that_of_the_training_set(usher: World, tmp_path: Path) -> None:
    """Whoever leaves a document out, or puts its label lower, is refused, also behind something that is inherited."""
    whole, less = handbook(usher), lineage([learned(usher, "handbook/holidays.md")])
    lower = lineage([learned(usher, "handbook/holidays.md"), learned(usher, "handbook/hotels.md", access_class=1)])
    parent = usher.run(registered(usher, trained(tmp_path / "parent", less, made=fresh())))
    behind = lineage(less.documents, parents=[(ParentKind.ADAPTER, parent.name, less)])
    for number, line in enumerate((less, lower, behind)):
        with pytest.raises(UserError, match="leaves out what was trained on"):
            usher.run(registered(usher, trained(tmp_path / str(number), line, made=fresh(), own=whole)))
    folder = trained(tmp_path / "unsaid", less, made=fresh(), own=whole)
    (folder / "training_lineage.json").unlink()
    with pytest.raises(UserError, match="is not that of the training set"):
        usher.run(registered(usher, folder))
    more = lineage(whole.documents, parents=[(ParentKind.ADAPTER, parent.name, less)])
    usher.run(registered(usher, trained(tmp_path / "more", more, made=fresh(), own=whole)))


def test_another_base_stops_what_was_trained_on_the_one_before(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the schedule, and at a load. It may begin again: none of its own bytes were others."""
    parts = usher.services.adapters
    seen, loaded = (usher.run(with_weights(usher)) for _ in range(2))
    watch = Integrity(parts.store, parts.weights, parts.upkeep, parts.upkeep)
    monkeypatch.setattr(BaseModel, "digest", lambda _: seen.identity.base.digest)
    assert usher.run(watch.read_all()) == []
    monkeypatch.setattr(BaseModel, "digest", _not_there)
    assert usher.run(watch.read_all()) == []
    server = Reader(nothing, nothing)
    usher.run(serving(usher, server, [0.0]).converge())
    assert (server.read, seen.name in published(usher)) == ({}, True)
    monkeypatch.setattr(BaseModel, "digest", lambda _: "00" * 32)
    usher.run(serving(usher, server, [0.0]).converge())
    assert server.read == {}
    assert not {seen.name, loaded.name} & set(published(usher))
    third = usher.run(with_weights(usher))
    assert usher.run(watch.read_all()) == [third.id]
    for one in (seen, loaded, third):
        found = usher.run(parts.store.get(one.id))
        assert found is not None
        assert (found.entry.state, found.entry.alarm) == (State.QUARANTINED, Alarm.GATE)


def _not_there(_: BaseModel) -> str:
    raise AdapterFault("base model", "is not there", "bring it back")
