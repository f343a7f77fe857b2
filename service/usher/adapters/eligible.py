"""Which adapters may answer somebody: the published ones, judged at each request by all that they have learned.

What they need is kept in memory, and brought up to date before anybody is judged over a newer state of the database:
an adapter that is stopped, a label that has moved, a document that is gone bind on the next question, and end an answer
that flows. While nothing moves, a judgement costs microseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from usher.adapters.published import Published, Speaker
from usher.authority import Clock, Grant, utc_now
from usher.core.adapters import Registered
from usher.core.routing import UsableAdapter
from usher.ports.adapters import AdapterStore, Served
from usher.ports.learned import Labelled, Learned
from usher_lora.eligibility import Candidate, Eligibility, Judged
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Lineage

_ALL_OF_NOTHING: Final = -1
"""Before any revision of the database."""
_TOLD_FOR: Final = 60.0
"""Seconds that an adapter's age is told unchanged."""

_log = structlog.stdlib.get_logger("usher.adapters")


@dataclass(frozen=True, slots=True)
class Offer:
    """What the model server offers: `up` is false while it is known not to answer; `names` are the adapters that it has
    loaded (None: whatever is published)."""

    up: bool = True
    names: Collection[str] | None = None

    def has(self, name: str) -> bool:
        return self.names is None or name in self.names


class Eligibles:
    """Who may use which adapter. All methods raise what the database raises, and then nobody may use any."""

    def __init__(
        self,
        store: AdapterStore,
        learned: Learned,
        revision: Callable[[], Awaitable[int]],
        offered: Callable[[], Offer] = Offer,
        clock: Clock = utc_now,
    ) -> None:
        self._store, self._learned, self._revision_now = store, learned, revision
        self.offered = offered
        self._clock = clock
        self._refreshing: asyncio.Task[None] | None = None
        self._forget()

    def _forget(self) -> None:
        self._index = Eligibility()
        self._published: dict[str, Published] = {}
        self._labels: dict[UUID, Labelled] = {}
        self._revision, self._labelled = _ALL_OF_NOTHING, 0
        self._told: tuple[object, float, dict[tuple[str, ...], Sequence[UsableAdapter]]] = (None, 0.0, {})

    async def judged(self, grant: Grant) -> Judged:
        """All published adapters, for whoever holds the grant."""
        await self._caught_up(grant.standing.versions.revision)
        return self._index.judge(grant.scope.classes, grant.snapshots, grant.standing.principals, grant.context)

    async def usable(self, grant: Grant) -> Sequence[UsableAdapter]:
        """Those that the grant's holder may use now, as routing looks at them: made once for as long as nothing of them
        changes, their age apart."""
        eligible = (await self.judged(grant)).eligible
        offer, catalog, now = self.offered(), grant.snapshots[0].catalog, time.monotonic()
        key = (catalog.label_version, offer)
        if self._told[0] != key or now - self._told[1] > _TOLD_FOR:
            self._told = (key, now, {})
        told = self._told[2]
        if eligible not in told:
            some = [self._published[name] for name in eligible]
            at = self._clock()
            told[eligible] = [one.usable(catalog, at, served=offer.has(one.served.name)) for one in some]
        return told[eligible]

    async def speaker(self, grant: Grant, name: str) -> Speaker | None:
        """The adapter of this served name, with what it has learned; None if the grant's holder may not use it now."""
        judged = await self.judged(grant)
        return None if judged.reason(name) is not None else self.known(name)

    def known(self, name: str) -> Speaker:
        """An adapter that `usable` gave just now, before anything else was waited for."""
        return self._published[name].speaker()

    async def missing(self, name: str, grant: Grant) -> frozenset[int]:
        """The access classes that an adapter needs and that are not in the grant's scope: for admins only."""
        await self._caught_up(grant.standing.versions.revision)
        return self._index.missing(name, grant.scope.classes) if name in self._published else frozenset()

    async def _caught_up(self, revision: int) -> None:
        """Return when what is known is as new as this revision, and nobody changes it. What follows without a pause is
        judged by that."""
        while self._refreshing is not None or self._revision < revision:
            if self._refreshing is None:
                self._refreshing = asyncio.create_task(self._refresh())
            await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        """Read what is published, and by which labels; whoever is judged waits for the end. A failure forgets all."""
        try:
            revision = await self._revision_now()
            served = {one.name: one for one in await self._store.published()}
            found = [await self._candidate(one) for one in served.values() if one.name not in self._published]
            new = [one for one in found if one is not None]
            learned = await self._learned.labels([one.served.id for _, one in new])
            moved = await self._learned.moved(self._labelled) if self._published else learned
            await asyncio.to_thread(self._take, served, new, {**learned.documents, **moved.documents})
            self._revision, self._labelled = revision, min(learned.at, moved.at)
        except BaseException:
            self._forget()
            raise
        finally:
            self._refreshing = None

    async def _candidate(self, one: Served) -> tuple[Candidate, Published] | None:
        """An adapter that is published since. One whose lineage is not that of its manifest is nobody's."""
        try:
            registered, lineage = await self._store.get(one.id), await self._store.lineage(one.id)
            if registered is None or lineage is None:
                return None
            return await asyncio.to_thread(_made, one, registered, lineage)
        except AdapterFault as fault:
            _log.critical("adapter_not_served", adapter=one.name, problem=str(fault))
            return None

    def _take(
        self, served: Collection[str], new: list[tuple[Candidate, Published]], labels: Mapping[UUID, Labelled]
    ) -> None:
        """In a thread of its own: an adapter may have learned ten thousand documents."""
        for name in [name for name in self._published if name not in served]:
            self._index.remove(name)
            del self._published[name]
        moved = {document: label for document, label in labels.items() if self._labels.get(document, label) != label}
        for published in self._published.values():
            published.moved(self._labels, moved)
        self._labels |= moved
        for candidate, published in new:
            known = {one: labels[one] for one in candidate.documents if one in labels}
            published.begin(known)
            self._index.add(candidate, {document: label.classes for document, label in known.items()})
            self._published[candidate.name] = published
            self._labels |= known
        self._index.relabel({document: label.classes for document, label in moved.items()})
        self._told = (None, 0.0, {})


def _made(one: Served, registered: Registered, lineage: Lineage) -> tuple[Candidate, Published]:
    """In a thread of its own, as `_take`."""
    return Candidate.of(registered.identity, lineage), Published.of(one, lineage, registered.created_at)
