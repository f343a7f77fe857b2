"""How much each role asks: what `min_per_day` of a routing rule looks at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import structlog

from usher.authority import Clock, utc_now
from usher.ports.audit_exchanges import Exchanges
from usher.ports.audit_index import IndexUnreadable

ANEW: Final = 60.0
"""Seconds after which it is counted again."""
_DAY: Final = timedelta(days=1)

_log = structlog.stdlib.get_logger("usher.adapters")


class Volume:
    """The questions of the last day by role, as the reviewers' index has them: some seconds behind the record."""

    def __init__(self, index: Exchanges, clock: Clock = utc_now) -> None:
        self._index, self._clock = index, clock
        self._counting = asyncio.Lock()
        self._counted: Mapping[str, int] = {}
        self._at: float | None = None

    async def per_day(self) -> Mapping[str, int]:
        """Where it cannot be counted, none were asked: no rule applies that asks for some."""
        async with self._counting:
            if self._at is None or time.monotonic() - self._at > ANEW:
                self._counted = await self._count()
                self._at = time.monotonic()
        return self._counted

    async def _count(self) -> Mapping[str, int]:
        since = (self._clock() - _DAY).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            return await asyncio.to_thread(self._index.asked_by_role, since)
        except IndexUnreadable as error:
            _log.error("volume_not_counted", problem=str(error))
            return {}
