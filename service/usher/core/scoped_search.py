"""One search inside one scope, as a conversation with an engine that this module never touches.

`scoped_search` yields batches of queries and is sent their answers; a backend only carries them. So the embedded engine
and the server run the same algorithm, and every query that any of them sees comes from `scope`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from usher.core.fusion import Found, Hit, SparseVector
from usher.core.scope import Query, compile_scope, count_query, dense_query, sparse_query

DECIMALS = 4
"""Scores that are equal after rounding to this many decimals tie."""

OVER_FETCH = 32
"""Chunks asked for beyond `k`, so that a tie at the k-th place is nearly always broken by the first batch."""

_MARGIN = 1e-4  # half a rounding step each way; an engine's last bits (2e-6) are far below it


@dataclass(frozen=True, slots=True)
class Row:
    """A chunk as the engine returned it; `weights` are the stored weights of the asked terms (sparse queries)."""

    chunk: UUID
    score: float
    weights: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Queries for the engine, and perhaps a count of the scope."""

    queries: Sequence[Query]
    count: Query | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """The rows of each query of a batch, in its order; `count` is 0 where none was asked for."""

    rows: Sequence[Sequence[Row]]
    count: int = 0


Search = Generator[Batch, Answers, Found]


def scoped_search(classes: Sequence[int], dense: Sequence[float], sparse: SparseVector, k: int) -> Search:
    """The `k` best chunks in `classes` by each list, with all that tie with the k-th.

    1. An empty scope is answered here: nothing is asked.
    2. One batch asks both lists, the size of the scope, and each term alone: from the score of one term and the stored
       weight follows the number of chunks in the scope that hold it.
    3. The sparse scores are computed again in double precision from the stored weights, in the order of the terms: an
       engine's own sum depends in its last bits on how the index is laid out, and so on chunks outside the scope.
    4. A list whose end still ties with its k-th place is asked for again, four times as long.
    """
    if k < 1:
        raise ValueError(f"k: must be at least 1, and is {k}")
    if not classes:
        return Found((), (), {})
    scope, limit = compile_scope(classes), k + OVER_FETCH
    terms = [SparseVector((term,), (1.0,)) for term in sparse.indices]
    lists = [dense_query(scope, dense, limit), *([sparse_query(scope, sparse, limit)] if terms else [])]
    singles = [sparse_query(scope, term, 1) for term in terms]
    answers = yield Batch([*lists, *singles], count_query(scope))
    rows = answers.rows[len(lists) :]
    idf = {t.indices[0]: _idf_in_scope(t.indices[0], r, answers.count) for t, r in zip(terms, rows, strict=True)}
    near = yield from _with_ties(answers.rows[0], limit, k, _as_given, lambda n: dense_query(scope, dense, n))
    if not terms:
        return Found(near, (), {})
    again = _rescored(sparse, idf)
    wordy = yield from _with_ties(answers.rows[1], limit, k, again, lambda n: sparse_query(scope, sparse, n))
    return Found(near, wordy, idf)


def idf(chunks: int, holding: int) -> float:
    """BM25's inverse document frequency, never negative (as in Lucene and Qdrant)."""
    return math.log((chunks - holding + 0.5) / (holding + 0.5) + 1)


def _idf_in_scope(term: int, best: Sequence[Row], chunks: int) -> float:
    """The engine's idf is single precision: it gives the number of chunks holding the term, a whole number."""
    if not best:
        return idf(chunks, 0)
    engine = best[0].score / best[0].weights[term]
    holding = round((chunks + 1) / math.exp(engine) - 0.5)
    return idf(chunks, min(max(holding, 0), chunks))


Scores = Callable[[Row], float]


def _as_given(row: Row) -> float:
    return row.score


def _rescored(query: SparseVector, idf: Mapping[int, float]) -> Scores:
    factors = {term: weight * idf[term] for term, weight in zip(query.indices, query.values, strict=True)}
    return lambda row: math.fsum(factor * row.weights.get(term, 0.0) for term, factor in factors.items())


def _with_ties(
    rows: Sequence[Row], limit: int, k: int, score: Scores, ask: Callable[[int], Query]
) -> Generator[Batch, Answers, tuple[Hit, ...]]:
    while not _tie_is_broken(rows, limit, k, score):
        limit *= 4
        (rows,) = (yield Batch([ask(limit)])).rows
    return best_with_ties([Hit(row.chunk, score(row)) for row in rows], k)


def _tie_is_broken(rows: Sequence[Row], limit: int, k: int, score: Scores) -> bool:
    """True if no chunk beyond `rows` can tie with the k-th: there is none, or the last one scores clearly less."""
    if len(rows) < limit:
        return True
    kth = sorted((score(row) for row in rows), reverse=True)[k - 1]
    return min(row.score for row in rows) < kth - _MARGIN


def best_with_ties(hits: Sequence[Hit], k: int) -> tuple[Hit, ...]:
    """The `k` best and all that tie with the k-th, by (rounded score, best first; chunk id)."""
    ordered = sorted(hits, key=lambda hit: (-round(hit.score, DECIMALS), hit.chunk))
    if len(ordered) <= k:
        return tuple(ordered)
    kth = round(ordered[k - 1].score, DECIMALS)
    return tuple(hit for hit in ordered if round(hit.score, DECIMALS) >= kth)
