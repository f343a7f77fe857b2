"""The filter compiler, and that no query leaves without its filter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from usher.core.fusion import Found, Hit, SparseVector
from usher.core.scope import MAX_CLASSES, MAX_RANGES, MIN_RUN, ScopeTooWide, compile_scope, runs_of
from usher.core.scoped_search import OVER_FETCH, Answers, Row, best_with_ties, idf, scoped_search

scopes = st.one_of(
    st.lists(st.integers(1, 60), min_size=1, unique=True).map(sorted),
    st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 30)), min_size=1, max_size=40).map(
        lambda runs: sorted({n for first, more in runs for n in range(first, first + more + 1)})
    ),
)


def admits(condition: Mapping[str, Any], access_class: int) -> bool:
    """What Qdrant documents of its filters, for the few forms that are used."""
    match condition:
        case {"must": parts}:
            return all(admits(part, access_class) for part in parts)
        case {"should": parts}:
            return any(admits(part, access_class) for part in parts)
        case {"key": "access_class", "match": {"any": ids}}:
            return access_class in ids
        case {"key": "access_class", "range": {"gte": low, "lte": high}}:
            return low <= access_class <= high
    raise AssertionError(f"a form that was not expected: {condition}")


@given(scopes)
def test_the_filter_admits_exactly_the_scope(classes: list[int]) -> None:
    """Every class of the scope, and no other: not its neighbours, not class 0."""
    compiled = compile_scope(classes)
    around = {c + d for c in classes for d in (-1, 0, 1)} | {0}
    assert {c for c in around if admits(compiled, c)} == set(classes)


@given(scopes)
def test_the_filter_is_one_must_with_one_condition(classes: list[int]) -> None:
    """At the root there is a `must` and nothing else, never an empty one; a `should` only stands inside it."""
    compiled = compile_scope(classes)
    (condition,) = compiled["must"]
    assert list(compiled) == ["must"]
    assert set(condition) in ({"key", "match"}, {"key", "range"}, {"should"})
    assert all(set(part) in ({"key", "match"}, {"key", "range"}) for part in condition.get("should", ()))


def test_long_runs_become_ranges_and_single_ids_a_list() -> None:
    """A run of at least eight is a range; shorter ones, and the shortest beyond sixteen ranges, are listed."""
    assert compile_scope(range(3, 11)) == {"must": [{"key": "access_class", "range": {"gte": 3, "lte": 10}}]}
    assert compile_scope([3, 5]) == {"must": [{"key": "access_class", "match": {"any": [3, 5]}}]}
    many = [n for start in range(0, 3000, 100) for n in range(start + 1, start + 1 + MIN_RUN)]
    (condition,) = compile_scope(many)["must"]
    ranges, listed = condition["should"][:-1], condition["should"][-1]["match"]["any"]
    assert len(ranges) == MAX_RANGES
    assert len(listed) == (30 - MAX_RANGES) * MIN_RUN


@given(scopes)
def test_runs_cover_the_ids_once(classes: list[int]) -> None:
    """The runs, put together, are the ids; between two runs there is a gap."""
    runs = runs_of(classes)
    assert [n for low, high in runs for n in range(low, high + 1)] == classes
    assert all(b[0] > a[1] + 1 for a, b in pairwise(runs))


@pytest.mark.parametrize("classes", [[], [0], [0, 1], [-3, 1], [2, 1], [1, 1]])
def test_what_is_no_scope_has_no_filter(classes: list[int]) -> None:
    """Nothing, class 0, and ids that are not sorted and distinct are errors, not filters."""
    with pytest.raises(ValueError, match="sorted list of distinct positive ids"):
        compile_scope(classes)


def test_a_scope_that_is_too_wide_is_refused_with_the_remedy() -> None:
    """One class more than was tested: refused, also where the ids are one run. Nothing is cut."""
    assert compile_scope(range(1, MAX_CLASSES + 1))
    with pytest.raises(ScopeTooWide, match=r"50001 access classes.*Merge reader lists"):
        compile_scope(range(1, MAX_CLASSES + 2))


def guards(query: Mapping[str, Any], scope: Mapping[str, Any]) -> Iterator[bool]:
    """Whether the root, each prefetch below it and each population of term statistics has exactly this filter."""
    yield query["filter"] == scope
    if query.get("using") == "sparse":
        yield query["params"]["idf"] == {"corpus": scope}
    for leaf in query.get("prefetch", ()):
        yield from guards(leaf, scope)


class Engine:
    """Answers batches from a table of (chunk, dense score, term weights), and keeps what it was asked."""

    def __init__(self, rows: Sequence[tuple[int, float, Mapping[int, float]]]) -> None:
        self.rows, self.asked = rows, []

    def run(self, classes: Sequence[int], sparse: SparseVector, k: int) -> Found:
        steps = scoped_search(classes, [1.0], sparse, k)
        try:
            batch = next(steps)
            while True:
                self.asked.append(batch)
                batch = steps.send(Answers([self._answer(query) for query in batch.queries], len(self.rows)))
        except StopIteration as end:
            return end.value

    def _answer(self, query: Mapping[str, Any]) -> list[Row]:
        if query["using"] == "dense":
            scored = [Row(UUID(int=n), score, {}) for n, score, _ in self.rows]
        else:
            scored = [row for row in (self._words(query["query"], row) for row in self.rows) if row.weights]
        return sorted(scored, key=lambda row: -row.score)[: query["limit"]]

    def _words(self, query: Mapping[str, Any], row: tuple[int, float, Mapping[int, float]]) -> Row:
        n, _, weights = row
        asked = {t: q for t, q in zip(query["indices"], query["values"], strict=True) if t in weights}
        score = sum(q * weights[t] * self._idf(t) for t, q in asked.items())
        return Row(UUID(int=n), score * (1 + 1e-7 * math.sin(n)), {t: weights[t] for t in asked})

    def _idf(self, term: int) -> float:
        return idf(len(self.rows), sum(term in weights for _, _, weights in self.rows))


TWO_TERMS = SparseVector((5, 6), (1.0, 2.0))


@settings(max_examples=25)
@given(scopes, st.integers(1, 8))
@example([1], 1)
def test_every_query_of_a_search_carries_the_filter(classes: list[int], k: int) -> None:
    """Both lists, each single term, the count, and what is asked again for a tie: all shapes that leave."""
    engine = Engine([(n, 0.5, {5: 1.0, 6: 0.5}) for n in range(60)])
    found = engine.run(classes, TWO_TERMS, k)
    scope = compile_scope(classes)
    first, *again = engine.asked
    assert (len(found.dense), len(found.sparse)) == (60, 60)
    assert [query["using"] for query in first.queries] == ["dense", "sparse", "sparse", "sparse"]
    assert [batch.queries[0]["using"] for batch in again] == ["dense", "sparse"]
    assert first.count == {"filter": scope, "exact": True}
    assert all(all(guards(query, scope)) for batch in engine.asked for query in batch.queries)


def test_an_empty_scope_asks_nothing() -> None:
    """The engine is not asked at all."""
    engine = Engine([(1, 0.5, {})])
    assert engine.run([], TWO_TERMS, 5) == Found((), (), {})
    assert engine.asked == []


def test_a_list_is_asked_for_again_only_while_a_tie_is_open() -> None:
    """With the tie broken in the first batch there is no second; with 200 equal scores there are two more."""
    apart = Engine([(n, 1 / n, {5: 1.0 + n}) for n in range(1, 200)])
    apart.run([1], TWO_TERMS, 5)
    assert [len(batch.queries) for batch in apart.asked] == [4]
    equal = Engine([(n, 0.5, {5: 1.0}) for n in range(200)])
    assert len(equal.run([1], SparseVector((), ()), 5).dense) == 200
    assert [batch.queries[0]["limit"] for batch in equal.asked] == [5 + OVER_FETCH, 4 * (5 + OVER_FETCH), 16 * 37]


def test_sparse_scores_do_not_keep_the_engines_last_bits() -> None:
    """Scores come from the stored weights and whole numbers of chunks, so an engine's rounding leaves no trace."""
    rows = [(n, 0.5, {5: 0.25 + n % 7, 6: 0.5}) for n in range(30)]
    found = Engine(rows).run([1], TWO_TERMS, 50)
    assert found.idf == {5: idf(30, 30), 6: idf(30, 30)}
    expected = {UUID(int=n): math.fsum((1.0 * idf(30, 30) * w[5], 2.0 * idf(30, 30) * w[6])) for n, _, w in rows}
    assert {hit.chunk: hit.score for hit in found.sparse} == expected


@given(st.integers(1, 60_000), st.data())
def test_the_number_of_chunks_follows_from_single_precision(chunks: int, data: st.DataObject) -> None:
    """The idf found from an engine's score is the one of the true number, to the last bit, up to 60,000 chunks."""
    import numpy as np

    holding = data.draw(st.integers(1, chunks))
    weight = float(np.float32(data.draw(st.floats(0.01, 3))))
    score = float(np.float32(np.float32(idf(chunks, holding)) * np.float32(weight)))
    steps = scoped_search([1], [1.0], SparseVector((5,), (1.0,)), 1)
    next(steps)
    row = Row(UUID(int=1), score, {5: weight})
    with pytest.raises(StopIteration) as end:
        steps.send(Answers([[], [row], [row]], chunks))
    assert end.value.value.idf == {5: idf(chunks, holding)}


def test_order_is_by_rounded_score_then_chunk() -> None:
    """Scores that differ below 1e-4 tie, and go by chunk id; the k best come with all that tie with the last."""
    hits = [Hit(UUID(int=n), score) for n, score in ((1, 0.50001), (2, 0.50004), (3, 0.9), (4, 0.49996), (5, 0.4))]
    assert [hit.chunk.int for hit in best_with_ties(hits, 2)] == [3, 1, 2, 4]


def test_k_is_at_least_one() -> None:
    """A k of 0 is an error, not an empty answer."""
    with pytest.raises(ValueError, match="k: must be at least 1"):
        next(scoped_search([1], [1.0], TWO_TERMS, 0))
