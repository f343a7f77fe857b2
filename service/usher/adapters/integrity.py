"""Whether the files of published adapters are still those of their names: looked at all the time, read on a schedule.

A file that was written to looks different (its size, its times, its number on the disk), and is then read at once. One
that was changed beneath its file system does not: so all are read in full, one after the other, at least once in
`ROUND` seconds where the pace allows. An adapter whose files differ is quarantined, by whichever server of Usher sees
it first; from then on no route of any server names it, and each model server unloads it. So is one whose base model has
other files by now, as each round sees.

What a model server has loaded is its own copy and is not looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from usher.adapters.upkeep import Upkeep
from usher.core.adapters import Registered
from usher.ledger.log import LedgerUnavailable
from usher.ports.adapters import AdapterStore, Weights
from usher_lora.faults import AdapterFault
from usher_lora.registry import Alarm

EVERY: Final = 0.5
"""Seconds between two looks at what all files look like."""
ROUND: Final = 3600.0
"""Seconds from one full reading of everything to the next."""

_log = structlog.stdlib.get_logger("usher.integrity")


class Integrity:
    """`run` it as long as the process serves. `upkeep` reads as fast as the disk gives; `paced` reads the same files at
    a pace that leaves the disk to others."""

    def __init__(self, store: AdapterStore, weights: Weights, upkeep: Upkeep, paced: Upkeep) -> None:
        self._store, self._weights, self._upkeep, self._paced = store, weights, upkeep, paced
        self._seen: dict[str, object] = {}

    async def run(self) -> None:
        """Both, and a look at what the gate asks by now, for ever. What fails is logged, and done again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._for_ever(EVERY, self.look))
            group.create_task(self._for_ever(EVERY, self._upkeep.gates))
            group.create_task(self._for_ever(ROUND, self.read_all))

    async def _for_ever(self, pause: float, act: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await act()
            except Exception as error:  # the database may be away
                _log.warning("integrity_failed", error=type(error).__name__)
            await asyncio.sleep(pause)

    async def look(self) -> list[str]:
        """Read in full what looks different than at the last look; the adapters that were quarantined. Raises `OSError`
        for what could not be read, once all others were."""
        published = [one.id for one in await self._store.published()]
        looks = await asyncio.to_thread(lambda: {ident: self._weights.looks(ident) for ident in published})
        self._seen = {ident: self._seen.get(ident, looks[ident]) for ident in published}
        differ = {ident: looks[ident] for ident in published if looks[ident] != self._seen[ident]}
        return await self._read(differ, self._upkeep)

    async def read_all(self) -> list[str]:
        """Read every published adapter in full, at the pace; the adapters that were quarantined. Raises as `look`."""
        return await self._read({one.id: None for one in await self._store.published()}, self._paced, paced=True)

    async def _read(self, looks: Mapping[str, object], reader: Upkeep, *, paced: bool = False) -> list[str]:
        stopped, failed = [], None
        for ident, look in looks.items():
            try:
                sound = await self._sound(ident, reader, paced=paced)
            except OSError as error:  # it keeps nobody from looking at the others
                failed = error
                continue
            if not sound:
                stopped.append(ident)
            if not paced:
                self._seen[ident] = look  # only once it was read: what could not be is read at the next look
        if failed is not None:
            raise failed
        return stopped

    async def _sound(self, ident: str, reader: Upkeep, *, paced: bool = False) -> bool:
        one = await self._store.get(ident)
        if one is None or not one.serves:
            return True
        problem = await reader.problem(one)
        if problem is None:
            return not paced or await self._on_its_base(one)
        await self._stop(one, problem, paced=paced)
        return False

    async def _on_its_base(self, one: Registered) -> bool:
        try:
            problem = await self._upkeep.stop_on_another_base(one)
        except (AdapterFault, LedgerUnavailable) as error:  # not there; or stopped already, and recorded later
            _log.error("base_not_compared", adapter=one.name, problem=str(error))
            return isinstance(error, AdapterFault)
        if problem is not None:
            _log.critical("base_changed", adapter=one.name)
        return problem is None

    async def _stop(self, one: Registered, problem: str, *, paced: bool) -> None:
        _log.critical("adapter_changed", adapter=one.name, problem=problem, on_schedule=paced)
        try:
            await self._upkeep.quarantine(one.id, Alarm.INTEGRITY)
        except LedgerUnavailable:  # it binds already, and is recorded later
            _log.critical("quarantine_unrecorded", adapter=one.id)
