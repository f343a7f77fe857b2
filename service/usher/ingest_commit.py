"""The order in which documents become visible, and how a cut-off ingest is finished.

new version's row and text -> its chunks in class 0 -> flush -> label pending beside the old one, with its outbox row
-> event -> label active and this version current -> chunks moved to the class, the old version's deleted, flush ->
noted as carried. Killed anywhere, `recover` completes it, and nothing half-labelled is ever visible. A cancellation
takes effect between two batches: within one, a thread that writes would go on behind the back of the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from usher.authority import Clock
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, Room
from usher.outbox import Courier
from usher.ports import Intake, LabelChange, Point, Staged, Store, StoreBatch


class DiskShort(UserError):
    """No new document is taken in: what is left of the disk is kept for the record. Labels and deletions go on."""

    status = 503
    retry_after = 60


class ChangedElsewhere(UserError):
    """Another server changes documents, and does not end in time."""

    status = 503
    retry_after = 60

    def __init__(self) -> None:
        super().__init__("documents", "are being changed by another server", "try again when it is done")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A new version with its points (in class 0) and the class that it shall get."""

    staged: Staged
    points: tuple[Point, ...]
    access_class: int


Gone = Callable[[], Awaitable[object]]
"""Awaited once documents are deleted, and at a start: whoever learned them hears of it."""


async def nobody_learned() -> None:
    """Where nothing learns from documents."""


class DocumentsTurn:
    """Who changes documents does it while nobody else does, on whichever server: `async with` it. `here` is this
    server's share of it, `elsewhere` the others'."""

    def __init__(self, elsewhere: Callable[[float | None], AbstractAsyncContextManager[None]]) -> None:
        self.here = asyncio.Lock()
        self.elsewhere = elsewhere
        self._held = AsyncExitStack()

    async def __aenter__(self) -> None:
        """Raises `ChangedElsewhere`."""
        await self.here.acquire()
        try:
            await self._held.enter_async_context(self.elsewhere(None))
        except BaseException as error:
            self.here.release()
            if isinstance(error, LedgerUnavailable):
                raise ChangedElsewhere from error
            raise

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._held.aclose()
        finally:
            self.here.release()


class Committer:
    """Carries batches of changes through the order of commitment. `room` is what the ledger's disk has left."""

    def __init__(
        self,
        intake: Intake,
        store: Store,
        courier: Courier,
        clock: Clock,
        room: Callable[[], Room],
        gone: Gone = nobody_learned,
    ) -> None:
        self._intake = intake
        self._store = store
        self._courier = courier
        self._clock = clock
        self._room = room
        self._gone, self._untold = gone, True  # an earlier process may have deleted something
        self._carrying = asyncio.Lock()
        self._unnamed: set[tuple[UUID, int | None]] | None = None
        """Versions that are staged and that no change names; None while an earlier process may have left some."""

    async def put(self, batch: Sequence[Prepared], by: str) -> None:
        """Take new versions in, all or (after a failure, at the next `recover`) none of them half. Raises
        `DiskShort`."""
        await self._has_room()
        await _to_its_end(self._put(batch, by))

    async def stage(self, batch: Sequence[Prepared]) -> None:
        """Only the first half of `put`: in nobody's scope, and forgotten by `recover` unless a change names it. Raises
        `DiskShort`."""
        await self._has_room()
        await _to_its_end(self._stage(batch))

    async def label(self, changes: Sequence[LabelChange], by: str) -> None:
        """Bring label changes into force and carry them to the store."""
        await _to_its_end(self._label(changes, by))

    async def _has_room(self) -> None:
        if await asyncio.to_thread(self._room) is not Room.AMPLE:
            remedy = "make room, then send it again: what was taken in before stays"
            raise DiskShort("disk", "has less free than USHER_DISK_RESERVE, so nothing new is taken in", remedy)

    async def _put(self, batch: Sequence[Prepared], by: str) -> None:
        await self._stage(batch)
        changes = [LabelChange("put", p.staged.document, p.staged.version, p.access_class) for p in batch]
        await self._label(changes, by)

    async def _stage(self, batch: Sequence[Prepared]) -> None:
        if self._unnamed is not None:
            self._unnamed.update((p.staged.document, p.staged.version) for p in batch)
        await self._intake.stage([prepared.staged for prepared in batch], self._clock())
        points = [point for prepared in batch for point in prepared.points]
        if points:
            await self._store.write(StoreBatch(upsert=points))

    async def _label(self, changes: Sequence[LabelChange], by: str) -> None:
        begun = await self._intake.begin(changes, by, self._clock())
        if self._unnamed is not None:
            self._unnamed.difference_update((change.document, change.version) for change in changes)
        await self._courier.carry(begun)
        self._untold |= any(change.kind == "delete" for change in changes)
        await self._carry_to_store()
        await self._tell()

    async def access_class(self, requirements: frozenset[str]) -> int:
        """The class of a requirement set whose reader lists are known."""
        return (await self._intake.intern([requirements], {}))[0]

    async def recover(self) -> None:
        """Finish what was cut off; forget staged versions that no change names. No other change may be under way.

        Costs one query where nothing was cut off.
        """
        await _to_its_end(self._recover())

    async def _recover(self) -> None:
        await self._courier.recover()
        await self._carry_to_store()
        if self._unnamed is None or self._unnamed:
            leftovers = await self._intake.leftovers()
            if leftovers:
                await self._store.write(StoreBatch(delete=leftovers))
            await self._intake.discard()
            self._unnamed = set()
        await self._tell()

    async def _tell(self) -> None:
        if self._untold:
            await self._gone()
            self._untold = False

    async def _carry_to_store(self) -> None:
        async with self._carrying:  # so that none notes as carried what another is about to change
            waiting = await self._intake.uncarried()
            if waiting:
                delete = [chunk for document in waiting for chunk in document.delete]
                moves = [(document.move, document.access_class) for document in waiting if document.move]
                await self._store.write(StoreBatch(delete=delete, move=moves))
                await self._intake.carried([document.document for document in waiting])


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do the work. A cancellation, or several, takes effect when it is done."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    finally:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # it failed after its caller had gone: the next `recover` finishes it
