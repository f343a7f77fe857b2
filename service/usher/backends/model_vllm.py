"""Any server that speaks OpenAI's `/v1/chat/completions`: vLLM, or another."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

from usher.backends.answer_events import Cut, Failed, Progress, text_of
from usher.backends.breaker import Breaker
from usher.backends.http_line import IDLE, Body, LineTransport
from usher.backends.sse import Events
from usher.backends.token_estimate import estimate_tokens
from usher.ports import Delta, ModelRequest, ModelUnavailable

RETRY_PAUSE = 0.1
"""Seconds before the first repetition, at most; each further one waits up to four times as long."""

DRAIN = 0.1
"""Seconds that the end of a response may take after the end of its answer."""

_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `first`: until the first text; `read`: between two events after it; `total`: the whole answer, every
    attempt included."""

    connect: float = 2.0
    first: float = 30.0
    read: float = 15.0
    total: float = 120.0


class OpenAIModel:
    """Streams answers over HTTP.

    A request is sent again (at most `retries` times, after a growing, jittered pause) only while no text of the answer
    has come, and only after a lost connection or a status that says "later"; a server that is merely slow is not asked
    twice. While `breaker` is open every request fails at once. Closing the iterator closes the HTTP stream, which ends
    the generation. No error quotes what the server sent: its bodies may hold parts of the prompt.

    `model` is the server's name for the base model and comes from settings; `ModelRequest.adapter` names another that
    the server serves. Neither is ever a client's text.
    """

    def __init__(
        self,
        url: str,
        model: str,
        api_key: str | None = None,
        context_tokens: int = 8_192,
        timeouts: Timeouts | None = None,
        *,
        retries: int = 2,
        breaker: Breaker | None = None,
    ) -> None:
        """`url` is the server's base, with or without `/v1`."""
        self.name = model
        self.generative = True
        self.context_tokens = context_tokens
        self._url = httpx.URL(url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions")
        self._timeouts = timeouts or Timeouts()
        self._retries = retries
        self._breaker = breaker or Breaker()
        self._headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
        }
        self._transport = LineTransport(idle=IDLE, most_idle=64)

    @property
    def up(self) -> bool:
        """False while a request would be turned away here, since the server has failed repeatedly."""
        return self._breaker.admits(time.monotonic())

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    def count_tokens(self, text: str) -> int:
        """An estimate of what the server's tokenizer counts, meant to err upwards; see `estimate_tokens`."""
        return estimate_tokens(text)

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        """The answer, delta by delta; the last one has the finish reason and the server's token counts."""
        deadline = time.monotonic() + self._timeouts.total
        for attempt in range(self._retries + 1):
            if attempt:
                pause = RETRY_PAUSE * 4 ** (attempt - 1)
                await asyncio.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311 - jitter, no secret
            progress = Progress()
            try:
                async with aclosing(self._attempt(request, progress, deadline)) as deltas:
                    async for delta in deltas:
                        yield delta
                return
            except Failed as failure:
                if progress.started or not failure.again or attempt == self._retries:
                    raise ModelUnavailable(str(failure), started=progress.started) from None

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One attempt, as the breaker allows, and what it tells the breaker."""
        if not self._breaker.admit(time.monotonic()):
            raise Failed("The model server has failed repeatedly and is left alone for some seconds", blame=False)
        settled = False
        try:
            yield
            self._breaker.succeeded()
            settled = True
        except Failed as failure:
            if failure.blame:
                self._breaker.failed(time.monotonic())
                settled = True
            raise
        finally:
            if not settled:
                self._breaker.undecided()

    async def _attempt(self, request: ModelRequest, progress: Progress, deadline: float) -> AsyncGenerator[Delta, None]:
        with self._guarded():
            first = min(time.monotonic() + self._timeouts.first, deadline)
            body, events = await self._send(request, first), Events()
            try:
                while not progress.done:
                    limit = min(progress.heard + self._timeouts.read, deadline) if progress.started else first
                    part = await _part(body, limit, deadline, request.window.due)
                    text, failure = text_of(events, part, progress)
                    if text:
                        progress.started = True
                        yield Delta(text)
                    if failure is not None:
                        raise failure
                await _drained(body)
            except Cut:
                if progress.finish_reason is None:
                    raise
            finally:
                await body.aclose()
            yield progress.last()

    async def _send(self, request: ModelRequest, limit: float) -> Body:
        content = json.dumps(_body(request, self.name), ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
        waits = {"timeout": {"connect": self._timeouts.connect}}
        message = httpx.Request("POST", self._url, headers=self._headers, content=content, extensions=waits)
        try:
            async with asyncio.timeout_at(_loop_time(limit)):
                response = await self._transport.handle_async_request(message)
        except TimeoutError:
            raise Failed("The model server did not answer in time") from None
        except httpx.HTTPError as error:
            raise Failed(f"The model server cannot be reached ({type(error).__name__})", again=True) from None
        body = response.stream
        assert isinstance(body, Body)  # noqa: S101  # the transport's
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code == httpx.codes.OK and kind == "text/event-stream":
            return body
        await body.aclose()
        raise _refused(response.status_code)


async def _part(body: Body, limit: float, deadline: float, due: float) -> bytes:
    """What comes next of a response, by `limit`, gathered until it is `due`; a server that never pauses is cut off at
    the `deadline`."""
    try:
        part = await body.part(_loop_time(limit), _loop_time(due)) if time.monotonic() < deadline else b""
    except httpx.TimeoutException:
        raise Cut("The model server stopped answering") from None
    except httpx.HTTPError as error:
        raise Cut(f"The connection to the model server was lost ({type(error).__name__})", again=True) from None
    if not part and time.monotonic() >= deadline:
        raise Cut("The model server stopped answering")
    if not part:
        raise Cut("The model server ended its stream before the answer's end", again=True)
    return part


async def _drained(body: Body) -> None:
    """Read to the end of the response, if that is at hand: only then can its connection serve again."""
    until = asyncio.get_running_loop().time() + DRAIN
    with suppress(httpx.HTTPError):
        while await body.part(until):
            pass


def _loop_time(limit: float) -> float:
    """`limit`, a time of `time.monotonic`, on the running loop's clock."""
    return asyncio.get_running_loop().time() + limit - time.monotonic()


def _refused(status: int) -> Failed:
    if status == httpx.codes.OK:
        return Failed("The model server did not answer with a stream of events")
    later = status in _LATER
    return Failed(f"The model server refused the request with status {status}", again=later, blame=later)


def _body(request: ModelRequest, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.adapter or model,
        "messages": [dict(message) for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return body | ({"cache_salt": request.cache_salt} if request.cache_salt else {})
