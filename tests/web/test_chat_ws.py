"""Questions and answers over `/ws/chat`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.web.chat_kit import ScriptedModel
from tests.web.world import World, world
from tests.web.ws_kit import chatting


@pytest.fixture(scope="module")
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("ws"), model=model) as made:
        yield made


@pytest.fixture(autouse=True)
def _says(model: ScriptedModel) -> None:
    model.steps = ["Every employee has ", 0.06, "28 days [1]."]


def test_an_answer_comes_in_its_frames(usher: World) -> None:
    """Route, sources, deltas in order, and one end with citations, as the record has it."""

    async def talk() -> None:
        async with chatting(usher) as client:
            client.ask()
            done = await client.end()
            kinds = [frame["type"] for frame in client.got]
            assert kinds[:3] == ["ready", "route", "sources"]
            assert set(kinds[3:-1]) == {"delta"}
            route, sources = client.got[1:3]
            assert [frame["seq"] for frame in client.deltas()] == list(range(1, len(client.deltas()) + 1))
            assert client.said() == usher.recorded(route["audit_id"]) == "Every employee has 28 days [1]."
            assert (done["outcome"], done["finish_reason"]) == ("answered", "stop")
            assert [c["n"] for c in done["citations"]] == [1]
            assert done["citations"][0] in sources["sources"]
            assert done["usage"] == {"prompt_tokens": 70, "completion_tokens": 20, "total_tokens": 90}

    usher.run(talk())
