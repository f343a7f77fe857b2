"""The client of an OpenAI-compatible server: time limits, lost connections, cancelled answers, the circuit breaker."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import pytest
from tests.backends.chat_client import GOOD_DELTAS, REQUEST, answered, failed, model_at, run
from tests.backends.chat_server import DONE, GOOD, HEAD, STARTED, USAGE, Act, said, serving, status

from usher.backends.breaker import Breaker
from usher.backends.model_vllm import Timeouts
from usher.ports import Delta, Window

pytestmark = pytest.mark.enable_socket  # to 127.0.0.1 only


def test_retries_are_bounded() -> None:
    """Then the model is unavailable, and nothing had started."""

    async def test() -> None:
        async with serving([status(503)]) as server:
            error, text = await failed(model_at(server.url))
            assert (error.started, text, len(server.requests)) == (False, "", 3)

    run(test)


def test_a_complete_answer_survives_what_fails_after_it() -> None:
    """Once the finish reason came, only the token counts can be lost."""

    async def test() -> None:
        end = HEAD + said("Hi", "stop")
        async with serving([end, "close"], [end, 2.0], [end + USAGE + b"0\r\n\r\n"]) as server:
            model = model_at(server.url)
            assert await answered(model) == [Delta("Hi"), Delta("", "stop")]
            assert await answered(model) == [Delta("Hi"), Delta("", "stop")]
            assert await answered(model) == [Delta("Hi"), Delta("", "stop", 7, 2)]

    run(test)


def dripping(piece: bytes) -> list[Act]:
    """A hundred events, one every 50 ms."""
    return [HEAD, *(act for _ in range(100) for act in (piece, 0.05))]


@pytest.mark.slow  # waits
def test_a_slow_server_is_not_asked_twice() -> None:
    """No head, or no text, within the limit: unavailable after one request."""

    async def test() -> None:
        scripts: list[list[Act]] = [[2.0], [HEAD, 2.0], dripping(said(""))]
        for script in scripts:
            async with serving(script) as server:
                error, _ = await failed(model_at(server.url))
                assert (error.started, len(server.requests)) == (False, 1)

    run(test)


@pytest.mark.slow  # waits
def test_the_whole_answer_has_a_limit() -> None:
    """A server that drips for ever is cut off."""

    async def test() -> None:
        async with serving(dripping(said("x"))) as server:
            error, text = await failed(model_at(server.url, timeouts=Timeouts(1, 1, 1, total=0.4)))
            assert error.started
            assert 1 < len(text) < 12

    run(test)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    """Connection refused, on every try."""

    async def test() -> None:
        async with serving([GOOD]) as server:
            url = server.url
        error, _ = await failed(model_at(url))
        assert not error.started

    run(test)


def test_closing_the_iterator_ends_the_generation() -> None:
    """The server sees the connection close while it is generating."""

    async def test() -> None:
        async with serving([STARTED, 10.0]) as server:
            async with aclosing(model_at(server.url).stream(REQUEST)) as stream:  # type: ignore[type-var]  # a generator
                assert await anext(stream) == Delta("Hel")
            async with asyncio.timeout(2):
                await server.lost.wait()

    run(test)


def test_cancelling_the_reader_ends_the_generation() -> None:
    """A client that leaves arrives as cancellation; it says nothing about the server."""

    async def test() -> None:
        breaker = Breaker(failures=1)
        async with serving([STARTED, 10.0]) as server:
            slow = Timeouts(1, 5, 5, 9)
            task = asyncio.create_task(answered(model_at(server.url, breaker=breaker, timeouts=slow)))
            await server.asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(2):
                await server.lost.wait()
            assert not breaker.open

    run(test)


def test_a_connection_that_the_server_closed_while_idle_fails_no_request() -> None:
    """Kept connections are reused, and a dead one costs nothing but a new one."""

    async def test() -> None:
        async with serving([GOOD], [GOOD, "close"], [GOOD]) as server:
            model = model_at(server.url)
            for _ in range(2):
                assert await answered(model) == GOOD_DELTAS
            assert server.connections == 1
            await asyncio.sleep(0.05)
            assert await answered(model) == GOOD_DELTAS
            assert server.connections == 2

    run(test)


def test_a_kept_connection_that_is_reset_before_the_first_byte_is_asked_anew_once() -> None:
    """As a server closes what waited too long, just when it is used again: no pause, and nothing against the server.
    A new connection that is reset is a failure as any."""

    async def test() -> None:
        breaker = Breaker(failures=1)
        async with serving([GOOD], ["close"], [GOOD], ["close"], ["close"]) as server:
            model = model_at(server.url, breaker=breaker, retries=0)
            assert [await answered(model) for _ in range(2)] == [GOOD_DELTAS, GOOD_DELTAS]
            assert (len(server.requests), server.connections, breaker.open) == (3, 2, False)
            await failed(model)
            assert (len(server.requests), server.connections, breaker.open) == (5, 3, True)
            assert not model.up

    run(test)


def test_a_kept_connection_that_breaks_after_the_first_byte_is_not_asked_anew() -> None:
    """The server has begun to answer: that this connection was old is no reason."""

    async def test() -> None:
        async with serving([GOOD], [HEAD[:20], 0.05, "close"], [GOOD]) as server:
            model = model_at(server.url, retries=0)
            assert await answered(model) == GOOD_DELTAS
            await failed(model)
            assert len(server.requests) == 2

    run(test)


@pytest.mark.slow  # waits
def test_the_circuit_opens_turns_away_at_once_and_closes_after_a_good_probe() -> None:
    """A dead server costs its callers nothing, and comes back by itself."""

    async def test() -> None:
        breaker = Breaker(failures=3, pause=0.2)
        async with serving([status(503)], [status(503)], [status(503)], [GOOD]) as server:
            model = model_at(server.url, breaker=breaker)
            await failed(model)
            assert breaker.open
            error, _ = await failed(model)
            assert len(server.requests) == 3
            assert "left alone" in str(error)
            await asyncio.sleep(0.25)
            assert await answered(model) == GOOD_DELTAS
            assert not breaker.open

    run(test)


@pytest.mark.slow  # waits
def test_what_comes_within_a_window_is_given_at_its_end_and_the_end_at_once() -> None:
    """The first text waits for nothing; nobody is woken for each token after it."""

    async def test() -> None:
        script: list[Act] = [HEAD, *(act for _ in range(10) for act in (said("x"), 0.02)), said(None, "stop") + DONE]
        async with serving(script) as server:
            request, parts, began = replace(REQUEST, window=Window()), list[str](), time.monotonic()
            async for delta in model_at(server.url).stream(request):
                parts.append(delta.text)
                request.window.due = began + 0.11 if len(parts) < 2 else began + 3.0
            assert parts[0] == "x"
            assert 3 <= len(parts[1]) <= 6
            assert "".join(parts) == "x" * 10
            assert len(parts) == 4
            assert time.monotonic() - began < 2.0

    run(test)
