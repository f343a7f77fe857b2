"""Planted points that show whether an engine keeps term statistics inside the scope that a search asks for.

An engine that counts over all chunks answers with plausible scores, and lets everybody measure how often a word stands
in documents that they may not read. So each engine is asked before it is used.
"""

from __future__ import annotations

from uuid import UUID

import numpy as np

from usher.backends.index_identity import IndexIdentity, IndexRefused
from usher.core.scoped_search import idf
from usher.ports import Found, Point, SparseVector

IDENTITY = IndexIdentity(model="probe", precision="fp32", dimensions=2)
CLASSES = (1,)
DENSE = np.array([1.0, 0.0], dtype=np.float32)
ASKED = SparseVector((7,), (1.0,))
K = 10


def planted() -> list[Point]:
    """Two chunks in the scope, of which one holds the asked term, and nine outside it that all do."""
    holding, other = SparseVector((7,), (0.5,)), SparseVector((8,), (1.0,))
    inside = [_point(1, 1, holding), _point(2, 1, other)]
    return inside + [_point(n, 2, holding) for n in range(3, 12)]


def _point(n: int, access_class: int, sparse: SparseVector) -> Point:
    return Point(UUID(int=n), UUID(int=0), access_class, DENSE, sparse)


def check(found: Found, engine: str) -> None:
    """Raises `IndexRefused` unless `found` is what the planted points in the scope give by themselves."""
    if {hit.chunk.int for hit in found.dense} != {1, 2} or {hit.chunk.int for hit in found.sparse} != {1}:
        raise IndexRefused(f"{engine} returned chunks from outside the scope that was asked for, so it is not used.")
    if found.idf != {7: idf(2, 1)}:
        raise IndexRefused(
            f"{engine} counts terms outside the scope that was asked for, so it is not used. Scoped statistics need"
            " Qdrant 1.19 or newer."
        )
