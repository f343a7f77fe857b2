"""The one place where a scope becomes a filter of the vector store, and where queries get that filter.

Filters and queries are plain data in the syntax of Qdrant's REST interface; each backend turns them into its engine's
types. The filter is only ever a `must`: in Qdrant a `should` at the root of a query is merged by OR with those of its
prefetches and so goes around them, and an empty filter matches everything. Whatever leaves here carries the filter at
its root, on each prefetch below it, and as the population of the term statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from usher.core.fusion import SparseVector

CLASS_FIELD = "access_class"
DENSE, SPARSE = "dense", "sparse"

MAX_CLASSES = 50_000
"""The most access classes that one scope was tested with."""

# Measured on the embedded engine at 10,000 points: one range costs a fifth of the same ids as a list, but each further
# range is paid for at every point, and from 64 on the list is as fast.
MAX_RANGES = 16
MIN_RUN = 8

Filter = Mapping[str, Any]
Query = dict[str, Any]


class ScopeTooWide(Exception):
    """A scope has more access classes than the store was tested with; the message says the remedy."""


def check_classes(classes: Sequence[int]) -> None:
    """Raises `ScopeTooWide` above `MAX_CLASSES`, and `ValueError` for a scope that is empty, unsorted, repeats a class
    or has class 0: no filter stands for nothing, so the caller answers an empty scope itself."""
    if not classes or classes[0] < 1 or any(a >= b for a, b in pairwise(classes)):
        raise ValueError("classes: must be a sorted list of distinct positive ids; sort it, and leave class 0 out")
    if len(classes) > MAX_CLASSES:
        raise ScopeTooWide(
            f"The scope has {len(classes)} access classes, and the store was tested up to {MAX_CLASSES}. Merge reader"
            " lists or collections that the same people may read, so that documents share access classes."
        )


def compile_scope(classes: Sequence[int]) -> Filter:
    """The filter that admits exactly the chunks of `classes`: `{"must": [one condition]}`.

    Raises as `check_classes` does.
    """
    check_classes(classes)
    ranges, singles = _ranges_and_singles(classes)
    conditions = [_condition(range={"gte": low, "lte": high}) for low, high in ranges]
    if singles:
        conditions.append(_condition(match={"any": singles}))
    return {"must": conditions if len(conditions) == 1 else [{"should": conditions}]}


def _condition(**test: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": CLASS_FIELD, **test}


def _ranges_and_singles(classes: Sequence[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """The longest runs of ids, and the ids outside them."""
    runs = runs_of(classes)
    long = sorted((run for run in runs if run[1] - run[0] + 1 >= MIN_RUN), key=lambda run: run[0] - run[1])
    ranges = sorted(long[:MAX_RANGES])
    chosen = set(ranges)
    return ranges, [n for low, high in runs if (low, high) not in chosen for n in range(low, high + 1)]


def runs_of(classes: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted distinct ids as (first, last) of each unbroken run."""
    starts = [0, *(i for i, (a, b) in enumerate(pairwise(classes), start=1) if b != a + 1)]
    ends = [*(start - 1 for start in starts[1:]), len(classes) - 1]
    return [(classes[start], classes[end]) for start, end in zip(starts, ends, strict=True)]


def dense_query(scope: Filter, vector: Sequence[float], limit: int) -> Query:
    """The nearest chunks in the scope, by exact search."""
    return _query(scope, vector, DENSE, limit, {"exact": True})


def sparse_query(scope: Filter, terms: SparseVector, limit: int) -> Query:
    """The best chunks in the scope by their words, each term's rarity counted inside the scope; with term weights."""
    vector = {"indices": list(terms.indices), "values": list(terms.values)}
    shape = _query(scope, vector, SPARSE, limit, {"exact": True, "idf": {"corpus": scope}})
    return {**shape, "with_vector": [SPARSE]}


def _query(scope: Filter, vector: object, using: str, limit: int, params: dict[str, Any]) -> Query:
    return {
        "query": vector,
        "using": using,
        "filter": scope,
        "limit": limit,
        "params": params,
        "with_payload": False,
        "with_vector": False,
    }


def count_query(scope: Filter) -> Query:
    """How many chunks the scope has."""
    return {"filter": scope, "exact": True}
