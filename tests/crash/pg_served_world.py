"""Servers of one Usher whose metadata and ledger are in PostgreSQL, on a Unix socket each, to be killed. They are
forked from one process that has loaded everything and filled the store, which each gets as it is.

Run as a program, this is that process: it is given a folder and a URL, says `filled` when the documents are in, then
reads a folder's name a line, and forks a child that serves in it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from tests.crash.served_world import DOCUMENTS, KEY, Trickle, listen
from tests.web.world import POLICY, PlainConverter, World, _settle

from usher import app as wiring
from usher.backends.memory import HashEmbedder, MemoryStore
from usher.ledger.sequencer import Ledger
from usher.settings import Settings, read_settings


def main(folder: Path, url: str) -> None:
    """Fork one child for each line."""
    store = MemoryStore()
    (folder / "policy.csv").write_text(POLICY)
    with asyncio.Runner() as runner:
        runner.run(_filled(runner, folder, url, store))
    print("filled", flush=True)
    for line in sys.stdin:
        if os.fork() == 0:
            _serve(folder, url, store, Path(line.strip()))


def _settings(folder: Path, url: str, own: Path) -> Settings:
    """One data folder for each server, all over the same databases and the same key ring."""
    own.mkdir(exist_ok=True)
    ring = folder / "home.keys"
    more = {"keyring": ring} if ring.exists() else {}
    return read_settings(home=own, policy=folder / "policy.csv", database_url=url, ledger_url=url, **more)


async def _opened(stack: AsyncExitStack, runner: asyncio.Runner, settings: Settings, store: MemoryStore) -> World:
    """The same as `open_services`, with a store, an embedder and a model in memory."""
    ring, database, log = wiring.open_ring(settings), wiring.open_database(settings), wiring.open_log(settings)
    stack.callback(database.close)
    sinks = wiring.open_sinks(settings)
    for sink in sinks:
        stack.callback(sink.close)
    ledger = await Ledger.open(log, ring, heard=partial(wiring._tell, sinks), known=wiring.newest_known(settings))
    stack.push_async_callback(ledger.close)
    services = await wiring._wired(
        settings, database, ring, log, ledger, store, HashEmbedder(), Trickle(), PlainConverter(), sinks
    )
    return World(settings.home.parent, runner, services, wiring.create_app(services))


async def _filled(runner: asyncio.Runner, folder: Path, url: str, store: MemoryStore) -> None:
    async with AsyncExitStack() as stack:
        made = await _opened(stack, runner, _settings(folder, url, folder / "home"), store)
        await _settle(made, DOCUMENTS)
        (folder / KEY).write_text(made.keys["bob"])


def _serve(folder: Path, url: str, store: MemoryStore, own: Path) -> None:
    os.setsid()
    with asyncio.Runner() as runner:
        runner.run(_served(runner, _settings(folder, url, own / "home"), store, own))
    os._exit(0)


async def _served(runner: asyncio.Runner, settings: Settings, store: MemoryStore, own: Path) -> None:
    async with AsyncExitStack() as stack:
        await listen(await _opened(stack, runner, settings, store), own)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
