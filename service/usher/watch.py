"""The one watcher of a process: tells open streams and sockets when what they depend on may have changed.

A flowing answer asks at each barrier by itself. Where nothing flows (an idle socket, a model that is silent) nobody
would ask; so the watcher looks at the database's one counter of changes, and at the clock for what ends by itself.
Where the database tells of changes it looks at once; that it is told is never relied on.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Protocol

import structlog

from usher.authority import Clock, Grant, utc_now
from usher.ports import Policies

EVERY = 0.05
"""Seconds between two looks: part of the bound within which a revocation ends a stream. After each look there is a
pause at least as long as it took, so that a flood of changes leaves time for answers."""

_log = structlog.stdlib.get_logger("usher.watch")


class Watched(Protocol):
    """Something open that a change may end. `recheck` asks again under its credential, and ends it if it must; `grant`
    is the one of the last time that was asked."""

    @property
    def grant(self) -> Grant: ...

    async def recheck(self) -> None: ...


class Watch:
    """`add` what is open, `remove` it when it ends, and let `run` run as long as the process serves. Whoever adds
    something asks once more after that: what changed between its grant and now is nobody else's to notice."""

    def __init__(self, policies: Policies, clock: Clock = utc_now) -> None:
        self._policies = policies
        self._clock = clock
        self._open: dict[Watched, None] = {}
        self._revision: int | None = None
        self._heard, self._opened = asyncio.Event(), asyncio.Event()

    def heard(self) -> None:
        """Look at once: somebody has said that something moved. Whether they say so is not relied on."""
        self._heard.set()

    def add(self, watched: Watched) -> None:
        self._open[watched] = None
        self._opened.set()

    def remove(self, watched: Watched) -> None:
        self._open.pop(watched, None)

    async def run(self) -> None:
        """Look every `EVERY` seconds and when something is `heard`, for ever. A look that fails is made again; the
        first of a row is logged."""
        took, failing = EVERY, False
        while True:
            await self._pause(took)
            began = time.monotonic()
            try:
                await self.look()
                failing = False
            except Exception as error:  # the database may be away: barriers fail by themselves meanwhile
                self._revision = None
                if not failing:
                    _log.error("watch_failed", error=type(error).__name__)
                failing = True
            took = time.monotonic() - began

    async def _pause(self, took: float) -> None:
        """As long as the last look took, whatever is heard; from then on until `EVERY`, or until something is. Where
        nothing is open there is nothing to look for."""
        await asyncio.sleep(took)
        while not self._open:
            self._opened.clear()
            await self._opened.wait()
        alarm = asyncio.get_running_loop().call_later(max(EVERY - took, 0), self._heard.set)
        await self._heard.wait()
        alarm.cancel()
        self._heard.clear()

    async def look(self) -> None:
        """Recheck everything if anything has changed since the last look, else what is due by the clock."""
        if not self._open:
            self._revision = None  # whoever is added later was admitted later
            return
        before, self._revision = self._revision, await self._policies.revision()
        now, changed = self._clock(), self._revision != before
        for watched in [each for each in self._open if changed or _due(each.grant, now)]:
            await self._recheck(watched)

    async def _recheck(self, watched: Watched) -> None:
        try:
            await watched.recheck()
        except Exception as error:  # one that cannot be judged must not keep the others from it, and is asked again
            self._revision = None
            _log.error("recheck_failed", error=type(error).__name__)


def _due(grant: Grant, now: datetime) -> bool:
    """True if a condition or the credential ends by now."""
    ends = (grant.valid_until, grant.credential.expires_at)
    return any(end is not None and now >= end for end in ends)
