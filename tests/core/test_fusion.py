"""Two lists into one ranking: pure, deterministic, on an absolute scale."""

from __future__ import annotations

import math
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from usher.core import lexical
from usher.core.fusion import LEXICAL, MOST_TF, Found, Hit, Ranked, SparseVector, fuse

A, B, C = (UUID(int=n) for n in (1, 2, 3))
QUERY = SparseVector((7, 9), (1.0, 1.0))
IDF = {7: 2.0, 9: 3.0}
SCORES = st.floats(-1, 1, allow_nan=False)


def found(dense: dict[UUID, float], sparse: dict[UUID, float], idf: dict[int, float] = IDF) -> Found:
    return Found(tuple(Hit(*item) for item in dense.items()), tuple(Hit(*item) for item in sparse.items()), idf)


def test_most_tf_is_bm25s() -> None:
    """The bound of fusion is the bound of the vectors."""
    assert math.isclose(MOST_TF, lexical.K1 + 1)


def test_score_is_cosine_and_the_share_of_possible_bm25() -> None:
    """Terms that the scope does not know count in the bound, so they lower the lexical share."""
    bound = (2.0 + 3.0) * MOST_TF
    assert fuse(found({A: 0.5}, {A: bound / 2}), QUERY, 1) == (Ranked(A, round(0.5 + LEXICAL / 2, 4)),)


def test_a_chunk_missing_in_one_list_has_its_least_score() -> None:
    """Without BM25 a chunk has its cosine; without a cosine it has the last one listed."""
    assert fuse(found({A: 0.5, B: 0.25}, {C: 1.9}), QUERY, 3) == (
        Ranked(A, 0.5),
        Ranked(C, round(0.25 + LEXICAL * 0.2, 4)),
        Ranked(B, 0.25),
    )


def test_ties_go_by_chunk_id() -> None:
    """Scores that differ only beyond the fourth decimal are equal."""
    assert [r.chunk for r in fuse(found({C: 0.50004, B: 0.5, A: 0.49996}, {}), QUERY, 3)] == [A, B, C]


def test_raw_scores_are_rounded_before_they_are_added() -> None:
    """What an engine gives beyond the fourth decimal never adds up to a difference."""
    bound = 5.0 * MOST_TF
    (ranked,) = fuse(found({A: 0.50004}, {A: bound * 0.00004 / LEXICAL + 0.00004}), QUERY, 1)
    assert ranked.score == 0.5


def test_no_question_terms_leaves_the_cosine() -> None:
    """A question of stop words is ranked by cosine alone."""
    assert fuse(found({A: 0.3, B: 0.4}, {}, {}), SparseVector((), ()), 9) == (Ranked(B, 0.4), Ranked(A, 0.3))


def test_nothing_found_is_nothing_ranked() -> None:
    """Empty lists give an empty ranking."""
    assert fuse(found({}, {}), QUERY, 10) == ()


@given(
    dense=st.dictionaries(st.integers(1, 20).map(lambda n: UUID(int=n)), SCORES),
    sparse=st.dictionaries(st.integers(1, 20).map(lambda n: UUID(int=n)), SCORES.map(lambda x: 5 + 4 * x)),
    k=st.integers(1, 25),
)
def test_order_of_the_lists_does_not_matter(dense: dict[UUID, float], sparse: dict[UUID, float], k: int) -> None:
    """The ranking is a function of the scores alone, best first, cut to k, a prefix of any longer one."""
    ranked = fuse(found(dense, sparse), QUERY, k)
    assert ranked == fuse(
        found(dict(reversed(dense.items())), dict(sorted(sparse.items())), dict(reversed(IDF.items()))), QUERY, k
    )
    assert len(ranked) == min(k, len(dense.keys() | sparse.keys()))
    assert list(ranked) == sorted(ranked, key=lambda r: (-r.score, r.chunk))
    assert ranked == fuse(found(dense, sparse), QUERY, 100)[:k]
