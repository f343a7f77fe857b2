"""An exchange that an adapter answers: in its conversation before anything of it is shown, while its model begins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from tests.web.adapter_kit import BUDGET, SpeakingModel, publish, route_by
from tests.web.chat_kit import streamed
from tests.web.world import World, world


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("placing"), model=SpeakingModel()) as made:
        made.run(publish(made, BUDGET))
        made.run(route_by(made))
        yield made


def test_nothing_is_shown_before_the_exchange_is_in_its_conversation(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is made of must be known to whatever follows it; its model may have spoken meanwhile."""
    threads, model = usher.services.chat._threads, cast(SpeakingModel, usher.services.chat._model)
    begin, spoken, shown = threads.begin, list[int](), list[str]()

    async def slowly(*row: Any) -> bool:
        await asyncio.sleep(0.05)
        spoken.append(len(model.requests))
        assert not shown
        return await begin(*row)

    with monkeypatch.context() as patched:
        patched.setattr(threads, "begin", slowly)
        got = usher.run(streamed(usher, "alice", shown.append))
    assert got.text.startswith("I speak as money")
    assert spoken == [1]
    assert len(usher.run(usher.services.chat._threads._index.newest("alice", 5))) == 1


def test_an_exchange_without_its_conversation_shows_nothing(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was deleted while the question was recorded; recorded as such. Where it could not be looked up too."""
    threads = usher.services.chat._threads

    async def gone(*_: Any) -> bool:
        await asyncio.sleep(0.02)
        return False

    async def away(*_: Any) -> bool:
        await asyncio.sleep(0.02)
        raise OSError

    for begin, status, outcome in ((gone, 404, "conversation_deleted"), (away, 500, "failed")):
        with monkeypatch.context() as patched:
            patched.setattr(threads, "begin", begin)
            got = usher.run(streamed(usher, "alice"))
        assert (got.status, got.text) == (status, "")
        assert usher.newest()[-1]["outcome"] == outcome
    assert not usher.services.chat._open
