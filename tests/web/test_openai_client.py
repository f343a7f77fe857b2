"""The real `openai` client against a real server on this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from tests.web.chat_kit import PATH, QUESTION, FailingLog, ScriptedModel, Step
from tests.web.world import World, world

from usher.ports import ModelUnavailable
from usher.server import Listener, public_config

pytestmark = [pytest.mark.slow, pytest.mark.loopback]

MODEL = ScriptedModel()
ANSWER = "It is twenty-eight days in a year. [1]"
Work = Callable[[openai.AsyncOpenAI], Awaitable[None]]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("client"), model=MODEL, log=FailingLog) as made:
        yield made


@asynccontextmanager
async def served(usher: World) -> AsyncIterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        listener = Listener(public_config(usher.app, usher.services.settings))
        task = await listener.begin(sock)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            listener.should_exit = True
            await task


def using(usher: World, work: Work, *steps: Step, who: str | None = "bob", **options: Any) -> None:
    """Do something with the client of somebody."""
    MODEL.steps = steps or (ANSWER,)
    key = "usher-none" if who is None else usher.keys[who]

    async def done() -> None:
        async with (
            asyncio.timeout(30),
            served(usher) as url,
            openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, **({"max_retries": 0} | options)) as client,
        ):
            await work(client)

    usher.run(done())


def ask(client: openai.AsyncOpenAI, **more: Any) -> Any:
    given: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": QUESTION}], **more}
    return client.chat.completions.create(**given)


def test_an_answer(usher: World) -> None:
    """Typed as OpenAI's, with `usher` as an extra member."""

    async def work(client: openai.AsyncOpenAI) -> None:
        answer = await ask(client)
        assert answer.choices[0].message.content == ANSWER
        assert answer.choices[0].finish_reason == "stop"
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (70, 20)
        assert answer.usher["citations"][0]["path"] == "handbook/holidays.md"
        assert usher.recorded(answer.usher["audit_id"]) == ANSWER

    using(usher, work)


def test_a_stream(usher: World) -> None:
    """Deltas, then usage, with `usher` on the last chunk."""

    async def work(client: openai.AsyncOpenAI) -> None:
        stream = await ask(client, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == "One. Two. Three."
        assert chunks[-1].usage.total_tokens == 90
        assert [chunk.id for chunk in chunks if hasattr(chunk, "usher")] == [chunks[-1].id]
        assert chunks[-1].usher["route"]["kind"] == "retrieve"

    using(usher, work, "One. ", 0.06, "Two. ", 0.06, "Three.")


def test_the_clients_own_helper_for_streams(usher: World) -> None:
    """It puts the answer together by itself."""

    async def work(client: openai.AsyncOpenAI) -> None:
        turns: Any = [{"role": "user", "content": QUESTION}]
        async with client.chat.completions.stream(model="assistant", messages=turns) as stream:
            async for _ in stream:
                pass
            assert (await stream.get_final_completion()).choices[0].message.content == ANSWER

    using(usher, work)


def test_the_models(usher: World) -> None:
    """One."""

    async def work(client: openai.AsyncOpenAI) -> None:
        assert [model.id async for model in client.models.list()] == ["assistant"]

    using(usher, work)


ERRORS: dict[str, tuple[type[openai.APIStatusError], str | None, str | None, dict[str, Any]]] = {
    "no key": (openai.AuthenticationError, "invalid_api_key", None, {}),
    "no right": (openai.PermissionDeniedError, "chat_not_allowed", "erin", {}),
    "no such model": (openai.NotFoundError, "model_not_found", "bob", {"model": "gpt-4"}),
    "two answers": (openai.BadRequestError, "invalid_value", "bob", {"n": 2}),
    "no question": (openai.BadRequestError, "invalid_value", "bob", {"messages": []}),
    "too large": (openai.APIStatusError, "request_too_large", "bob", {"extra_body": {"x": "x" * (1 << 20)}}),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_their_classes(usher: World, name: str, stream: bool) -> None:
    """Before a stream they are real status codes; a denial is not tried again."""
    kind, code, who, fields = ERRORS[name]

    async def work(client: openai.AsyncOpenAI) -> None:
        with pytest.raises(kind) as caught:
            await ask(client, stream=stream, **fields)
        assert caught.value.code == code
        refused = caught.value.status_code in (401, 403)
        assert (caught.value.response.headers.get("x-should-retry") == "false") == refused

    using(usher, work, who=who)


def test_what_passes_is_tried_again_by_the_client_and_a_denial_is_not(usher: World) -> None:
    """503 says when; 403 says never."""

    async def down(client: openai.AsyncOpenAI) -> None:
        before = len(MODEL.requests)
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(client, extra_headers={"x-stainless-read-timeout": "1"})
        assert caught.value.response.headers["retry-after"] == "5"
        assert len(MODEL.requests) == before + 1

    async def denied(client: openai.AsyncOpenAI) -> None:
        before = len(usher.events())
        with pytest.raises(openai.PermissionDeniedError):
            await ask(client)
        assert len(usher.events()) == before + 3

    using(usher, down, ModelUnavailable("down"))
    using(usher, denied, who="erin", max_retries=3)


def test_an_error_inside_a_stream_is_raised(usher: World) -> None:
    """After the text that came before it."""

    async def work(client: openai.AsyncOpenAI) -> None:
        texts: list[str] = []
        with pytest.raises(openai.APIError) as caught:
            await _read_all(client, texts)
        assert "A beginning" in "".join(texts)
        assert caught.value.code == "model_unavailable"

    using(usher, work, "A beginning that is shown. ", 0.06, ModelUnavailable("gone", started=True))


async def _ended(usher: World) -> dict[str, Any]:
    """The newest exchange's end, once it is recorded."""
    async with asyncio.timeout(5):
        while (last := usher.newest()[-1])["type"] != "answer":  # noqa: ASYNC110  # it is a file that is watched
            await asyncio.sleep(0.02)
    return last


def test_a_client_that_closes_a_stream_is_noticed(usher: World) -> None:
    """The generation is aborted; the record holds at least what was shown."""

    async def work(client: openai.AsyncOpenAI) -> None:
        stream = await ask(client, stream=True)
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            if len(text) > 5:
                break
        await stream.close()
        ended = await _ended(usher)
        assert ended["outcome"] == "cancelled"
        assert usher.recorded(ended["audit_id"]).startswith(text)
        assert MODEL.aborted

    using(usher, work, "Some words that were shown. ", 0.06, "More of them. ", 30.0, "Never said.")


def test_a_client_that_gives_up_on_a_whole_answer_is_noticed_too(usher: World) -> None:
    """Nobody waits for the JSON: the generation is aborted, and the record says so."""

    async def work(client: openai.AsyncOpenAI) -> None:
        before = len(MODEL.requests)
        asking = asyncio.create_task(ask(client))
        await asyncio.sleep(0.3)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert (await _ended(usher))["outcome"] == "cancelled"
        assert (len(MODEL.requests), MODEL.aborted) == (before + 1, True)

    using(usher, work, "Some words. ", 0.06, "More. ", 30.0, "Never said.")


@pytest.mark.parametrize("wait", [0.0, 0.001, 0.005, 0.02, 0.05])
def test_a_client_that_drops_its_connection_at_any_time_leaves_a_closed_exchange(usher: World, wait: float) -> None:
    """Also before the first byte of the answer: whatever was begun is ended in the record."""

    async def work(client: openai.AsyncOpenAI) -> None:
        before = len([event for event in usher.events() if event["type"] == "request"])
        asking = asyncio.create_task(_read_all(client, []))
        await asyncio.sleep(wait)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.5)
        requests = [event["audit_id"] for event in usher.events() if event["type"] == "request"]
        for audit_id in requests[before:]:
            assert usher.events(audit_id)[-1]["outcome"] in ("cancelled", "answered")

    using(usher, work, "Some words. ", 0.03, "More. ", 0.03, "The end.")


async def _read_all(client: openai.AsyncOpenAI, texts: list[str]) -> None:
    async for chunk in await ask(client, stream=True):
        texts += [choice.delta.content or "" for choice in chunk.choices]


def test_a_client_that_does_not_read_is_noticed_when_it_goes(usher: World) -> None:
    """Its exchange waits for it, and ends as cancelled with its connection."""

    async def work(client: openai.AsyncOpenAI) -> None:
        async with httpx.AsyncClient() as raw:
            body = {"model": "assistant", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
            url = f"{str(client.base_url).removesuffix('/v1/')}{PATH}"
            async with raw.stream("POST", url, json=body, headers=usher.bearer("bob")) as response:
                assert response.status_code == 200
                await asyncio.sleep(0.3)
        assert (await _ended(usher))["outcome"] == "cancelled"

    using(usher, work, *[step for _ in range(30) for step in ("words " * 50_000, 0.051)], 10.0)


def test_bodies_over_the_limit_get_their_413_over_a_real_connection(usher: World) -> None:
    """With a length and in chunks, and the server goes on."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    async def work(client: openai.AsyncOpenAI) -> None:
        root = str(client.base_url).removesuffix("/v1/")
        for path in (PATH, "/api/search"):
            for content in (b" " * (2 << 20), chunks()):
                async with httpx.AsyncClient() as raw:
                    response = await raw.post(root + path, content=content, headers=usher.bearer("bob"))
                assert response.status_code == 413
                assert ("error" in response.json()) == path.startswith("/v1/")
        assert (await ask(client)).choices[0].message.content == ANSWER

    using(usher, work)
