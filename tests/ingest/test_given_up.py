"""A run whose caller goes away: what it was writing is written before anybody else may begin."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from tests.ingest.ingest_kit import House, Rooms


class InThread:
    """A port one of whose calls is carried out by a thread that takes its time, as a database's are."""

    def __init__(self, port: Any, call: str) -> None:
        self._port, self._call = port, call
        self.begun = threading.Event()
        self.ended = threading.Event()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        if name != self._call or self.begun.is_set():
            return value

        async def called(*args: Any, **named: Any) -> Any:
            await anyio.to_thread.run_sync(self._slowly)
            return await value(*args, **named)

        return called

    def _slowly(self) -> None:
        self.begun.set()
        time.sleep(0.1)
        self.ended.set()


@pytest.mark.slow
@pytest.mark.parametrize("by_scope", [True, False])
@pytest.mark.parametrize(
    ("name", "call"), [("intake", "stage"), ("store", "write"), ("intake", "begin"), ("outbox", "finish")]
)
def test_nothing_is_written_after_a_caller_has_gone(house: House, name: str, call: str, by_scope: bool) -> None:
    """Cancelled as a server does it for a client that went away, again and again; or by force."""
    house.write("a.md", "word a")
    ports: list[InThread] = []

    def wrap(port_name: str, port: Any) -> Any:
        if port_name != name:
            return port
        ports.append(InThread(port, call))
        return ports[0]

    async def story(rooms: Rooms, docs: Path) -> None:
        async def consume() -> None:
            await rooms.take_in(docs, source="docs", collection="open")

        async with anyio.create_task_group() as group:
            consumer = asyncio.create_task(consume()) if not by_scope else None
            if consumer is None:
                group.start_soon(consume)
            await asyncio.to_thread(ports[0].begun.wait, 5)
            group.cancel_scope.cancel()
        while consumer is not None and not consumer.done():
            consumer.cancel()
            await asyncio.sleep(0.001)
        assert ports[0].begun.is_set()
        assert ports[0].ended.is_set()
        assert (await rooms.take_in(docs, source="docs", collection="open"))["refused"] == []

    async def process() -> None:
        async with house.open(wrap=wrap) as rooms:
            await story(rooms, house.docs)

    asyncio.run(process())
    assert house.seen()["bob"].keys() == {"docs/a.md"}
    house.check_whole()
