"""A model server like vLLM behind its guard, over a real socket, and adapters whose weights lie where they should."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from tests.deploy.guard_kit import TOKEN, guard_module
from tests.lora.adapters import files
from tests.lora.made import DIGEST, IDENTITY
from tests.web.adapter_kit import BUDGET, _row, published
from tests.web.world import World

from usher.core.adapters import Registered
from usher_lora.canonical import sha256
from usher_lora.lineage import Learned, lineage
from usher_lora.manifest import FileDigest

BASE = "tiny-llama"
TRAINING_SET = b'{"examples":[]}'
_made = count(1)


@dataclass
class FakeVllm:
    """What vLLM does with adapters. `script` says how the next loads go: `refused` (500), `lost` (done, but answered
    500), `late` (done after 0.3 s). `told` are the acts that it was told, in order; `listing` replaces its list."""

    adapters: dict[str, str] = field(default_factory=dict)
    script: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    listing: bytes | None = None
    hangs: bool = False
    some: threading.Event = field(default_factory=threading.Event)
    base: str = BASE
    url: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self.hangs:
            await asyncio.sleep(0.5)
        body = json.loads((await receive())["body"] or b"null")
        status, data = await self._answered(scope["path"], body)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": data})

    async def _answered(self, path: str, body: Any) -> tuple[int, bytes]:
        if path == "/v1/models":
            return 200, self._list()
        name, act = body["lora_name"], path.split("/")[-1].partition("_")[0]
        self.told.append((act, name))
        if act == "unload":
            return (200, b"ok") if self.adapters.pop(name, None) else (404, b"no such adapter")
        how = self.script.pop(0) if self.script else ""
        if name in self.adapters:
            return 400, b"has already been loaded"
        if how == "refused":
            return 500, b"no room"
        if how == "late":
            await asyncio.sleep(0.3)
        self.adapters[name] = body["lora_path"]
        self.some.set()
        return (500, b"lost") if how == "lost" else (200, b"ok")

    def _list(self) -> bytes:
        if self.listing is not None:
            return self.listing
        cards = [{"id": self.base, "root": "/models/tiny", "parent": None}]
        cards += [{"id": name, "root": path, "parent": self.base} for name, path in self.adapters.items()]
        return json.dumps({"object": "list", "data": cards}).encode()

    def restart(self) -> None:
        """It has what it had when it was first started: nothing."""
        self.adapters.clear()


@contextmanager
def serving(fake: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeVllm]:
    """The server on a port of its own, behind the guard that is shipped."""
    monkeypatch.setenv("USHER_MODEL_LOAD_TOKEN", TOKEN)
    app = guard_module().Guard(fake)
    monkeypatch.delenv("USHER_MODEL_LOAD_TOKEN")
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    fake.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join()


async def with_weights(world: World, name: str = "money", held: Mapping[str, bytes] | None = None) -> Registered:
    """A published adapter whose files (`held`, or made-up ones) are where the registry keeps them."""
    held = held or files()
    package = world.folder / f"package-{next(_made)}"
    (package / "adapter").mkdir(parents=True)
    for file, data in held.items():
        (package / "adapter" / file).write_bytes(data)
    document, version, access_class = _row(world, BUDGET)
    made = lineage([Learned(document, version, access_class, DIGEST)])
    identity = msgspec.structs.replace(
        IDENTITY,
        name=name,
        made=f"00000000-0000-7000-9000-{next(_made):012d}",
        lineage=made.digest,
        training_set=sha256(TRAINING_SET),
        files=tuple(sorted(FileDigest(file, len(data), sha256(data)) for file, data in held.items())),
    )
    one = await published(world, identity, made)
    weights, acts = world.services.adapters.weights, world.services.adapters.registry._acts
    weights.keep(package, one.id, identity.files, TRAINING_SET)
    weights.keep_manifest(one.id, acts.signed(one.manifest))
    return one


def spoil(path: Path) -> None:
    """Change one byte of a file that nobody should write to, and nothing that can be helped about how it looks."""
    status = path.stat()
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
