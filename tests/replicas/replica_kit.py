"""Several real servers over one PostgreSQL and one `usher store`: started, stopped, paused, and watched under load."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import httpx
from tests.backends.chat_server import HEAD, ChatServer, said
from tests.crash import pg_server
from tests.graph_kit import lend

from usher.data_folder import socket_address

USHER = str(Path(sys.executable).with_name("usher"))
SHUT = "p, group:staff, sys:chat, chat.ask, allow, always\n"
OPEN = SHUT + "p, group:staff, coll:docs, document.read, allow, always\n"
PATIENCE = 30.0
STREAM = {"model": "assistant", "stream": True, "messages": [{"role": "user", "content": "What is the budget?"}]}


@dataclass
class Replica:
    """One server: its process, and a client that asks it as alice."""

    home: Path
    process: subprocess.Popen[str]
    url: str
    client: httpx.AsyncClient = field(init=False)

    def sees(self, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"}
        self.client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE)

    async def hits(self, **headers: str) -> int | None:
        """How many passages a search finds; None where it is not answered."""
        return _count(await self.client.get("/api/search", params={"q": "budget", "k": 5}, headers=headers), "hits")

    async def listed(self, **headers: str) -> int | None:
        """How many documents a list has; None where it is not answered."""
        return _count(await self.client.get("/api/documents", headers=headers), "documents")

    async def ready(self) -> dict[str, str] | None:
        """What is not well, by part; empty if all is. None where it does not answer within a second."""
        try:
            told = (await self.client.get("/health/ready", timeout=3)).json()
        except httpx.HTTPError:
            return None
        parts = {name: state for name, state in told["parts"].items() if state != "ok"}
        if told["status"] == "ok":
            return {}  # what nothing waits for may be told beside
        return parts

    async def operator(self, path: str, body: Any) -> Any:
        """What its operator asks of it."""
        with socket_address(self.home / "operator.sock") as address:
            transport = httpx.AsyncHTTPTransport(uds=address)
            async with httpx.AsyncClient(transport=transport, base_url="http://usher", timeout=PATIENCE) as client:
                return (await client.post(path, json=body)).raise_for_status().json()

    async def apply(self, rules: str) -> int:
        """A policy, by its operator; the version."""
        body = {"rules_text": rules, "documents": {}, "cases": {}}
        return int((await self.operator("/operator/policy/apply", body))["version"])

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


def _count(response: httpx.Response, what: str) -> int | None:
    return len(response.json()[what]) if response.status_code == 200 else None


class Replicas:
    """All of them: `servers` are up and serve alice's two documents."""

    def __init__(self, folder: Path, pg: pg_server.Server, graph: Path, model: str) -> None:
        self.folder, self.pg, self._graph, self._model = folder, pg, graph, model
        self.servers: list[Replica] = []
        self.store: subprocess.Popen[str] | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self.socket = folder / "store.sock"

    def environment(self, home: Path) -> dict[str, str]:
        own = {
            "HOME": str(home),
            "POLICY": str(self.folder / "policy.csv"),
            "PORT": "0",
            "DATABASE_URL": self.pg.url,
            "LEDGER_URL": self.pg.url,
            "KEYRING": str(self.folder / "ring.keys"),
            "QDRANT_URL": f"unix:{self.socket}",
            "MODEL_URL": self._model,
            "MODEL": "m",
        }
        return {**os.environ, **{f"USHER_{name}": value for name, value in own.items()}}

    def start_store(self) -> None:
        """The shared store; ready when this returns."""
        self._close_store()
        command = [USHER, "store", "--socket", str(self.socket), "--json"]
        environment = self.environment(self.folder / "store") | {"USHER_QDRANT_URL": ""}
        self.store = self._started(command, environment, "store.log")
        self._told(self.store, "ready")

    def _close_store(self) -> None:
        """Of one that has ended there is still the pipe."""
        if self.store is not None:
            cast(IO[str], self.store.stdout).close()
            self.store = None

    def start(self, name: str) -> subprocess.Popen[str]:
        """A server; not yet ready."""
        home = self.folder / name
        lend(self._graph, home)
        return self._started([USHER, "serve", "--json"], self.environment(home), f"{name}.log")

    def up(self, name: str, process: subprocess.Popen[str]) -> Replica:
        replica = Replica(self.folder / name, process, self._told(process, "url")["url"])
        self.servers.append(replica)
        return replica

    def _started(self, command: list[str], environment: dict[str, str], log: str) -> subprocess.Popen[str]:
        with (self.folder / log).open("a") as errors:
            process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self._processes.append(process)
        return process

    def _told(self, process: subprocess.Popen[str], word: str) -> dict[str, Any]:
        """The first line that has the word."""
        for line in cast(IO[str], process.stdout):
            told: dict[str, Any] = json.loads(line)
            if word in told:
                return told
        raise AssertionError("\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log")))

    async def settle(self, names: tuple[str, ...]) -> None:
        """The first server makes ring, tables and policy; alice and her documents are taken in; then the others."""
        (self.folder / "policy.csv").write_text(OPEN)
        docs = self.folder / "docs"
        docs.mkdir()
        (docs / "budget.md").write_text("# Budget\n\nThe budget of the year is four million euros.\n")
        (docs / "rent.md").write_text("# Rent\n\nThe rent is part of the budget of the year.\n")
        await asyncio.to_thread(self.start_store)
        first = await asyncio.to_thread(self.up, names[0], self.start(names[0]))
        others = {name: self.start(name) for name in names[1:]}
        await first.operator("/operator/person", {"user": "alice", "groups": ["staff"]})
        key = (await first.operator("/operator/key", {"user": "alice"}))["key"]
        ingest = [USHER, "ingest", str(docs), "--collection", "docs"]
        environment = self.environment(first.home)
        await asyncio.to_thread(subprocess.run, ingest, env=environment, check=True, capture_output=True)
        for name, process in others.items():
            await asyncio.to_thread(self.up, name, process)
        for each in self.servers:
            each.sees(key)
        for each in self.servers:  # warm: each has compiled the policy and searched
            assert await each.hits()

    async def close(self) -> None:
        for each in self.servers:
            if hasattr(each, "client"):
                await each.client.aclose()
        for process in self._processes:
            process.send_signal(signal.SIGCONT)  # one that has ended is passed over
            process.kill()
            process.wait()
            cast(IO[str], process.stdout).close()


def talking_and_silent() -> ChatServer:
    """A model whose answers never end, and by turns flow on or fall silent after the first words."""
    begun = HEAD + said("The budget is and so on ")
    return ChatServer([[begun, *([0.05, said("and so on ")] * 5_000)], [begun, 600.0]] * 5_000)


@asynccontextmanager
async def replicas(folder: Path, graph: Path, count: int = 3) -> AsyncIterator[Replicas]:
    """Raises `PostgresMissing`."""
    async with AsyncExitStack() as stack:
        pg = await asyncio.to_thread(stack.enter_context, pg_server.server())
        model = talking_and_silent()
        listening = await asyncio.start_server(model.serve, "127.0.0.1", 0)
        stack.callback(listening.close)
        stack.push_async_callback(model.close)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        made = Replicas(folder, pg, graph, url)
        stack.push_async_callback(made.close)
        await made.settle(tuple(f"server{n}" for n in range(1, count + 1)))
        yield made


async def until(holds: Callable[[], Any], seconds: float = PATIENCE) -> float:
    """Seconds until the awaited answer is true. Raises `TimeoutError`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - other processes tell nobody
            await asyncio.sleep(0.02)
    return loop.time() - began
