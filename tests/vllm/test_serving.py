"""A real vLLM comes to have what is published, and keeps answers, caches and names apart."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.vllm.kit import API_KEY, FACTS, QUESTIONS, TOKEN, Vllm, ask, names, said, vllm
from tests.web.adapter_kit import moved
from tests.web.chat_kit import streamed
from tests.web.serving_kit import with_weights
from tests.web.world import World, world

from usher.adapters.serving import Serving
from usher.backends.adapter_server_vllm import VllmServer
from usher.backends.model_vllm import OpenAIModel
from usher.core.adapters import Registered
from usher.ports import Delta, ModelRequest
from usher_lora.manifest import SERVED_FILES
from usher_lora.registry import Alarm, State

pytestmark = pytest.mark.loopback
ANSWERS = {name: [answer for _, answer in pairs] for name, pairs in FACTS.items()}
LONG = "Who opens " + "the east sluice and " * 60 + "?"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_published(usher: World) -> Iterator[None]:
    """What a test published is no longer, once it ends."""
    yield
    for one in usher.run(usher.services.adapters.store.all()):
        if one.serves:
            usher.run(moved(usher, one.id, State.QUARANTINED, Alarm.REPORTED))


@contextmanager
def converging(usher: World, server: Vllm, *, loads: bool = True, drain: float = 0.0) -> Iterator[Serving]:
    parts = usher.services.adapters
    port = VllmServer(server.url, TOKEN if loads else None, API_KEY)
    made = Serving([port], "base", parts.store, parts.upkeep, parts.weights, loads=loads, drain=drain)
    try:
        yield made
    finally:
        usher.run(made.close())


def publish(usher: World, models: Path, trained: str, name: str = "sluice", **changed: bytes) -> Registered:
    """An adapter as it was trained, published under a policy name."""
    held = {file: (models / trained / file).read_bytes() for file in SERVED_FILES}
    return usher.run(with_weights(usher, name, held | {f"adapter_{key}": value for key, value in changed.items()}))


def answers(server: Vllm, name: str) -> list[str]:
    with server.client() as client:
        return [said(ask(client, name, question)) for question in QUESTIONS]


def status(server: Vllm, name: str) -> int:
    with server.client() as client:
        body = {"model": name, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
        return client.post("/v1/chat/completions", json=body).status_code


def test_what_is_published_speaks_and_what_is_retired_is_not_there(usher: World, server: Vllm, models: Path) -> None:
    """Two trainings of one name stand side by side, each under its digest; a name once gone is never another's."""
    old, new = publish(usher, models, "sluice"), publish(usher, models, "valve")
    with converging(usher, server) as serving:
        usher.run(serving.converge())
        assert serving.served() == {old.name, new.name}
        assert answers(server, old.name) == ANSWERS["sluice"]
        assert answers(server, new.name) == ANSWERS["valve"]
        usher.run(moved(usher, old.id, State.RETIRED))
        usher.run(serving.converge())
        assert serving.served() == {new.name}
        assert status(server, old.name) == httpx.codes.NOT_FOUND
        assert answers(server, new.name) == ANSWERS["valve"]


def test_an_answer_that_runs_outlives_the_unloading(usher: World, server: Vllm, models: Path) -> None:
    """vLLM takes no new request for the name, and finishes those that it has."""
    one = publish(usher, models, "sluice")
    with converging(usher, server) as serving, server.client() as client:
        usher.run(serving.converge())
        body = {"model": one.name, "messages": [{"role": "user", "content": "?"}], "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body | {"max_tokens": 600, "min_tokens": 600}) as told:
            lines = told.iter_lines()
            next(lines)
            usher.run(moved(usher, one.id, State.RETIRED))
            usher.run(serving.converge())
            assert status(server, one.name) == httpx.codes.NOT_FOUND
            assert [line for line in lines if line][-1] == "data: [DONE]"


def test_what_it_cannot_serve_keeps_nothing_else_out(usher: World, server: Vllm, models: Path) -> None:
    """A rank above the server's, which the registry refuses first, is answered 500: half of a load is none."""
    config = (models / "sluice" / "adapter_config.json").read_bytes().replace(b'"r": 16', b'"r": 64')
    bad, good = publish(usher, models, "sluice", **{"config.json": config}), publish(usher, models, "valve", "valve")
    with converging(usher, server) as serving:
        usher.run(serving.converge())
        assert serving.served() == {good.name}
        assert serving.shown()[0].missing == (bad.name,)
        assert answers(server, good.name) == ANSWERS["valve"]


def test_other_weights_under_our_name_are_found(usher: World, server: Vllm, models: Path) -> None:
    """Whoever put them there: the adapter is quarantined, and the name is gone from the server."""
    one = publish(usher, models, "sluice")
    with server.client(token=True) as trusted:
        loaded = trusted.post("/v1/load_lora_adapter", json={"lora_name": one.name, "lora_path": str(models / "valve")})
        assert loaded.status_code == httpx.codes.OK
        with converging(usher, server) as serving:
            usher.run(serving.converge())
            assert serving.served() == frozenset()
        assert names(trusted) == ["base"]
    assert usher.events()[-1]["act"] == "quarantined"


def test_what_was_computed_for_one_is_no_shortcut_for_another(usher: World, server: Vllm, models: Path) -> None:
    """The cache is shared under one salt and one model, and under nothing else."""
    one, other = publish(usher, models, "sluice"), publish(usher, models, "valve", "valve")
    with converging(usher, server) as serving, server.client() as client:
        usher.run(serving.converge())

        def cached(name: str, salt: str) -> int:
            details = ask(client, name, LONG, cache_salt=salt, max_tokens=1)["usage"]["prompt_tokens_details"]
            return int((details or {}).get("cached_tokens") or 0)

        assert cached(one.name, "alice") == 0
        assert cached(one.name, "alice") > 300
        assert [cached(one.name, "bob"), cached(other.name, "alice"), cached("base", "alice")] == [0, 0, 0]
        assert cached("base", "alice") > 300
        named = {"model": "base", "messages": [{"role": "user", "content": LONG}], "cache_salt": one.name}
        assert client.post("/v1/chat/completions", json=named).status_code == httpx.codes.BAD_REQUEST


def test_no_request_fails_where_the_server_closes_idle_connections(server: Vllm) -> None:
    """After five seconds, to which a request comes a little before, at, and after."""

    async def asked(pause: float) -> list[Delta]:
        model = OpenAIModel(server.url, "base", API_KEY, retries=0)
        try:
            deltas = []
            for wait in (pause, 0):
                deltas = [delta async for delta in model.stream(request(8))]
                await asyncio.sleep(wait)
            return deltas
        finally:
            await model.close()

    async def test() -> None:
        pauses = [3.9, 4.0, 4.1, 4.8, 4.9, 4.95, 4.99, 5.0, 5.01, 5.05, 5.1, 5.5]
        for deltas in await asyncio.gather(*(asked(pause) for pause in pauses)):
            assert deltas[-1].completion_tokens

    asyncio.run(test())


def test_who_leaves_ends_the_generation(server: Vllm) -> None:
    """By the engine's own log: it made a few of the tokens that were asked for, and nothing runs."""
    idle(server, 0)
    mark = len(server.log)

    async def test() -> None:
        model = OpenAIModel(server.url, "base", API_KEY)
        async with aclosing(model.stream(request(1900))) as stream:  # type: ignore[type-var]  # a generator
            async for delta in stream:
                if delta.text:
                    break
        await model.close()

    asyncio.run(test())
    idle(server, mark)
    assert 0 < sum(server.throughput(mark)) < 950
    mark = len(server.log)
    with server.client() as client:  # where nobody leaves, all of them are made
        ask(client, "base", "Go on.", max_tokens=1900, min_tokens=1900)
    idle(server, mark)
    assert sum(server.throughput(mark)) > 1500


def idle(server: Vllm, mark: int) -> None:
    """Wait until its log says, after `mark`, that nothing runs and nothing was made of late."""
    end = time.monotonic() + 30
    while server.running() != 0 or server.throughput(mark)[-1:] != [0.0]:
        assert time.monotonic() < end
        time.sleep(0.05)


def request(tokens: int) -> ModelRequest:
    return ModelRequest(({"role": "user", "content": "Go on."},), question="Go on.", passages=(), max_tokens=tokens)


def test_its_list_of_models_is_nobodys_business(
    usher: World, server: Vllm, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """vLLM's names paths and adapters. Usher's has one name, and no client's text selects an adapter."""
    one = publish(usher, models, "sluice")
    model = OpenAIModel(server.url, "base", API_KEY)
    with converging(usher, server) as serving:
        usher.run(serving.converge())
        with server.client() as client:
            assert str(usher.folder) in client.get("/v1/models").text
        with world(tmp_path_factory.mktemp("outer"), model=model) as outer:
            listed = outer.ask("GET", "/v1/models")
            assert [each["id"] for each in listed.json()["data"]] == ["assistant"]
            assert not [told for told in (one.name, "/", "base") if told in listed.text.replace("application/json", "")]
            for name in (one.name, "base"):
                body = {"model": name, "messages": [{"role": "user", "content": QUESTIONS[0]}]}
                assert outer.ask("POST", "/v1/chat/completions", json=body).status_code == httpx.codes.NOT_FOUND
            assert outer.chat("How many days of holiday are there?").status_code == httpx.codes.OK
            outer.run(model.close())


def test_a_server_that_was_killed_has_everything_again(
    usher: World, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In the middle of an answer, which ends as one that was cut off. Down, nothing is routed to it; up again it has
    nothing, and a look later everything."""
    one, other = publish(usher, models, "sluice"), publish(usher, models, "valve", "valve")
    log = tmp_path_factory.mktemp("killed") / "log"
    with vllm(models, log) as first, converging(usher, first) as serving:
        usher.run(serving.converge())
        assert serving.served() == {one.name, other.name}
        killed_as_it_speaks(first, tmp_path_factory.mktemp("cut"))
        usher.run(serving.converge())
        assert (serving.served(), serving.up()) == (frozenset(), False)
        with vllm(models, log, port=int(first.url.rpartition(":")[2])) as again:
            with again.client() as client:
                assert names(client) == ["base"]
            usher.run(serving.converge())
            assert serving.served() == {one.name, other.name}
            assert answers(again, one.name) == ANSWERS["sluice"]


def killed_as_it_speaks(server: Vllm, folder: Path) -> None:
    """What the client got is recorded as all that there was, and both are told that it is not whole."""
    model = Held(server.url, "base", API_KEY)
    model.server = server
    with world(folder, model=model) as outer:
        got = outer.run(streamed(outer, on_text=lambda _: server.kill(), max_tokens=1000, temperature=0))
        assert got.text
        assert (got.done, (got.error or {}).get("code")) == (False, "model_unavailable")
        assert outer.events()[-1]["outcome"] == "model_unavailable"
        outer.run(model.close())


class Held(OpenAIModel):
    """Its server is held after some words, of which the first go out, so that it has more to say however long that
    takes."""

    server: Vllm

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        said = 0
        async for delta in super().stream(request):
            said += len(delta.text)
            if said > 200 and self.server.process.poll() is None:
                os.killpg(self.server.process.pid, signal.SIGSTOP)
            yield delta
