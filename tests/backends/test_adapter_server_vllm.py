"""What a model server says of its adapters: read strictly, bounded, and never passed on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from usher.backends.adapter_server_vllm import MOST_BYTES, VllmServer
from usher.ports.adapter_server import Loaded, ServerFailed

Act = Callable[[VllmServer], Awaitable[object]]
SECRET = "/srv/secret/place"
CARDS = [{"id": "base", "root": SECRET, "parent": None}, {"id": "a@1", "root": "/adapters/1", "parent": "base"}]


def server(answer: Callable[[httpx.Request], httpx.Response]) -> VllmServer:
    made = httpx.MockTransport(answer)
    return VllmServer("http://vllm/v1", "token", "key", transport=made, list_s=0.1, load_s=0.1)


def listing(data: object) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(200, content=data if isinstance(data, bytes) else json.dumps(data).encode())


def failed(made: VllmServer, act: Act) -> str:
    async def test() -> str:
        with pytest.raises(ServerFailed) as raised:
            await act(made)
        await made.close()
        return str(raised.value)

    return asyncio.run(test())


def test_a_base_model_is_one_without_a_parent() -> None:
    """The rest are adapters, with the path that each was read from."""
    told = asyncio.run(server(listing({"data": CARDS})).loaded())
    assert told == Loaded(frozenset({"base"}), {"a@1": "/adapters/1"})


BAD = {
    "no JSON": b"<html>",
    "no bytes of a text": b"\xff\xfe",
    "depth": b"[" * 100_000,
    "a list": [],
    "no data": {"data": None},
    "a card that is none": {"data": ["base"]},
    "a card without a name": {"data": [{"root": "/x"}]},
    "a name that is none": {"data": [{"id": 7}]},
    "too much": b" " * (MOST_BYTES + 1),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_another_form_is_a_failure(data: object) -> None:
    """Nothing is guessed of what it has."""
    failed(server(listing(data)), VllmServer.loaded)


ACTS: dict[str, Act] = {
    "list": VllmServer.loaded,
    "load": lambda one: one.load("a@1", Path("/adapters/1")),
    "unload": lambda one: one.unload("a@1"),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("status", [400, 401, 404, 500, 302])
def test_a_refusal_tells_the_status_only(act: Act, status: int) -> None:
    """Its words may name paths; a redirection is not followed."""
    answer = httpx.Response(status, text=SECRET, headers={"location": "http://elsewhere/"})
    assert failed(server(lambda _: answer), act) == f"answered {status}"


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_silence_ends(act: Act) -> None:
    """Each call takes a bounded time; a lost connection is a failure like any other."""

    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
            await asyncio.sleep(30)
            raise AssertionError

    made = VllmServer("http://vllm", "token", transport=Silent(), list_s=0.02, load_s=0.02)
    assert failed(made, act) == "did not answer within 0.02 s"

    def lost(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(SECRET)

    assert failed(server(lost), act) == "cannot be reached (ReadError)"


def test_only_what_loads_carries_the_second_token() -> None:
    """And each request goes to exactly the path that the guard leaves open."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"data": CARDS})

    async def test() -> None:
        made = server(answer)
        for act in ACTS.values():
            await act(made)

    asyncio.run(test())
    assert [request.url.raw_path for request in seen] == [
        b"/v1/models",
        b"/v1/load_lora_adapter",
        b"/v1/unload_lora_adapter",
    ]
    assert ["x-usher-load-token" in request.headers for request in seen] == [False, True, True]
    assert {request.headers["authorization"] for request in seen} == {"Bearer key"}
    assert json.loads(seen[1].content) == {"lora_name": "a@1", "lora_path": "/adapters/1"}
