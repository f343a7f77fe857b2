"""Model servers come to have what is published, whatever happens to them meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.deploy.guard_kit import TOKEN
from tests.web.adapter_kit import moved, retire_all
from tests.web.serving_kit import FakeVllm, serving, spoil, with_weights
from tests.web.world import World, world

from usher.adapters import serving as serving_module
from usher.adapters.serving import DRAIN, Serving
from usher.backends.adapter_server_vllm import VllmServer
from usher_lora.registry import Alarm, State

pytestmark = pytest.mark.loopback


@dataclass
class Room:
    """A world, two model servers, and a clock that a test moves."""

    usher: World
    first: FakeVllm
    second: FakeVllm
    now: float = 1000.0
    made: list[Serving] = field(default_factory=list)

    def serving(self, *fakes: FakeVllm, loads: bool = True, base: str = "tiny-llama") -> Serving:
        parts = self.usher.services.adapters
        token = TOKEN if loads else None
        servers = [VllmServer(f"{fake.url}/v1", token, list_s=0.3, load_s=0.2) for fake in fakes or (self.first,)]
        made = Serving(servers, base, parts.store, parts.upkeep, parts.weights, loads=loads, clock=lambda: self.now)
        self.made.append(made)
        return made

    def look(self, made: Serving) -> frozenset[str]:
        self.usher.run(made.converge())
        return made.served()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, FakeVllm, FakeVllm]]:
    with (
        world(tmp_path_factory.mktemp("serving")) as usher,
        ExitStack() as stack,
        pytest.MonkeyPatch.context() as patch,
    ):
        first, second = (stack.enter_context(serving(FakeVllm(), patch)) for _ in range(2))
        yield usher, first, second


@pytest.fixture
def room(places: tuple[World, FakeVllm, FakeVllm]) -> Iterator[Room]:
    usher, first, second = places
    for fake in (first, second):
        fake.__init__(url=fake.url)  # type: ignore[misc]  # as it was when it was first started
    room = Room(usher, first, second)
    yield room
    for made in room.made:
        usher.run(made.close())
    retire_all(usher)


def place(room: Room, ident: str) -> str:
    return str(room.usher.services.adapters.weights.place(ident))


def test_what_is_published_is_loaded_from_where_it_lies(room: Room) -> None:
    """Under its own name; what is a draft, or retired, is not."""
    one, retired = (room.usher.run(with_weights(room.usher)) for _ in range(2))
    room.usher.run(moved(room.usher, retired.id, State.RETIRED))
    made = room.serving()
    assert made.served() == frozenset()
    assert room.look(made) == {one.name}
    assert room.first.adapters == {one.name: place(room, one.id)}
    assert made.state() == "ok"


def test_a_server_that_was_restarted_has_everything_again(room: Room) -> None:
    """And until then no route names what it does not have."""
    names = {room.usher.run(with_weights(room.usher)).name for _ in range(3)}
    made = room.serving()
    assert room.look(made) == names
    room.first.restart()
    room.first.script = ["refused"] * 3
    assert room.look(made) == frozenset()
    room.now += 5
    assert room.look(made) == names


def test_a_second_server_comes_to_have_the_same(room: Room) -> None:
    """A route names an adapter once every server that answers has it; one that does not answer counts no more."""
    one = room.usher.run(with_weights(room.usher))
    assert room.look(room.serving(room.first)) == {one.name}
    room.second.script = ["refused"]
    both = room.serving(room.first, room.second)
    assert room.look(both) == frozenset()
    assert both.state() == "1 of 2 are not as they should be"
    room.now += 5
    assert room.look(both) == {one.name}
    assert room.first.told == [("load", one.name)]
    room.second.hangs = True
    assert room.look(both) == {one.name}
    assert both.up()


@pytest.mark.parametrize("how", ["lost", "late"])
def test_a_load_whose_answer_is_lost_is_not_repeated(room: Room, how: str) -> None:
    """What the server has is asked of the server."""
    one = room.usher.run(with_weights(room.usher))
    room.first.script = [how]
    made = room.serving()
    room.look(made)
    deadline = time.monotonic() + 3
    while room.look(made) != {one.name} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert made.served() == {one.name}
    assert room.first.told == [("load", one.name)]


def test_a_load_that_fails_is_tried_again_less_and_less_often(room: Room) -> None:
    """And keeps no other adapter from being loaded."""
    bad, good = sorted(room.usher.run(with_weights(room.usher)).name for _ in range(2))
    room.first.script = ["refused", "", *["refused"] * 20]
    made = room.serving()
    assert room.look(made) == {good}
    tries = []
    for _ in range(60):
        room.now += 2.5
        room.look(made)
        tries.append(sum(1 for told in room.first.told if told == ("load", bad)))
    assert tries[-1] in (7, 8)
    room.first.script = []
    room.now += 60
    assert room.look(made) == {bad, good}


def test_what_is_retired_leaves_once_no_answer_can_use_it(room: Room) -> None:
    """It is in no route from the moment on that it is retired."""
    one, stays = (room.usher.run(with_weights(room.usher)) for _ in range(2))
    made = room.serving()
    room.look(made)
    room.usher.run(moved(room.usher, one.id, State.RETIRED))
    assert room.look(made) == {stays.name}
    assert made.shown()[0].leaving == (one.name,)
    room.now += DRAIN - 1
    room.look(made)
    assert set(room.first.adapters) == {one.name, stays.name}
    room.now += 1
    room.look(made)
    assert set(room.first.adapters) == {stays.name}


def test_what_comes_back_meanwhile_stays(room: Room) -> None:
    """Its time to leave is forgotten."""
    one = room.usher.run(with_weights(room.usher))
    made = room.serving()
    room.look(made)
    room.usher.run(moved(room.usher, one.id, State.RETIRED))
    room.look(made)
    room.usher.run(moved(room.usher, one.id, State.PUBLISHED))
    room.now += DRAIN
    assert room.look(made) == {one.name}
    room.usher.run(moved(room.usher, one.id, State.RETIRED))
    room.now += DRAIN
    room.look(made)
    assert room.first.told == [("load", one.name)]


def test_what_is_quarantined_leaves_at_once(room: Room) -> None:
    """So does what nobody registered: another name, or a name like ours of another digest."""
    one = room.usher.run(with_weights(room.usher))
    made = room.serving()
    room.look(made)
    strangers = ["somebodys-own", f"money@sha256:{'0' * 64}", f"other@sha256:{one.id}"]
    room.first.adapters |= dict.fromkeys(strangers, "/tmp/x")  # noqa: S108 - a path that is never opened
    room.usher.run(moved(room.usher, one.id, State.QUARANTINED, Alarm.REPORTED))
    assert room.look(made) == frozenset()
    assert room.first.adapters == {}


def test_a_name_with_other_weights_behind_it_is_quarantined(room: Room) -> None:
    """For ever: the server may have computed with them under that name."""
    one = room.usher.run(with_weights(room.usher))
    room.first.adapters[one.name] = "/elsewhere"
    made = room.serving()
    for _ in range(2):
        assert room.look(made) == frozenset()
    assert room.first.adapters == {}
    assert room.first.told == [("unload", one.name)]
    stands = room.usher.run(room.usher.services.adapters.store.get(one.id))
    assert stands is not None
    assert (stands.entry.state, stands.entry.alarm) == (State.QUARANTINED, Alarm.INTEGRITY)


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
def test_files_are_read_before_a_server_reads_them(room: Room, file: str) -> None:
    """What is not as it was registered is quarantined, and no server ever sees it."""
    one = room.usher.run(with_weights(room.usher))
    spoil(Path(place(room, one.id), file))
    made = room.serving()
    assert room.look(made) == frozenset()
    assert room.first.told == []
    assert room.usher.events()[-1]["act"] == "quarantined"
    assert room.usher.events()[-1]["by"] == "integrity"


def test_another_base_model_is_no_server_for_these(room: Room) -> None:
    """Nothing is loaded into it, and nothing routed to it."""
    room.usher.run(with_weights(room.usher))
    room.first.base = "another"
    made = room.serving()
    assert room.look(made) == frozenset()
    assert not made.up()
    assert room.first.told == []
    assert made.shown()[0].problem == "serves another base model than USHER_MODEL"


def test_a_server_without_the_token_is_only_looked_at(room: Room) -> None:
    """It was told what to have when it was started; it may see the folder under another path."""
    one, absent = (room.usher.run(with_weights(room.usher)) for _ in range(2))
    room.first.adapters = {one.name: f"/mnt/adapters/{one.id}"}
    made = room.serving(loads=False)
    assert room.look(made) == {one.name}
    assert made.shown()[0].missing == (absent.name,)
    assert room.first.told == []


def test_a_server_that_is_to_have_nothing_is_not_asked(room: Room) -> None:
    """It may be anybody's, and know nothing of adapters."""
    room.first.hangs = True
    made = room.serving(loads=False)
    assert room.look(made) == frozenset()
    assert (made.state(), made.up()) == ("ok", True)


def test_one_that_hangs_holds_up_no_other(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is looked after by itself."""
    monkeypatch.setattr(serving_module, "EVERY", 0.02)
    one = room.usher.run(with_weights(room.usher))
    room.first.hangs = True
    made = room.serving(room.first, room.second)

    async def until_loaded() -> float:
        task, began = asyncio.create_task(made.run()), time.monotonic()
        await asyncio.to_thread(room.second.some.wait, 5)
        took = time.monotonic() - began
        task.cancel()
        await asyncio.wait({task})
        return took

    assert room.usher.run(until_loaded()) < 0.25
    assert set(room.second.adapters) == {one.name}


def test_the_operator_sees_what_servers_lack_and_gets_their_flags(room: Room) -> None:
    """Without a model server there is nothing to be told."""

    outer, room.usher.app = room.usher.app, room.usher.operator_app()
    try:
        assert room.usher.ask("GET", "/operator/adapter-serving", None).json() == {"loads": False, "servers": []}
        refused = room.usher.ask("GET", "/operator/adapter-serving/config", None)
        assert "USHER_MODEL" in refused.text
    finally:
        room.usher.app = outer
