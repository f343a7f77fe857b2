"""Single exchanges from the reviewers' index, and which of them a right reaches."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from usher.audit.asking import Asking
from usher.core.reach import Reach
from usher.ports.audit_exchanges import Exchange, Exchanges, Showing


async def exchanges(asking: Asking, index: Exchanges, audit_ids: Sequence[str]) -> Sequence[Exchange]:
    """Those that there are, once the index has what came before. Raises `LedgerUnavailable`."""
    if not audit_ids:
        return ()
    await asking.follower.caught_up()
    return (await asking.reading(lambda: index.exchanges(audit_ids))).entries


class Nearness:
    """What lies within a right: a passage of which the access class then and each that its document has now do; an
    exchange with such a passage, or one that showed nothing, for whoever may know of what is about no document."""

    def __init__(self, reach: Reach, outside: Collection[str]) -> None:
        self._reach, self._outside = reach, outside

    @classmethod
    async def of(cls, asking: Asking, reach: Reach, some: Sequence[Exchange]) -> Nearness:
        documents = {showing.document for exchange in some for showing in exchange.shown}
        return cls(reach, frozenset() if reach.whole else await asking.outside(reach, documents))

    def passage(self, showing: Showing) -> bool:
        inside = self._reach.covers(showing.access_class) and showing.document not in self._outside
        return self._reach.whole or inside

    def exchange(self, exchange: Exchange) -> bool:
        return any(map(self.passage, exchange.shown)) if exchange.shown else self._reach.everything

    def entirely(self, exchange: Exchange) -> bool:
        """Whether nothing of it is out of reach."""
        return all(map(self.passage, exchange.shown)) if exchange.shown else self._reach.everything
