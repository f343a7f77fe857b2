"""A house whose vectors are in the embedded store; run as a module, it takes its documents in until it is killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.ingest.ingest_kit import House, Rooms, Seen

from usher.backends.index_identity import IndexIdentity
from usher.backends.memory import HashEmbedder
from usher.backends.store_edge import EdgeStore
from usher.core import lexical
from usher.core.passages import check_all


@asynccontextmanager
async def rooms_of(folder: Path) -> AsyncIterator[Rooms]:
    """A process over the house, not yet recovered."""
    store = await EdgeStore.open(folder / "vectors", IndexIdentity.of(HashEmbedder()))
    try:
        async with House(folder, store).open(limit=100_000) as rooms:
            yield rooms
    finally:
        await store.close()


async def take_in(rooms: Rooms, folder: Path) -> None:
    await rooms.take_in(folder / "docs", source="docs", acl=folder / "acl.jsonl", sync=True, allow_mass_delete=True)


async def everything(rooms: Rooms, keys: Mapping[str, str]) -> Seen:
    """All that each person can find, however much it is."""
    vector = (await HashEmbedder().embed(["word"]))[0]
    seen: dict[str, dict[str, frozenset[str]]] = {}
    for user in keys:
        scope = (await rooms.grant(user, keys)).scope
        found = await rooms.store.search(scope.classes, vector, lexical.query("word"), 100_000)
        chunks = [hit.chunk for hit in found.dense]
        checked = check_all(chunks, await rooms.documents.passages(chunks), scope)
        assert checked.leaks == ()
        texts: dict[str, set[str]] = {}
        for passage in checked.passages:
            texts.setdefault(passage.path, set()).add(passage.text)
        seen[user] = {path: frozenset(parts) for path, parts in texts.items()}
    return seen


async def _main(folder: Path) -> None:
    async with rooms_of(folder) as rooms:
        await rooms.ingest.recover()
        print("ready", flush=True)
        await take_in(rooms, folder)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
