"""What the tests of the store port share: points made from seeds, and a way to open each backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from usher.backends.index_identity import IndexIdentity
from usher.backends.memory import MemoryStore
from usher.ports import Found, Point, SparseVector, Store, StoreBatch, Vector

IDENTITY = IndexIdentity("model-a", "fp32", 8)
NOWHERE = UUID(int=0)


def vector(seed: int) -> Vector:
    values = np.random.default_rng(seed).standard_normal(IDENTITY.dimensions).astype(np.float32)
    return values / np.linalg.norm(values)


def point(n: int, access_class: int, terms: dict[int, float] | None = None, seed: int | None = None) -> Point:
    terms = {1: 1.0} if terms is None else terms
    sparse = SparseVector(tuple(terms), tuple(float(np.float32(weight)) for weight in terms.values()))
    return Point(UUID(int=n), NOWHERE, access_class, vector(n if seed is None else seed), sparse)


def random_points(seed: int, count: int, classes: Sequence[int], first: int = 1) -> list[Point]:
    """Points with some of 40 terms, frequent and rare ones, in random classes of `classes`."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(first, first + count):
        terms = np.unique(rng.zipf(1.4, 12) % 40)
        rng.shuffle(terms)
        weights = rng.random(len(terms)) + 0.1
        sparse = dict(zip(terms.tolist(), weights.tolist(), strict=True))
        made.append(point(n, int(rng.choice(classes)), sparse, seed=int(rng.integers(2**32))))
    return made


ASKED = SparseVector((1, 2, 3, 7, 30, 999), (1.0, 1.0, 2.0, 1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Backend:
    """How to open one of the three. `keeps` is true where a closed store can be opened again with what it held."""

    name: str
    open: Callable[[Path], Awaitable[Store]]
    keeps: bool = False

    def run(self, folder: Path, scenario: Callable[[Store], Awaitable[Any]]) -> Any:
        """The scenario's result, on a store that is open while it runs."""

        async def with_store() -> Any:
            store = await self.open(folder)
            try:
                return await scenario(store)
            finally:
                await store.close()

        return asyncio.run(with_store())


async def _memory(folder: Path) -> Store:
    return MemoryStore()


async def _edge(folder: Path) -> Store:
    from usher.backends.store_edge import EdgeStore

    return await EdgeStore.open(folder, IDENTITY)


async def _socket(folder: Path) -> Store:
    """A client of a store that is served in this process, and ends with it."""
    from usher.backends.store_edge import EdgeStore
    from usher.backends.store_socket import SocketStore
    from usher.backends.store_socket_server import serving

    stack = AsyncExitStack()

    class Client(SocketStore):
        async def close(self) -> None:
            await super().close()
            await stack.aclose()

    edge = await EdgeStore.open(folder / "vectors", IDENTITY)
    stack.push_async_callback(edge.close)
    await stack.enter_async_context(serving(edge, IDENTITY, folder / "socket"))
    return await Client.open(folder / "socket", IDENTITY)


async def _local(folder: Path) -> Store:
    from usher.backends.store_qdrant import LOCAL, QdrantStore

    return await QdrantStore.open(LOCAL, "chunks", IDENTITY)


@dataclass
class Server:
    """A real server, with a new collection for each folder."""

    url: str
    api_key: str | None
    names: dict[Path, str] = field(default_factory=dict)

    async def __call__(self, folder: Path) -> Store:
        from uuid import uuid4

        from usher.backends.store_qdrant import QdrantStore

        name = self.names.setdefault(folder, f"usher-test-{uuid4().hex}")
        return await QdrantStore.open(self.url, name, IDENTITY, self.api_key)


MEMORY = Backend("memory", _memory)
EDGE = Backend("edge", _edge, keeps=True)
SOCKET = Backend("socket", _socket, keeps=True)
QDRANT_LOCAL = Backend("qdrant-local", _local)


def filled(points: Sequence[Point], classes: Sequence[int], k: int = 5) -> Callable[[Store], Awaitable[Found]]:
    """A scenario: write the points, search once."""

    async def scenario(store: Store) -> Found:
        await store.write(StoreBatch(upsert=points))
        return await store.search(classes, vector(5), ASKED, k)

    return scenario


def chunks(found: Found) -> set[int]:
    return {hit.chunk.int for hit in (*found.dense, *found.sparse)}


slow = pytest.mark.slow
