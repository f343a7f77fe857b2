"""Late interaction: the best candidates ranked again, token by token.

A chunk's one vector blurs what its sentences say; its tokens' vectors keep it. Each token of the question looks for the
token of the chunk that is nearest to it (ColBERT: Khattab and Zaharia, SIGIR 2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from usher.core.fusion import DECIMALS, Ranked

TokenVectors = NDArray[np.int8]
"""What a text's tokens mean where they stand: shape (tokens, `TOKEN_DIMENSIONS`), unit vectors times 127, rounded.

They nearly spell the text, so they are kept like text: sealed, never in the vector store."""
TOKEN_DIMENSIONS = 128
CANDIDATES = 30
"""How many of the fused ranking are ranked again: more costs time and finds hardly more."""
LEXICAL = 0.1
"""The weight of BM25 among the candidates, less than in choosing them: their tokens tell of words too."""
_ONE = 127


def rounded(vectors: NDArray[np.float32]) -> TokenVectors:
    """Unit vectors of shape (tokens, `TOKEN_DIMENSIONS`) as they are kept."""
    return np.rint(vectors * _ONE).astype(np.int8)


def rerank(
    ranked: Iterable[Ranked], question: TokenVectors, chunks: Mapping[UUID, TokenVectors | None]
) -> tuple[Ranked, ...]:
    """In the new order: each fused score + the mean, over the question's tokens, of the best cosine in the chunk.

    A chunk without token vectors meets none of the question and gains 0. The sums are of whole numbers, so they are
    exact on every machine; ties go by chunk id.
    """
    asked = question.astype(np.float32).T
    scored = (Ranked(r.chunk, round(r.score + _met(asked, chunks.get(r.chunk)), DECIMALS)) for r in ranked)
    return tuple(sorted(scored, key=lambda r: (-r.score, r.chunk)))


def _met(asked: NDArray[np.float32], tokens: TokenVectors | None) -> float:
    if tokens is None or 0 in (len(tokens), asked.shape[1]):
        return 0.0
    # A product is at most 128 * 127 * 127 < 2^24: float32 holds it and every partial sum exactly, in any order.
    best = (tokens.astype(np.float32) @ asked).max(axis=0)
    return float(best.sum(dtype=np.float64)) / (_ONE * _ONE * len(best))
