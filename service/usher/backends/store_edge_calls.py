"""The `Store` port as calls to the process of an embedded store, wherever that process is."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from usher.backends.index_identity import IndexIdentity
from usher.backends.store_edge_wire import (
    READY,
    Call,
    CountCall,
    Reply,
    SearchCall,
    WirePoint,
    WriteCall,
    pack_classes,
    pack_dense,
    pack_sparse,
)
from usher.core.scope import check_classes
from usher.ports import Found, SparseVector, StoreBatch, Vector

_SCOPES = 64
POINTS_PER_CALL = 200
"""A large write is sent in parts, so that a search waits for one part and not for all."""


class StoreCalls(ABC):
    """Everything of the port but the line to the process."""

    def __init__(self, identity: IndexIdentity) -> None:
        self._identity = identity
        self._ids = itertools.count(READY + 1)
        self._scopes: dict[int, tuple[Sequence[int], bytes]] = {}

    @abstractmethod
    async def ask(self, call: Call) -> Reply:
        """The answer to one call, whose id is from `_ids`. Raises `StoreUnavailable`."""

    async def search(self, classes: Sequence[int], dense: Vector, sparse: SparseVector, k: int) -> Found:
        if k < 1:
            raise ValueError(f"k: must be at least 1, and is {k}")
        if not classes:
            return Found((), (), {})
        terms, weights = pack_sparse(sparse)
        call = SearchCall(next(self._ids), self._packed(classes), pack_dense(dense), terms, weights, k)
        return (await self.ask(call)).found

    def _packed(self, classes: Sequence[int]) -> bytes:
        """Checked and packed once, while it is asked for again and again: a scope may have 50,000 classes, and those
        who have the same are given the same tuple."""
        known = self._scopes.get(id(classes))
        if known is not None and known[0] is classes:
            return known[1]
        check_classes(classes)
        packed = pack_classes(classes)
        if isinstance(classes, tuple):  # another kind could be changed
            if len(self._scopes) >= _SCOPES:
                self._scopes.clear()
            self._scopes[id(classes)] = (classes, packed)
        return packed

    async def write(self, batch: StoreBatch) -> None:
        self._identity.check_points(batch.upsert)
        for part in self._parts(batch):
            await self.ask(part)

    async def count(self) -> int:
        """Chunks in the index, those of class 0 too."""
        return (await self.ask(CountCall(next(self._ids)))).count

    def _parts(self, batch: StoreBatch) -> Iterator[WriteCall]:
        """All deletes, then the points in parts, then all moves: the order that the port promises."""
        upsert = [batch.upsert[i : i + POINTS_PER_CALL] for i in range(0, len(batch.upsert), POINTS_PER_CALL)] or [()]
        last = len(upsert) - 1
        for n, points in enumerate(upsert):
            yield WriteCall(
                next(self._ids),
                delete=list(batch.delete) if n == 0 else [],
                upsert=[WirePoint.of(point) for point in points],
                move=[(list(chunks), access_class) for chunks, access_class in batch.move] if n == last else [],
                flush=n == last,
            )
