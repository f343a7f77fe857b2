"""What the tests of chat share: a model that says what a test tells it, a client that looks at each event as it comes,
and a ledger's storage that fails on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.web.world import World

from usher.backends.ledger_sql import SqlLog
from usher.ledger.log import Batch, LogFailed
from usher.ports import Delta, ModelRequest

PATH = "/v1/chat/completions"
QUESTION = "How many days of holiday has an employee?"

Act = Callable[[], Awaitable[object]]
Step = str | float | Exception | Act
"""Say this, wait so many seconds, fail, or do this."""


class ScriptedModel:
    """The `Model` port, by a script."""

    name = "scripted"
    generative = False
    context_tokens = 8192

    def __init__(self, *steps: Step) -> None:
        self.steps: Sequence[Step] = steps
        self.requests: list[ModelRequest] = []
        self.aborted = False

    def count_tokens(self, text: str) -> int:
        return len(text) // 4

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        self.requests.append(request)
        self.aborted = True
        for step in self.steps:
            if isinstance(step, str):
                yield Delta(step)
            elif isinstance(step, Exception):
                raise step
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await step()
        yield Delta(finish_reason="stop", prompt_tokens=70, completion_tokens=20)
        self.aborted = False

    async def close(self) -> None: ...


class FailingLog(SqlLog):
    """The ledger's storage on a disk that can be filled."""

    full = False

    def __init__(self, path: Path) -> None:
        super().__init__(path, 0)

    def commit(self, batch: Batch) -> None:
        self.check()
        super().commit(batch)

    def check(self) -> None:
        if self.full:
            raise LogFailed("its disk is full")
        super().check()


@dataclass
class Streamed:
    """An answer as its client got it: the `data:` of each event, and the text so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    text: str = ""
    pings: int = 0

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    @property
    def error(self) -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", self.chunks[-1].get("error"))

    @property
    def done(self) -> bool:
        return self.events[-1:] == ["[DONE]"]


OnText = Callable[[str], None]


async def streamed(
    world: World,
    who: str = "bob",
    on_text: OnText | None = None,
    leave_after: int | None = None,
    **more: Any,
) -> Streamed:
    """Ask for a stream. `on_text` is called with all the text so far before each event with text counts as received;
    the client leaves once it has `leave_after` characters."""
    got, gone = Streamed(), asyncio.Event()
    question = [{"role": "user", "content": QUESTION}]
    body = json.dumps({"model": "assistant", "stream": True, "messages": question, **more}).encode()
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            got.status = message["status"]
            got.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        for event in filter(None, message.get("body", b"").decode().split("\n\n")):
            if event.startswith(":"):
                got.pings += 1
            else:
                _take(got, event.removeprefix("data: "), on_text)
        whole = not message.get("more_body", False)
        if whole or (leave_after is not None and len(got.text) >= leave_after):
            gone.set()

    await cast(Any, world.app)(chat_scope(world.bearer(who)), receive, send)
    return got


def _take(got: Streamed, event: str, on_text: OnText | None) -> None:
    if event != "[DONE]" and got.status == 200:
        choices = json.loads(event).get("choices") or [{}]
        text = choices[0].get("delta", {}).get("content") or ""
        if text and on_text:
            on_text(got.text + text)
        got.text += text
    got.events.append(event)


def chat_scope(headers: dict[str, str]) -> dict[str, Any]:
    """An ASGI request of chat, with these headers."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"usher"), *((name.encode(), value.encode()) for name, value in headers.items())],
        "server": ("usher", 80),
        "client": ("127.0.0.1", 1),
    }
