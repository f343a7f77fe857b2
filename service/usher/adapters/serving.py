"""Model servers and the registry: each server comes to have what is published, whatever happened to it meanwhile.

A server is asked what it has, twice a second, and told what is missing: so a restart, a second server, a load that was
cut off and an answer that was lost all end the same way. Nothing is remembered of a server but how often it failed.

An adapter's files are read in full before a server reads them; were they touched meanwhile, what the server has of
them is unloaded, and loaded again later. What it has read is its own from then on: a file that changes later changes
nothing there, and is found by `Integrity`, which quarantines the adapter everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from usher.adapters.upkeep import Upkeep
from usher.core.adapters import Registered
from usher.core.loading import NOTHING, Steps, everywhere, steps
from usher.ledger.log import LedgerUnavailable
from usher.ports.adapter_server import AdapterServer, Loaded, ServerFailed
from usher.ports.adapters import AdapterStore, Served, Weights
from usher_lora.faults import AdapterFault
from usher_lora.manifest import split_served_name
from usher_lora.registry import Alarm, State

EVERY: Final = 0.5
"""Seconds between two looks at a server."""
DRAIN: Final = 130.0
"""Seconds for which a server keeps an adapter that is retired: more than an answer may take. It is in nobody's route
from the moment that it is retired; this is for the answers that were under way, of whatever server of Usher."""
BACKOFF: Final = (1.0, 60.0)
"""Seconds until what failed is tried again: at first, and at most."""

_log = structlog.stdlib.get_logger("usher.serving")


@dataclass(slots=True)
class _Failures:
    """How often something failed in a row, and when it may be tried again."""

    times: int = 0
    until: float = 0.0

    def add(self, now: float) -> None:
        first, most = BACKOFF
        self.until = now + min(first * 2**self.times, most)
        self.times = min(self.times + 1, 16)


@dataclass(slots=True)
class _Kept:
    """A server and what was last seen of it. `steps` is None while it does not answer."""

    server: AdapterServer
    steps: Steps | None = None
    problem: str = "was not asked yet"
    since: dict[str, float] = field(default_factory=dict)
    failures: dict[str, _Failures] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown:
    """How a server stands: `ready` are the published adapters that it has. `problem` is empty where all is well."""

    server: str
    ready: tuple[str, ...]
    missing: tuple[str, ...]
    leaving: tuple[str, ...]
    problem: str


class Serving:
    """`run` it as long as the process serves. `base` is the name of the base model that each server must have. With
    `loads`, adapters are loaded and unloaded; without, servers are only looked at: they were told what to have when
    they were started."""

    def __init__(
        self,
        servers: Sequence[AdapterServer],
        base: str | None,
        store: AdapterStore,
        upkeep: Upkeep,
        weights: Weights,
        *,
        loads: bool,
        drain: float = DRAIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept = [_Kept(server) for server in servers]
        self._base, self._loads, self._drain, self._clock = base, loads, drain, clock
        self._store, self._upkeep, self._weights = store, upkeep, weights

    def served(self) -> frozenset[str]:
        """The published adapters that every server which answers has: what a route may name."""
        return everywhere([kept.steps.ready for kept in self._kept if kept.steps is not None])

    def up(self) -> bool:
        """Whether a model server answers, or is not asked."""
        return any(kept.steps is not None for kept in self._kept)

    def state(self) -> str:
        """ "ok", or how many servers do not have what they should."""
        bad = sum(1 for one in self.shown() if one.problem)
        return f"{bad} of {len(self._kept)} are not as they should be" if bad else "ok"

    def shown(self) -> list[Shown]:
        """Each server as it was last seen."""
        return [_shown(kept) for kept in self._kept]

    async def run(self) -> None:
        """Look at each server every `EVERY` seconds, for ever: one that hangs holds up no other."""
        async with asyncio.TaskGroup() as group:
            for kept in self._kept:
                group.create_task(self._keep(kept))

    async def close(self) -> None:
        for kept in self._kept:
            await kept.server.close()

    async def _keep(self, kept: _Kept) -> None:
        while True:
            await self._look(kept)
            await asyncio.sleep(EVERY)

    async def converge(self) -> None:
        """One look at every server."""
        await asyncio.gather(*(self._look(kept) for kept in self._kept))

    async def _look(self, kept: _Kept) -> None:
        try:
            await self._converge(kept)
        except ServerFailed as failed:
            self._tell(kept, f"{failed}", steps_too=True)
        except Exception as error:  # the database or the ledger may be away: looked at again soon
            self._tell(kept, f"cannot be looked after ({type(error).__name__})", steps_too=False)

    def _tell(self, kept: _Kept, problem: str, *, steps_too: bool) -> None:
        if problem != kept.problem:
            _log.warning("model_server", server=kept.server.name, problem=problem)
        kept.problem = problem
        if steps_too:
            kept.steps = None

    async def _converge(self, kept: _Kept) -> None:
        """1. what is published, and what the server has  2. what to do  3. unload, load  4. what it has then

        A server that was started without adapters, and is to have none, is not asked: it may be anybody's.
        """
        if not self._loads and not await self._store.published():
            kept.steps, kept.problem = NOTHING, ""
            return
        told = await kept.server.loaded()
        if self._base is not None and self._base not in told.base:
            raise ServerFailed("serves another base model than USHER_MODEL")
        published = {one.name: one for one in await self._store.published()}
        plan = await self._planned(kept, published, told)
        kept.steps = plan
        for name in plan.spoiled:
            await self._spoiled(kept, published[name])
        done = [await self._unload(kept, name) for name in plan.unload] if self._loads else []
        done += [await self._load(kept, published[name]) for name in plan.load] if self._loads else []
        if any(done):
            kept.steps = await self._planned(kept, published, await kept.server.loaded())
        self._settled(kept)

    async def _planned(self, kept: _Kept, published: Mapping[str, Served], told: Loaded) -> Steps:
        places = {name: self._place(one, told.adapters.get(name)) for name, one in published.items()}
        over = [name for name in told.adapters if name not in places]
        now = self._clock()
        kept.since = {name: kept.since.get(name, now) for name in over}
        drained = [name for name in over if now - kept.since[name] >= self._drain]
        return steps(places, told.adapters, drained, [name for name in over if await self._stopped(name)])

    def _place(self, one: Served, told: str | None) -> str:
        """Where the server must have it from. One that was started with its adapters may see the folder elsewhere."""
        path = str(self._weights.place(one.id))
        if not self._loads and told is not None and told.rpartition("/")[2] == one.id:
            return told
        return path

    async def _stopped(self, name: str) -> bool:
        """Whether nobody's answer may wait for it: it is quarantined, or nobody ever registered it."""
        split = split_served_name(name)
        one = None if split is None else await self._store.get(split[1])
        return one is None or one.name != name or one.entry.state is State.QUARANTINED

    async def _load(self, kept: _Kept, served: Served) -> bool:
        """Whether it was asked for. Its files are read first: what is not as it was registered is quarantined."""
        if self._waits(kept, served.name):
            return False
        one = await self._store.get(served.id)
        if one is None or not one.serves:
            return False
        before = await self._looks(one.id)
        problem = await self._upkeep.problem(one)
        if problem is not None:
            _log.critical("adapter_not_loaded", adapter=one.name, problem=problem)
            await self._quarantine(one.id)
            return False
        if await self._on_another_base(one):
            return False
        await self._told(kept, one.name, "load", kept.server.load(one.name, self._weights.place(one.id)))
        if await self._looks(one.id) != before:  # what was read here need not be what the server read
            _log.critical("adapter_touched_while_loaded", adapter=one.name, server=kept.server.name)
            await self._told(kept, one.name, "unload", kept.server.unload(one.name))
            kept.failures.setdefault(one.name, _Failures()).add(self._clock())
        return True

    async def _on_another_base(self, one: Registered) -> bool:
        """Also where the base is not there: then it is looked for again."""
        try:
            return await self._upkeep.stop_on_another_base(one) is not None
        except (AdapterFault, LedgerUnavailable) as error:
            _log.critical("adapter_not_loaded", adapter=one.name, problem=str(error))
            return True

    async def _looks(self, ident: str) -> object:
        return await asyncio.to_thread(self._weights.looks, ident, beside=False)

    async def _unload(self, kept: _Kept, name: str) -> bool:
        return not self._waits(kept, name) and await self._told(kept, name, "unload", kept.server.unload(name))

    async def _spoiled(self, kept: _Kept, one: Served) -> None:
        _log.critical("adapter_from_elsewhere", adapter=one.name, server=kept.server.name)
        await self._quarantine(one.id)

    async def _quarantine(self, ident: str) -> None:
        try:
            await self._upkeep.quarantine(ident, Alarm.INTEGRITY)
        except LedgerUnavailable:  # it binds already, and is recorded later
            _log.critical("quarantine_unrecorded", adapter=ident)

    async def _told(self, kept: _Kept, name: str, act: str, asking: Awaitable[None]) -> bool:
        try:
            await asking
        except ServerFailed as failed:
            kept.failures.setdefault(name, _Failures()).add(self._clock())
            _log.warning("model_server", server=kept.server.name, act=act, adapter=name, problem=str(failed))
        return True  # also where it failed: it may have done it

    def _waits(self, kept: _Kept, name: str) -> bool:
        return name in kept.failures and self._clock() < kept.failures[name].until

    def _settled(self, kept: _Kept) -> None:
        """Forget the failures of what is as it should be by now, and say how the server stands."""
        plan = kept.steps
        if plan is None:
            return
        open_ends = {*plan.load, *plan.unload}
        kept.failures = {name: one for name, one in kept.failures.items() if name in open_ends}
        problem = f"{len(open_ends)} adapters are not as they should be" if open_ends else ""
        if problem != kept.problem:
            _log.info("model_server", server=kept.server.name, ready=len(plan.ready), problem=problem)
        kept.problem = problem


def _shown(kept: _Kept) -> Shown:
    plan = kept.steps
    if plan is None:
        return Shown(kept.server.name, (), (), (), kept.problem)
    ready, leaving = tuple(sorted(plan.ready)), tuple(sorted({*plan.leaving, *plan.unload}))
    return Shown(kept.server.name, ready, plan.load, leaving, kept.problem)
