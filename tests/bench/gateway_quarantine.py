"""How soon weights that were changed stop an adapter everywhere, over two model servers.

`figures()` is a part of the gateway's bench.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import gateway_servers as servers
import httpx
from gateway_load import Target
from revocations import operator

ROUNDS = 5


def figures(folder: Path) -> dict[str, float]:
    """`quarantine_ms`: the longest of some rounds, from asking for the check that finds a changed file (reading the
    files included) to when Usher answers by the adapter no more and neither of two model servers has it."""
    with ExitStack() as stack:
        models = [stack.enter_context(servers.upstream()) for _ in range(2)]
        for model in models:
            servers.set_pace(model, 0.0, leading=False)
        usher = stack.enter_context(servers.usher(folder, *models, adapter=True))
        return asyncio.run(_measured(folder, usher, models))


async def _measured(folder: Path, usher: Target, models: Sequence[Target]) -> dict[str, float]:
    url, key = f"http://127.0.0.1:{usher.port}", usher.keys[0]
    answered, unloaded = [], []
    async with httpx.AsyncClient(timeout=30) as client, operator(folder) as ask:
        for _ in range(ROUNDS):
            ident, name = await servers.new_adapter(folder, url, models)
            await _until(partial(_speaks, client, url, key), True)
            _spoil(folder / "home" / "adapters" / ident / "adapter_model.safetensors")
            began = time.perf_counter()
            checking = asyncio.create_task(ask("/operator/adapters/check", {}))
            await _until(partial(_speaks, client, url, key), False)
            answered.append((time.perf_counter() - began) * 1000)
            await _until(partial(_loaded, client, models, name), False)
            unloaded.append((time.perf_counter() - began) * 1000)
            await checking
    return {
        "quarantine_ms": round(max(unloaded), 1),
        "quarantine_answers_ms": round(max(answered), 1),
        "quarantine_rounds": ROUNDS,
    }


async def _speaks(client: httpx.AsyncClient, url: str, key: str) -> bool:
    """Whether a question of this person is answered by an adapter."""
    body = {"model": "assistant", "messages": [{"role": "user", "content": "What is the budget of the year?"}]}
    headers = {"authorization": f"Bearer {key}"}
    response = await client.post(f"{url}/v1/chat/completions", json=body, headers=headers)
    return response.is_success and response.json()["usher"]["route"]["kind"] == "adapter"


async def _loaded(client: httpx.AsyncClient, models: Sequence[Target], name: str) -> bool:
    """Whether any of the model servers has it."""
    return any([name in await servers.loaded(client, model) for model in models])


async def _until(asked: Callable[[], Awaitable[bool]], wanted: bool) -> None:
    async with asyncio.timeout(30):
        while await asked() is not wanted:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.005)


def _spoil(file: Path) -> None:
    """Another byte at its end, under the same length."""
    file.chmod(0o644)
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
