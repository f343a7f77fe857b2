"""A real server with open streams and sockets: how soon a revocation ends them, and what idle sockets cost."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from tests.backends.chat_server import HEAD, ChatServer, said
from websockets.asyncio.client import connect

from usher.data_folder import socket_address

USHER = Path(sys.executable).with_name("usher")
PEOPLE = 200
AT_ONCE = 20
"""Streams that are open together: a model's silence is borne for some seconds only."""
SOCKETS = 1_000
RULES = """\
p, role:staff, sys:chat, chat.ask, allow, always
p, role:staff, coll:docs, document.read, allow, always
g, group:staff, role:staff
"""
QUESTION = {"model": "assistant", "stream": True, "messages": [{"role": "user", "content": "What is the budget?"}]}


@dataclass
class Person:
    user: str
    key: str
    id: str


async def measured(folder: Path) -> dict[str, float]:
    """All figures that need a server."""
    async with silent_model() as model, AsyncExitStack() as stack:
        url, pid = stack.enter_context(server(folder, model))
        people = await _people(folder)
        half = PEOPLE // 2
        rounds = [people[start : start + AT_ONCE] for start in range(0, half, AT_ONCE)]
        streams = [ms for some in rounds for ms in await _ended(folder, some, lambda person: _stream(url, person))]
        sockets = await _ended(folder, people[half:], lambda person: _socket(url, person))
        idle = await _idle_sockets(url, pid)
        return {
            "revocation_stream_p50_ms": round(float(np.percentile(streams, 50)), 1),
            "revocation_stream_p99_ms": round(float(np.percentile(streams, 99)), 1),
            "revocation_socket_p99_ms": round(float(np.percentile(sockets, 99)), 1),
            "sockets_1000_kib_each": idle,
        }


@asynccontextmanager
async def silent_model() -> AsyncIterator[str]:
    """A model server that says some words and then nothing more."""
    model = ChatServer([[HEAD + said("The budget is four million euros, and "), 600.0]])
    listening = await asyncio.start_server(model.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    finally:
        for task in tuple(model._open):
            task.cancel()
        listening.close()


@contextmanager
def server(folder: Path, model: str) -> Iterator[tuple[str, int]]:
    """Its URL and process id."""
    (folder / "docs").mkdir()
    (folder / "docs" / "budget.md").write_text("# Budget\n\nThe budget of the year is four million euros.\n")
    (folder / "policy.csv").write_text(RULES)
    own = {"HOME": str(folder / "home"), "POLICY": str(folder / "policy.csv"), "PORT": "0", "MODEL_URL": model}
    environment = {**os.environ, **{f"USHER_{name}": value for name, value in own.items()}, "USHER_MODEL": "m"}
    ingest = [USHER, "ingest", str(folder / "docs"), "--collection", "docs"]
    subprocess.run(ingest, env=environment, check=True, capture_output=True)
    with subprocess.Popen([USHER, "serve", "--json"], env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"], process.pid
        finally:
            process.terminate()


async def _people(folder: Path) -> list[Person]:
    people = []
    async with operator(folder) as ask:
        for number in range(PEOPLE):
            user = f"person{number}"
            await ask("/operator/person", {"user": user, "groups": ["staff"]})
            made = await ask("/operator/key", {"user": user})
            people.append(Person(user, made["key"], made["id"]))
    return people


@asynccontextmanager
async def operator(folder: Path) -> AsyncIterator[Callable[[str, Any], Awaitable[Any]]]:
    """Requests over the operator's socket."""
    with socket_address(folder / "home" / "operator.sock") as address:
        transport = httpx.AsyncHTTPTransport(uds=address)
        async with httpx.AsyncClient(transport=transport, base_url="http://usher") as client:

            async def ask(path: str, body: Any) -> Any:
                return (await client.post(path, json=body)).raise_for_status().json()

            yield ask


async def _ended(folder: Path, people: list[Person], opened: Callable[[Person], Any]) -> list[float]:
    """Milliseconds from asking for a revocation to the end at the client, one after the other while all are open: keys,
    people and their groups by turns."""
    took: list[float] = []
    async with AsyncExitStack() as stack, operator(folder) as ask:
        endings = [await stack.enter_async_context(opened(person)) for person in people]
        await asyncio.sleep(1)
        for number, (person, ending) in enumerate(zip(people, endings, strict=True)):
            change: tuple[str, dict[str, Any]] = (
                ("/operator/key/revoke", {"id": person.id}),
                ("/operator/person/deactivate", {"user": person.user}),
                ("/operator/person/groups", {"user": person.user, "groups": []}),
            )[number % 3]
            began = time.perf_counter()
            changing = asyncio.create_task(ask(*change))
            ended = await asyncio.wait_for(ending, 10)
            took.append((ended - began) * 1000)
            await changing
            await asyncio.sleep(0.02)
    return took


@asynccontextmanager
async def _stream(url: str, person: Person) -> AsyncIterator[asyncio.Task[float]]:
    """An answer whose model is silent; the task gives the time of its error event."""
    headers = {"authorization": f"Bearer {person.key}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as client, AsyncExitStack() as stack:
        request = client.stream("POST", f"{url}/v1/chat/completions", json=QUESTION)
        lines = (await stack.enter_async_context(request)).aiter_lines()

        async def ending() -> float:
            async for line in lines:
                if '"error"' in line:
                    assert "model_unavailable" not in line
                    return time.perf_counter()
            raise AssertionError("the stream ended without an error")

        task = asyncio.create_task(ending())
        yield task
        task.cancel()


@asynccontextmanager
async def _socket(url: str, person: Person) -> AsyncIterator[asyncio.Task[float]]:
    """An idle socket; the task gives the time when it was closed."""
    async with connect(f"ws{url.removeprefix('http')}/ws/chat", compression=None) as socket:
        await socket.send(json.dumps({"type": "auth", "key": person.key}))
        assert json.loads(await socket.recv())["type"] == "ready"

        async def ending() -> float:
            await socket.wait_closed()
            return time.perf_counter()

        reading = asyncio.create_task(_drained(socket))
        yield asyncio.create_task(ending())
        reading.cancel()


async def _drained(socket: Any) -> None:
    async for _ in socket:
        pass


async def _idle_sockets(url: str, pid: int) -> float:
    """KiB of the server's memory for each of many sockets that were opened and say nothing."""
    address = urlsplit(url)
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET /ws/chat HTTP/1.1\r\nhost: {address.netloc}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n\r\n"
    )
    writers: list[asyncio.StreamWriter] = []

    async def open_one() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writers.append(writer)
        writer.write(head.encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")

    await open_one()
    before = _resident_kib(pid)
    for _ in range(SOCKETS // 50):
        await asyncio.gather(*(open_one() for _ in range(50)))
    after = _resident_kib(pid)
    async with httpx.AsyncClient() as client:  # others are served meanwhile
        (await client.get(f"{url}/health/live")).raise_for_status()
    for writer in writers:
        writer.close()
    return round((after - before) / SOCKETS, 1)


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
