"""A model server for the gateway's bench: it answers every question with the same fifty tokens, at an even pace.

    python gateway_upstream.py      (prints its port)

`PUT /pace?seconds=0.01&leading=0` sets the pause between two tokens, and whether a token begins with its space, as
those of a byte-pair vocabulary do, or ends with it. `GET /health` and `GET /v1/models` answer; adapters that are loaded
are listed.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import uvloop

BASE = "tiny-llama"
TOKENS = 50
PACE = 0.01
"""Seconds between two tokens: a hundred tokens a second for each stream."""
_WORDS = re.findall(r"\w+", "The budget of the year is four million euros and it is spent on people and on tools")
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Model:
    """What all connections share."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}
        self.set_pace(PACE, leading=False)

    def set_pace(self, seconds: float, *, leading: bool) -> None:
        self.pace = seconds
        words = [_WORDS[n % len(_WORDS)] for n in range(TOKENS)]
        texts = [" " * (n > 0) + word if leading else word + " " for n, word in enumerate(words)]
        self.tokens = [_chunk({"index": 0, "delta": {"content": text}, "finish_reason": None}) for text in texts]

    def models(self) -> dict[str, Any]:
        base = {"id": BASE, "object": "model", "root": BASE, "parent": None}
        more = [{"id": name, "object": "model", "root": root, "parent": BASE} for name, root in self.loaded.items()]
        return {"object": "list", "data": [base, *more]}


def _chunk(choice: dict[str, Any] | None, **more: Any) -> bytes:
    event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": BASE}
    return _event(json.dumps({**event, "choices": [] if choice is None else [choice], **more}).encode())


def _event(data: bytes) -> bytes:
    line = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(line), line)


_BEGIN = _chunk({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})
_END = _chunk({"index": 0, "delta": {}, "finish_reason": "stop"})
_USAGE = _chunk(None, usage={"prompt_tokens": 100, "completion_tokens": TOKENS, "total_tokens": 100 + TOKENS})
_DONE = _event(b"[DONE]") + b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client; its requests come one after the other."""

    def __init__(self, model: Model) -> None:
        self._model, self._held = model, b""
        self._next: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, end, rest = self._held.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(fields.get("content-length", 0))
        if end and len(rest) >= length:
            self._held = rest[length:]
            method, target, _ = lines[0].split(" ")
            self._answer(method, target, rest[:length])

    def _answer(self, method: str, target: str, body: bytes) -> None:
        url = urlsplit(target)
        if url.path == "/v1/chat/completions":
            self._stream(usage=b"include_usage" in body)
        elif url.path == "/pace":
            given = parse_qs(url.query)
            self._model.set_pace(float(given["seconds"][0]), leading=given["leading"][0] == "1")
            self._json({})
        elif url.path == "/v1/models":
            self._json(self._model.models())
        elif url.path.startswith("/v1/") and method == "POST":
            given = json.loads(body)
            if url.path == "/v1/load_lora_adapter":
                self._model.loaded[given["lora_name"]] = given["lora_path"]
            else:
                self._model.loaded.pop(given["lora_name"], None)
            self._json({})
        else:
            self._json({})

    def _json(self, body: Any) -> None:
        data = json.dumps(body).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._out.write(head % len(data) + data)

    def _stream(self, *, usage: bool) -> None:
        """The first token at once; each further one when it is due, however late the one before was."""
        tokens, pace, began = self._model.tokens, self._model.pace, self._loop.time()
        self._out.write(_HEAD + _BEGIN + tokens[0])

        def send(n: int) -> None:
            if n == TOKENS:
                self._out.write(_END + _USAGE * usage + _DONE)
                return
            self._out.write(tokens[n])
            self._next = self._loop.call_at(began + (n + 1) * pace, send, n + 1)

        self._next = self._loop.call_at(began + pace, send, 1)


async def main() -> None:
    model = Model()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(model), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
