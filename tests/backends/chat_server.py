"""A loopback server that speaks, or misspeaks, OpenAI's streaming chat: what it sends is scripted byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SECRET = "the-prompt-said-this"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(value: object) -> bytes:
    return chunk(b"data: " + json.dumps(value).encode() + b"\n\n")


def said(text: str | None, finish: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
DONE = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
STARTED = HEAD + said("Hel")
GOOD = HEAD + said("Hel") + said("lo") + said(None, "stop") + USAGE + DONE


def status(code: int) -> bytes:
    body = json.dumps({"error": {"message": SECRET}}).encode()
    return b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (code, len(body)) + body


Act = bytes | float | str
"""Bytes to send, seconds to wait, or `close` (a reset connection)."""


@dataclass
class ChatServer:
    """Answers the n-th request by the n-th script (the last one goes on for ever)."""

    scripts: list[list[Act]]
    requests: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    _open: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open[asyncio.current_task()] = writer  # type: ignore[index]  # a connection always runs in a task
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.set()
        finally:
            writer.close()

    async def close(self) -> None:
        """Drop every connection and wait for its task."""
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")
        )
        self.requests.append(json.loads(await reader.readexactly(length)))
        self.heads.append(head)
        self.asked.set()
        script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
        for act in script:
            if isinstance(act, bytes):
                writer.write(act)
                await writer.drain()
            elif isinstance(act, float):
                await self._wait(reader, act)
            else:
                writer.transport.abort()
                return False
        return True

    async def _wait(self, reader: asyncio.StreamReader, seconds: float) -> None:
        """Wait, and notice a client that leaves meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                if not await reader.read(1):
                    raise ConnectionResetError
        except TimeoutError:
            pass


@asynccontextmanager
async def serving(*scripts: list[Act]) -> AsyncIterator[ChatServer]:
    chat = ChatServer(list(scripts))
    server = await asyncio.start_server(chat.serve, "127.0.0.1", 0)
    chat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield chat
    finally:
        server.close()
        await chat.close()
