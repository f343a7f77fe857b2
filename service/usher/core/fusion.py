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


OVERFETCH = 50
"""The least of each list to ask of the store; whoever wants more passages asks for as many. Longer lists find nothing
more."""
LEXICAL = 0.4
"""The weight of the lexical side beside the cosine. More helps questions in the words of the text, less helps others;
between 0.3 and 0.6 little changes."""
MOST_TF = 1.9
"""The most that one term's weight in a chunk can reach (k1 + 1 in BM25)."""
DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Ranked:
    """A chunk in its final place, with the fused score."""

    chunk: UUID
    score: float


def fuse(found: Found, query: SparseVector, k: int, lexical: float = LEXICAL) -> tuple[Ranked, ...]:
    """The `k` best chunks of both lists: cosine + `lexical` * BM25 / the most that BM25 could be for this query.

    That bound is absolute, so a question whose words the scope does not know leans on the cosine, and nothing outside
    the scope moves a score. Raw scores are rounded first (engines differ in the last bits from build to build), ties go
    by chunk id: equal lists give equal rankings, in whatever order they came. A chunk that one list lacks has the least
    score for it: 0 in BM25, the last one listed in cosine.
    """
    dense = {hit.chunk: round(hit.score, DECIMALS) for hit in found.dense}
    sparse = {hit.chunk: round(hit.score, DECIMALS) for hit in found.sparse}
    floor = min(dense.values(), default=0.0)
    bound = sum(found.idf[term] * weight for term, weight in zip(query.indices, query.values, strict=True)) * MOST_TF
    scale = lexical / bound if bound > 0 else 0.0
    fused = {
        chunk: round(dense.get(chunk, floor) + scale * sparse.get(chunk, 0.0), DECIMALS)
        for chunk in dense.keys() | sparse.keys()
    }
    best = sorted(fused.items(), key=lambda item: (-item[1], item[0]))[:k]
    return tuple(Ranked(chunk, score) for chunk, score in best)
