"""Published adapters in a world of the tests, and a model that tells who it was asked as."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from uuid import UUID

import msgspec
from tests.lora.made import IDENTITY
from tests.web.chat_kit import Step
from tests.web.world import POLICY, World

from usher.adapters.listing import of_lineage
from usher.core.adapters import Registered, draft
from usher.ports import Delta, ModelRequest
from usher_lora.lineage import Learned, Lineage, lineage
from usher_lora.manifest import Identity
from usher_lora.registry import Alarm, State

USE = "p, role:finance, adapter:money, adapter.use, allow, always"
BY_ADAPTER = "rules:\n  - {name: money, route: adapter, adapters: [money]}\n"
BOTH = "rules:\n  - {name: money, route: adapter+retrieve, adapters: [money]}\n"
HANDBOOK, BUDGET, MERGER = "handbook/holidays.md", "finance/budget.md", "board/merger.md"
_made = count(1)


class SpeakingModel:
    """The `Model` port: what it says names the adapter that it was asked as. Its steps come after the first words."""

    name = "base"
    generative = True
    context_tokens = 8192

    def __init__(self) -> None:
        self.steps: Sequence[Step] = ()
        self.requests: list[ModelRequest] = []
        self.aborted = False

    def count_tokens(self, text: str) -> int:
        return len(text) // 4

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        self.requests.append(request)
        self.aborted = True
        yield Delta(f"I speak as {(request.adapter or 'base').partition('@')[0]}. ")
        for step in self.steps:
            if isinstance(step, str):
                yield Delta(step)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, Exception):
                raise step
            else:
                await step()
        yield Delta(finish_reason="stop", prompt_tokens=70, completion_tokens=20)
        self.aborted = False

    async def close(self) -> None: ...


async def publish(world: World, *paths: str, name: str = "money", trained: Sequence[int] | None = None) -> Registered:
    """An adapter that learned these documents as they are now, or as they were labelled `trained`."""
    rows = [_row(world, path) for path in paths]
    classes = trained or [access_class for _, _, access_class in rows]
    learned = [Learned(row[0], row[1], number, "ab" * 32) for row, number in zip(rows, classes, strict=True)]
    made = lineage(learned)
    identity = msgspec.structs.replace(
        IDENTITY, name=name, lineage=made.digest, made=f"00000000-0000-7000-8000-{next(_made):012d}"
    )
    return await published(world, identity, made)


async def published(world: World, identity: Identity, made: Lineage) -> Registered:
    """It stands in the registry as published, as if two people had taken it on."""
    acts = world.services.adapters.registry._acts
    one = draft(identity, "operator", datetime.now(UTC))
    await acts.ledger.append(of_lineage(one.name, made, "operator"))
    change = await acts.store.add(one, made, {"act": "registered"})
    assert change is not None
    await acts.courier.carry([change])
    return await moved(world, one.id, State.PUBLISHED)


async def moved(world: World, ident: str, state: State, alarm: Alarm | None = None) -> Registered:
    """The adapter in another state."""
    acts = world.services.adapters.registry._acts
    one = await acts.store.get(ident)
    assert one is not None
    entry = replace(one.entry, state=state, alarm=alarm)
    change = await acts.store.put(replace(one, entry=entry), {"act": "moved"}, datetime.now(UTC), narrows=True)
    assert change is not None
    await acts.courier.carry([change])
    found = await acts.store.get(ident)
    assert found is not None
    return found


def _row(world: World, path: str) -> tuple[UUID, int, int]:
    with closing(sqlite3.connect(world.folder / "home" / "usher.sqlite")) as connection:
        row = connection.execute("SELECT id, version, access_class FROM document WHERE path = ?", (path,)).fetchone()
    return UUID(row[0]), row[1], row[2]


async def route_by(world: World, routing: str = BY_ADAPTER, *lines: str) -> None:
    """The world's policy with the right to use adapters of `USE` and `lines`, and this routing."""
    rules = POLICY + "".join(f"{line}\n" for line in (USE, *lines))
    await world.apply(rules, **{"routing.yaml": routing})


def retire_all(world: World) -> None:
    """What a test published is no longer, once it ends."""
    for one in world.run(world.services.adapters.store.all()):
        if one.serves:
            world.run(moved(world, one.id, State.RETIRED))
