"""What clients of several servers see while the policy changes: searches, lists and streams, each with its times."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import psycopg
from tests.replicas.replica_kit import OPEN, SHUT, STREAM, Replica, Replicas, until

PAUSE = 0.04
"""Seconds between two requests of one poller: a load, and not one that the machine cannot bear."""
STREAMS = 2
"""Streams that flow at each server."""
SETTLED = 0.6
"""Seconds after an acknowledgement in which everything stale must have been seen."""
EAR = "usher-test-observer"

KINDS = ("search", "list", "stream")
Sort = tuple[int, str]
"""Which server, and whether by search, list or stream."""


@dataclass(frozen=True)
class Seen:
    """Something of an answer: `allowed` tells which of the two policies it was given by."""

    sort: Sort
    sent: float
    got: float
    allowed: bool


@dataclass(frozen=True)
class Change:
    """A policy that came into force: asked for at `began`, its first commit heard of at `committed`, its writer told at
    `acked`."""

    version: int
    allows: bool
    began: float
    committed: float
    acked: float


@dataclass
class Watching:
    """The clients of some servers, and what they have seen since `forget`."""

    replicas: Replicas
    seen: list[Seen] = field(default_factory=list)
    newest: int = 1
    heard: list[float] = field(default_factory=list)
    ended: dict[Sort, list[float]] = field(default_factory=dict)
    """When streams were told that what they may read has changed."""
    unanswered: int = 0
    flowing: int = 0

    @asynccontextmanager
    async def under_load(self, servers: Sequence[int]) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for number in servers:
                replica = self.replicas.servers[number]
                for kind, ask in (("search", replica.hits), ("list", replica.listed)):
                    stack.push_async_callback(_ended, asyncio.create_task(self._poll((number, kind), ask)))
                for _ in range(STREAMS):
                    stack.push_async_callback(_ended, asyncio.create_task(self._stream((number, "stream"), replica)))
            stack.push_async_callback(_ended, asyncio.create_task(self._hear()))
            yield

    async def _poll(self, sort: Sort, ask: Callable[..., Awaitable[int | None]]) -> None:
        """By turns with the token of the newest acknowledged version and without."""
        with_token = False
        while True:
            with_token, sent = not with_token, time.perf_counter()
            found = None
            with contextlib.suppress(httpx.HTTPError):
                found = await ask(**({"x-usher-policy": str(self.newest)} if with_token else {}))
            if found is None:
                self.unanswered += 1
            else:
                self.seen.append(Seen(sort, sent, time.perf_counter(), found > 0))
            await asyncio.sleep(PAUSE)

    async def _stream(self, sort: Sort, replica: Replica) -> None:
        """Questions one after the other; each piece of an answer is seen."""
        while True:
            sent = time.perf_counter()
            with contextlib.suppress(httpx.HTTPError):
                async with replica.client.stream("POST", "/v1/chat/completions", json=STREAM) as response:
                    await self._read(sort, sent, response)
            await asyncio.sleep(PAUSE)

    async def _read(self, sort: Sort, sent: float, response: httpx.Response) -> None:
        flows = False
        try:
            async for line in response.aiter_lines():
                if _words(line) and not flows:
                    flows = True
                    self.flowing += 1
                if "access_changed" in line:
                    self.ended.setdefault(sort, []).append(time.perf_counter())
                if "so on" in _words(line):
                    self.seen.append(Seen(sort, sent, time.perf_counter(), allowed=True))
        finally:
            self.flowing -= flows

    async def _hear(self) -> None:
        """The moments at which the database tells of a commit."""
        where = self.replicas.pg.url
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                async with await psycopg.AsyncConnection.connect(
                    where, autocommit=True, application_name=EAR
                ) as connection:
                    await connection.execute("LISTEN usher_revision")
                    async for _ in connection.notifies():
                        self.heard.append(time.perf_counter())
            await asyncio.sleep(0.2)

    async def apply(self, allows: bool, at: int = 0) -> Change:
        """Change the policy by one server's operator."""
        began = time.perf_counter()
        version = await self.replicas.servers[at].apply(OPEN if allows else SHUT)
        acked = time.perf_counter()
        self.newest = version
        return Change(version, allows, began, min([t for t in self.heard if t > began], default=acked), acked)

    async def round(self, at: int, servers: Sequence[int]) -> tuple[Change, Change]:
        """Everybody may read, by the watched servers' own answers; then nobody."""
        opened = await self.apply(allows=True, at=at)
        await until(lambda: self._all_flow(servers, opened))
        shut = await self.apply(allows=False, at=at)
        await asyncio.sleep(SETTLED)
        return opened, shut

    async def _all_flow(self, servers: Sequence[int], opened: Change) -> bool:
        sorts = {each.sort for each in self.seen if each.allowed and each.got > opened.acked}
        wanted = {(number, kind) for number in servers for kind in KINDS[:2]}
        return wanted <= sorts and self.flowing == STREAMS * len(servers)

    def last_stale_ms(self, change: Change, until_: float | None = None) -> dict[Sort, float]:
        """Per server and kind: milliseconds from the commit to the last answer by the policy before; 0 if none."""
        last = {(number, kind): 0.0 for number in range(len(self.replicas.servers)) for kind in KINDS}
        for each in self.seen:
            after = each.got > change.committed and (until_ is None or each.got < until_)
            if after and each.allowed is not change.allows:
                last[each.sort] = max(last[each.sort], (each.got - change.committed) * 1000)
        return last

    def told_ms(self, change: Change) -> dict[Sort, float]:
        """Per server: milliseconds from the commit until the last of its streams was told, silent ones too."""
        return {sort: (max(times) - change.committed) * 1000 for sort, times in self.ended.items()}

    def stale_after_ack(self, change: Change, until_: float) -> list[Seen]:
        """Answers by the policy before to what was asked once the change was acknowledged, and before the next."""
        asked = [each for each in self.seen if change.acked < each.sent and each.got < until_]
        return [each for each in asked if each.allowed is not change.allows]

    def forget(self) -> None:
        self.seen.clear()
        self.heard.clear()
        self.ended.clear()


def _words(line: str) -> str:
    if not line.startswith("data: {"):
        return ""
    choices = json.loads(line.removeprefix("data: ")).get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


@asynccontextmanager
async def notifications_lost(replicas: Replicas) -> AsyncIterator[None]:
    """No server hears anything meanwhile, as behind a pooler: what it listens on is cut again and again."""
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE query = 'LISTEN usher_revision' AND application_name <> %s"
    )

    async def cutting() -> None:
        async with await psycopg.AsyncConnection.connect(replicas.pg.url, autocommit=True) as connection:
            while True:
                await connection.execute(cut, (EAR,))
                await asyncio.sleep(0.02)

    task = asyncio.create_task(cutting())
    try:
        yield
    finally:
        await _ended(task)
