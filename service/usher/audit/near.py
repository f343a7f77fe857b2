"""Single exchanges from the reviewers' index, and which of them a right reaches."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from usher.audit.asking import Asking
from usher.core.reach import Reach
from usher.ports.audit_exchanges import Exchange, Exchanges, Showing


async def exchanges(
    asking: Asking, index: Exchanges, audit_ids: Sequence[str], *, wait: bool = True
) -> Sequence[Exchange]:
    """Those that there are, once the index has what came before; or, not to `wait`, what it has. Raises
    `LedgerUnavailable`."""
    if not audit_ids:
        return ()
    if wait:
        await asking.follower.caught_up()
    return (await asking.reading(lambda: index.exchanges(audit_ids))).entries


class Nearness:
    """What lies within a right: a passage of which the access class then and each that its document has now do; an
    exchange with such a passage, or one that showed nothing, for whoever may know of what is about no document."""

    def __init__(self, reach: Reach, outside: Collection[str]) -> None:
        self._reach, self._outside = reach, outside

    @classmethod
    async def of(cls, asking: Asking, reach: Reach, some: Sequence[Exchange]) -> Nearness:
        if reach.whole:
            return cls(reach, frozenset())
        return cls(reach, await asking.outside(reach, await asyncio.to_thread(_documents, some)))

    def passage(self, showing: Showing) -> bool:
        inside = self._reach.covers(showing.access_class) and showing.document not in self._outside
        return self._reach.whole or inside

    def exchange(self, exchange: Exchange) -> bool:
        return any(map(self.passage, exchange.shown)) if exchange.shown else self._reach.everything

    def of_all(self, some: Sequence[Exchange]) -> tuple[tuple[Exchange, ...], bool]:
        """Those of them that are within, and whether all of all is. A case's exchanges may have shown very much."""
        return tuple(filter(self.exchange, some)), all(map(self.entirely, some))

    def entirely(self, exchange: Exchange) -> bool:
        """Whether nothing of it is out of reach."""
        return all(map(self.passage, exchange.shown)) if exchange.shown else self._reach.everything


def _documents(some: Sequence[Exchange]) -> set[str]:
    return {showing.document for exchange in some for showing in exchange.shown}
