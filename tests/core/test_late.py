"""Late interaction: pure, exact, and never in the way of a chunk that has no token vectors."""

from __future__ import annotations

from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from usher.core.fusion import Ranked
from usher.core.late import TOKEN_DIMENSIONS, TokenVectors, rerank, rounded

A, B, C = (UUID(int=n) for n in (1, 2, 3))
NONE = np.zeros((0, TOKEN_DIMENSIONS), dtype=np.int8)
TOKENS = st.integers(0, 4).flatmap(lambda n: arrays(np.int8, (n, TOKEN_DIMENSIONS), elements=st.integers(-127, 127)))


def words(*places: int) -> TokenVectors:
    """A token for each number; equal numbers mean the same, others nothing of each other."""
    return rounded(np.eye(TOKEN_DIMENSIONS, dtype=np.float32)[list(places)])


def test_a_chunk_that_meets_more_of_the_question_goes_first() -> None:
    """The share of the question's tokens that are met is added to the fused score."""
    fused = [Ranked(A, 0.6), Ranked(B, 0.5), Ranked(C, 0.4)]
    chunks = {A: words(9), B: words(1, 9, 9), C: words(9, 3, 2, 1)}
    assert rerank(fused, words(1, 2), chunks) == (Ranked(C, 1.4), Ranked(B, 1.0), Ranked(A, 0.6))


def test_only_the_nearest_token_counts() -> None:
    """A long chunk gains nothing from its length."""
    assert rerank([Ranked(A, 0.0)], words(1), {A: words(1)}) == rerank([Ranked(A, 0.0)], words(1), {A: words(*[1] * 9)})


def test_a_token_counts_by_its_cosine() -> None:
    """Nearness short of sameness counts in part, to the fourth decimal."""
    between = np.zeros((1, TOKEN_DIMENSIONS), dtype=np.float32)
    between[0, [1, 2]] = 0.6, 0.8
    assert rerank([Ranked(A, 0.25)], words(1), {A: rounded(between)}) == (Ranked(A, round(0.25 + 76 / 127, 4)),)


def test_without_token_vectors_the_fused_ranking_stands() -> None:
    """A chunk that has none keeps its score, and so do all for a question that has none."""
    fused = (Ranked(A, 0.6), Ranked(B, 0.5))
    assert rerank(fused, words(1), {}) == fused
    assert rerank(fused, words(1), {A: NONE}) == fused
    assert rerank(fused, NONE, {A: words(1), B: words(2)}) == fused
    assert rerank([], words(1), {}) == ()


def test_ties_go_by_chunk_id() -> None:
    """Scores that come to the same are in the order of the ids."""
    fused = [Ranked(B, 0.5), Ranked(C, 1.0), Ranked(A, 0.5)]
    assert [r.chunk for r in rerank(fused, words(1), {A: words(1), B: words(1), C: words(2)})] == [A, B, C]


@given(question=TOKENS, chunks=st.dictionaries(st.sampled_from([A, B, C]), TOKENS), order=st.permutations([A, B, C]))
def test_order_does_not_matter(question: TokenVectors, chunks: dict[UUID, TokenVectors], order: list[UUID]) -> None:
    """Neither that of the candidates nor that of the tokens, to the last bit."""
    turned = {chunk: tokens[::-1] for chunk, tokens in chunks.items()}
    first = rerank([Ranked(chunk, 0.5) for chunk in (A, B, C)], question, chunks)
    assert first == rerank([Ranked(chunk, 0.5) for chunk in order], question[::-1], turned)


@given(question=TOKENS, tokens=TOKENS)
def test_the_sums_are_exact(question: TokenVectors, tokens: TokenVectors) -> None:
    """The same as in whole numbers."""
    (ranked,) = rerank([Ranked(A, 0.0)], question, {A: tokens})
    best = (tokens.astype(int) @ question.astype(int).T).max(axis=0).sum() if len(tokens) and len(question) else 0
    assert ranked.score == round(int(best) / (127 * 127 * max(1, len(question))), 4)
