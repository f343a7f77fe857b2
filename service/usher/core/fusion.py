"""Two lists of candidates into one ranking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Term weights: `indices` are term ids (unsigned 32 bit, distinct), `values` their weights, same length."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and the raw score that the engine gave it (cosine, or a BM25 sum)."""

    chunk: UUID
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """The two lists of one search, best first, and what ranking needs to weigh them.

    `idf` maps each asked term id to its inverse document frequency *within the scope*
    (ln((N - n + 0.5) / (n + 0.5) + 1)); a term that no chunk in the scope holds has the value for n = 0.
    """

    dense: tuple[Hit, ...]
    sparse: tuple[Hit, ...]
    idf: Mapping[int, float]
