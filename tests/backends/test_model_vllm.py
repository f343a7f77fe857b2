"""The client of an OpenAI-compatible server, against a real one on the loopback interface: what it sends and reads."""

from __future__ import annotations

import json

import pytest
from tests.backends.chat_client import GOOD_DELTAS, REQUEST, answered, failed, model_at, run
from tests.backends.chat_server import DONE, GOOD, HEAD, SECRET, STARTED, Act, chunk, event, said, serving, status

from usher.backends.breaker import Breaker
from usher.ports import Delta, ModelRequest

pytestmark = pytest.mark.enable_socket  # to 127.0.0.1 only


def test_an_answer_streams_with_its_finish_reason_and_counts() -> None:
    """The request asks for a stream with usage, from the server's own model name."""

    async def test() -> None:
        async with serving([GOOD]) as server:
            model = model_at(server.url + "/v1/", api_key="k")
            assert await answered(model) == GOOD_DELTAS
            assert server.requests == [
                {
                    "model": "base",
                    "messages": [dict(message) for message in REQUEST.messages],
                    "max_tokens": 99,
                    "temperature": 0.0,
                    "stream": True,
                    "stream_options": {"include_usage": True},
                }
            ]
            assert server.heads[0].startswith("POST /v1/chat/completions ")
            assert "bearer k" in server.heads[0].lower()

    run(test)


def test_an_adapter_and_a_salt_are_sent_only_where_the_request_has_them() -> None:
    """They come from the route, never from a client."""

    async def test() -> None:
        async with serving([GOOD]) as server:
            request = ModelRequest((), "q", (), 5, adapter="legal-0a1b", cache_salt="s")
            await answered(model_at(server.url), request)
            assert (server.requests[0]["model"], server.requests[0]["cache_salt"]) == ("legal-0a1b", "s")

    run(test)


def test_bytes_cut_anywhere_give_the_same_answer() -> None:
    """Events split within lines, characters and JSON; comments, CRLF and other line separators in the text."""

    async def test() -> None:
        text = "caf\u00e9 \u2028 \x85 \U0001f600 end"
        raw = (
            b": hello\r\n\r\ndata: "
            + json.dumps(
                {"choices": [{"delta": {"content": text}, "finish_reason": "length"}]}, ensure_ascii=False
            ).encode()
            + b"\r\n\r\nevent: x\r\ndata: [DONE]\r\n\r\n"
        )
        script: list[Act] = [HEAD, *(chunk(raw[i : i + 1]) for i in range(len(raw))), b"0\r\n\r\n"]
        async with serving(script) as server:
            assert await answered(model_at(server.url)) == [Delta(text), Delta("", "length")]

    run(test)


@pytest.mark.parametrize(
    "script",
    [
        ["close"],
        [status(503)],
        [status(500)],
        [status(429)],
        [HEAD, "close"],
        [HEAD + said(""), "close"],
        [HEAD + DONE],
    ],
    ids=["reset", "503", "500", "429", "reset after head", "reset after role", "empty stream"],
)
def test_a_failure_before_the_first_text_is_tried_again(script: list[Act]) -> None:
    """Nobody notices but the server."""

    async def test() -> None:
        async with serving(script, script, [GOOD]) as server:
            assert await answered(model_at(server.url)) == GOOD_DELTAS
            assert len(server.requests) == 3

    run(test)


@pytest.mark.parametrize("code", [400, 401, 404, 301])
def test_a_request_that_the_server_rejects_is_not_repeated_and_does_not_open_the_circuit(code: int) -> None:
    """One question that is too long must not take the model from everybody."""

    async def test() -> None:
        breaker = Breaker(failures=1)
        async with serving([status(code)]) as server:
            error, _ = await failed(model_at(server.url, breaker=breaker))
            assert str(code) in str(error)
            assert (len(server.requests), breaker.open) == (1, False)

    run(test)


@pytest.mark.parametrize(
    "script",
    [
        [STARTED, "close"],
        [STARTED + b"0\r\n\r\n"],
        [STARTED + DONE],
        [STARTED, 2.0],
        [STARTED + event({"error": {"message": SECRET, "code": 500}})],
        [STARTED + chunk(b"data: {" + SECRET.encode() + b"\n\n")],
        [STARTED + chunk(b"data: 7\n\n")],
        [STARTED + event({"choices": 3})],
        [STARTED + said(3)],  # type: ignore[arg-type]  # what a broken server sends
        [STARTED + chunk(b"data: \xff\n\n")],
        [STARTED + chunk(b"data: " + b"x" * 600_000), chunk(b"x" * 600_000)],
        [STARTED + b"zz not a chunk\r\n"],
    ],
    ids=[
        *("reset", "eof", "done", "stall", "error", "not JSON", "not an object", "no choices", "not text"),
        *("not UTF-8", "huge", "bad chunk"),
    ],
)
def test_a_failure_after_the_first_text_is_reported_as_started_and_never_repeated(script: list[Act]) -> None:
    """What was shown cannot be taken back."""

    async def test() -> None:
        async with serving(script) as server:
            error, text = await failed(model_at(server.url))
            assert (error.started, text, len(server.requests)) == (True, "Hel", 1)

    run(test)


def test_an_answer_that_is_no_stream_is_refused() -> None:
    """A server that ignores `stream`, or a proxy's page."""

    async def test() -> None:
        async with serving([status(200)]) as server:
            error, _ = await failed(model_at(server.url))
            assert not error.started

    run(test)
