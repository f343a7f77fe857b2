"""How soon an adapter that is quarantined on one server is answered by nowhere: two servers of Usher on one PostgreSQL,
before two model servers.

`figures()` is a part of the gateway's bench.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import gateway_adapter
import gateway_servers as servers
import httpx
from gateway_load import Target
from tests import graph_kit
from tests.crash import pg_server
from tests.replicas.replica_kit import OPEN, Replica, Replicas

from usher_lora.lineage import Learned

ROUNDS = 6
"""By turns a file is changed and looked at, and the operator quarantines it: of the second the other server learns by
the database alone."""
ENDING = 0.5
"""Seconds in which an answer that was under way comes to its end, if it does."""
ASKING = 2
"""Clients of each server, who ask all the time."""
RULES = f"""{OPEN}p, group:staff, adapter:{gateway_adapter.NAME}, adapter.use, allow, always
p, user:lead, adapter:{gateway_adapter.NAME}, adapter.approve, allow, always
p, user:lead, adapter:{gateway_adapter.NAME}, adapter.publish, allow, always
"""
QUESTION = {"model": "assistant", "messages": [{"role": "user", "content": "What is the budget of the year?"}]}


def figures(folder: Path) -> dict[str, float]:
    """`quarantine_ms`: the longest of some rounds, from asking one server for the check that finds a changed file
    (reading the files included), or for the quarantine, to the last answer by the adapter that a client of either
    server had, and until neither of two model servers has it any more. `quarantine_answers_ms`: to the last answer."""
    folder.mkdir(parents=True)
    return asyncio.run(_measured(folder))


class _Usher(Replicas):
    """Servers that share one folder of weights, and load into the same model servers."""

    def __init__(self, *given: Any, models: Sequence[Target]) -> None:
        super().__init__(*given)
        self.models = models

    def environment(self, home: Path) -> dict[str, str]:
        own = {
            "ADAPTERS": str(self.folder / "adapters"),
            "MODEL": gateway_adapter.BASE,
            "MODEL_LOAD_TOKEN": servers.TOKEN,
            "MODEL_SERVERS": ",".join(f"http://127.0.0.1:{one.port}/v1" for one in self.models),
        }
        return super().environment(home) | {f"USHER_{name}": value for name, value in own.items()}

    def documents(self) -> list[Learned]:
        rows = self.pg.query(gateway_adapter.CURRENT)
        return [Learned(UUID(str(ident)), *rest) for ident, *rest in rows]


@asynccontextmanager
async def _two(folder: Path) -> AsyncIterator[_Usher]:
    async with AsyncExitStack() as stack:
        models = [stack.enter_context(servers.upstream()) for _ in range(2)]
        for model in models:
            servers.set_pace(model, 0.0, leading=False)
        pg = await asyncio.to_thread(stack.enter_context, pg_server.server())
        graph = await asyncio.to_thread(graph_kit.build, folder)
        made = _Usher(folder, pg, graph, f"http://127.0.0.1:{models[0].port}/v1", models=models)
        stack.push_async_callback(made.close)
        await made.settle(("one", "other"))
        routing = {"routing.yaml": gateway_adapter.routing([gateway_adapter.NAME])}
        body = {"rules_text": RULES, "documents": routing, "cases": {}}
        await made.servers[0].operator("/operator/policy/apply", body)
        yield made


@dataclass
class _Asking:
    """Clients of both servers; `last` is when an answer by an adapter last came to one of them."""

    servers: Sequence[Replica]
    last: float = 0.0
    spoke: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._ask(one)) for one in self.servers for _ in range(ASKING)]
            yield
            for task in tasks:
                task.cancel()

    async def _ask(self, server: Replica) -> None:
        while True:
            response = await server.client.post("/v1/chat/completions", json=QUESTION)
            if response.status_code == httpx.codes.FORBIDDEN:  # it was taken away while it spoke
                continue
            if response.raise_for_status().json()["usher"]["route"]["kind"] == "adapter":
                self.last = time.perf_counter()
                self.spoke.add(server.url)
            else:
                self.spoke.discard(server.url)

    async def speaks_everywhere(self) -> bool:
        return len(self.spoke) == len(self.servers)

    async def speaks_nowhere(self) -> bool:
        return not self.spoke


async def _measured(folder: Path) -> dict[str, float]:
    answered, unloaded = [], []
    async with _two(folder) as usher, httpx.AsyncClient(timeout=30) as client:
        approve = await _lead(usher.servers[0])
        asking = _Asking(usher.servers)
        async with asking.under_way():
            for number in range(ROUNDS):
                first = usher.servers[number % 2]
                documents = usher.documents()
                ident, name = await gateway_adapter.published(folder, first.operator, approve, documents=documents)
                await _until(asking.speaks_everywhere)
                began, ended = time.perf_counter(), _stop(usher, first, ident, by_hand=number % 2 == 1)
                stopping = asyncio.create_task(ended)
                await _until(asking.speaks_nowhere)
                await _until(partial(_unloaded, client, usher.models, name))
                unloaded.append((time.perf_counter() - began) * 1000)
                await stopping
                await asyncio.sleep(ENDING)
                answered.append((asking.last - began) * 1000)
    return {
        "quarantine_ms": round(max(*unloaded, *answered), 1),
        "quarantine_answers_ms": round(max(answered), 1),
        "quarantine_rounds": ROUNDS,
        "quarantine_usher_servers": len(usher.servers),
        "quarantine_model_servers": len(usher.models),
    }


async def _lead(server: Replica) -> gateway_adapter.Approve:
    """Who approves, by a key of their own."""
    await server.operator("/operator/person", {"user": "lead", "groups": []})
    headers = {"authorization": f"Bearer {(await server.operator('/operator/key', {'user': 'lead'}))['key']}"}

    async def approve(ident: str, digest: str) -> None:
        path = f"/api/adapters/{ident}/approve"
        (await server.client.post(path, json={"digest": digest}, headers=headers)).raise_for_status()

    return approve


async def _stop(usher: _Usher, server: Replica, ident: str, *, by_hand: bool) -> None:
    """Quarantined on this server: by its operator's hand, or because a file of it is found to be another."""
    if by_hand:
        await server.operator(f"/operator/adapters/{ident}/quarantine", {})
        return
    _spoil(usher.folder / "adapters" / ident / "adapter_model.safetensors")
    await server.operator("/operator/adapters/check", {})


async def _unloaded(client: httpx.AsyncClient, models: Sequence[Target], name: str) -> bool:
    """Whether none of the model servers has it."""
    return not any([name in await servers.loaded(client, model) for model in models])


async def _until(asked: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await asked():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.005)


def _spoil(file: Path) -> None:
    """Another byte at its end, under the same length."""
    file.chmod(0o644)
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
