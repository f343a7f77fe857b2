"""In-memory backends of the ports: no files, no processes, no model. They pass the same contract suites."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import numpy as np

from usher.backends.index_identity import check_weights
from usher.core import late
from usher.core.scope import check_classes
from usher.core.scoped_search import best_with_ties, idf
from usher.ports import Encoded, Found, Hit, Point, SparseVector, StoreBatch, StoreUnavailable, TokenVectors, Vector


class MemoryStore:
    """The `Store` port over a dictionary: every search reads every chunk. Nothing outlives the object."""

    def __init__(self) -> None:
        self._points: dict[UUID, Point] = {}
        self._closed = False

    async def search(self, classes: Sequence[int], dense: Vector, sparse: SparseVector, k: int) -> Found:
        self._check_open()
        if k < 1:
            raise ValueError(f"k: must be at least 1, and is {k}")
        if not classes:
            return Found((), (), {})
        check_classes(classes)
        admitted = frozenset(classes)
        points = [point for point in self._points.values() if point.access_class in admitted]
        rarity = {term: idf(len(points), sum(term in p.sparse.indices for p in points)) for term in sparse.indices}
        return Found(
            best_with_ties([Hit(p.chunk, _cosine(p.dense, dense)) for p in points], k),
            best_with_ties([hit for p in points if (hit := _bm25(p, sparse, rarity)).score > 0], k),
            rarity,
        )

    async def write(self, batch: StoreBatch) -> None:
        self._check_open()
        for point in batch.upsert:
            check_weights(point)
        for chunk in batch.delete:
            self._points.pop(chunk, None)
        self._points.update((point.chunk, point) for point in batch.upsert)
        for chunks, access_class in batch.move:
            for chunk in self._points.keys() & set(chunks):
                self._points[chunk] = replace(self._points[chunk], access_class=access_class)

    async def count(self) -> int:
        return len(self._points)

    async def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("The vector store is closed.")


def _cosine(a: Vector, b: Vector) -> float:
    return float(np.dot(a.astype(np.float64), b.astype(np.float64)))


def _bm25(point: Point, query: SparseVector, rarity: Mapping[int, float]) -> Hit:
    weights = dict(zip(point.sparse.indices, point.sparse.values, strict=True))
    asked = zip(query.indices, query.values, strict=True)
    return Hit(point.chunk, math.fsum(weight * rarity[term] * weights.get(term, 0.0) for term, weight in asked))


class HashEmbedder:
    """The `Embedder` port without a model: words hashed to signed places, so texts that share words are near.

    Deterministic across processes and machines (feature hashing: Weinberger et al. 2009).
    """

    model = "hashed-words@1"
    precision = "fp32"
    local = True

    def __init__(self, dimensions: int = 64) -> None:
        self.dimensions = dimensions

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        return [_hashed(_words(text), self.dimensions) for text in texts]

    async def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return [Encoded(_hashed(_words(text), self.dimensions), _tokens(text)) for text in texts]

    def count_tokens(self, text: str) -> int:
        return len(_words(text))


def _hashed(words: Sequence[str], dimensions: int) -> Vector:
    vector = np.zeros(dimensions, dtype=np.float32)
    for word in words or [""]:
        digest = int.from_bytes(hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest())
        vector[digest % dimensions] += 1.0 if digest >> 63 else -1.0
    length = float(np.linalg.norm(vector))
    if length == 0.0:  # words that cancel each other out
        vector[0] = length = 1.0
    return vector / np.float32(length)


def _tokens(text: str) -> TokenVectors:
    return late.rounded(np.stack([_hashed([word], late.TOKEN_DIMENSIONS) for word in _words(text) or [""]]))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
