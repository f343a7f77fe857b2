"""Qdrant's embedded engine under one folder: translation of queries into its types, and nothing else.

Runs only in the store's own process (`store_edge_process`): the engine holds Python's interpreter lock while it works.
Search is exact: no approximate graph is ever built, which is good to about 50,000 chunks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import qdrant_edge as qdrant

from usher.backends.store_edge_wire import WirePoint, unpack_dense, unpack_sparse
from usher.core.fusion import Found, SparseVector
from usher.core.scope import CLASS_FIELD, DENSE, SPARSE, Filter, Query
from usher.core.scoped_search import Answers, Batch, Row, scoped_search

_COUNTS = 256
_ALL = 2**31
_LAST_CLASS = 2**32 - 1
Ids = npt.NDArray[np.uint32]
_NEVER = 10**9  # kilobytes of vectors from which a segment would get an approximate graph


class EdgeEngine:
    """One open index. Only one process may have it open."""

    def __init__(self, shard: qdrant.EdgeShard) -> None:
        self._shard = shard
        self._counts: dict[str, int] = {}
        """Sizes of scopes, until the next write."""
        self._present: Ids | None = None
        """The classes that any chunk has, sorted, until the next write."""

    @classmethod
    def open(cls, folder: Path, dimensions: int) -> EdgeEngine:
        """The index in `folder`, made if there is none. Making is atomic: a folder that exists holds a whole index.

        Where a fifth of a thousand chunks or more were deleted since, the space that they left is given back first
        (1.6 s at 10,000 chunks): here, because searches cannot run beside it.
        """
        if not folder.exists():
            _create(folder, dimensions)
        shard = qdrant.EdgeShard.load(str(folder), _config(dimensions, wal=True))
        shard.optimize()
        return cls(shard)

    @classmethod
    def scratch(cls, folder: Path, dimensions: int) -> EdgeEngine:
        """A new index in an empty folder that keeps nothing safe, and is made in a few milliseconds."""
        return cls(_shard(folder, dimensions, wal=False))

    def search(self, classes: Sequence[int] | Ids, dense: Sequence[float], sparse: SparseVector, k: int) -> Found:
        """`classes` are sorted."""
        steps = scoped_search(self._with_chunks(np.asarray(classes, dtype=np.uint32)), dense, sparse, k)
        try:
            batch = next(steps)
            while True:
                batch = steps.send(self._answer(batch))
        except StopIteration as end:
            found: Found = end.value
            return found

    def _with_chunks(self, classes: Ids) -> list[int]:
        """Those of the classes that any chunk has, for a filter costs by the classes that it names. The first one
        where none has: a filter that names nothing would be none."""
        if self._present is None:
            hits = self._shard.facet(qdrant.FacetRequest(CLASS_FIELD, limit=_ALL, exact=True)).hits
            self._present = np.array(sorted(int(hit.value) for hit in hits if hit.count), dtype=np.uint32)
        places = np.searchsorted(classes, self._present)
        inside = places < len(classes)
        found = self._present[inside][classes[places[inside]] == self._present[inside]]
        kept: list[int] = (found if len(found) else classes[:1]).tolist()
        return kept

    def write(
        self, delete: Sequence[UUID], upsert: Sequence[WirePoint], move: Sequence[tuple[Sequence[UUID], int]]
    ) -> None:
        """In this order; durable only after `flush`. Ids that are not there are passed over. Raises `ValueError` for an
        access class that no search could name: nothing is written."""
        _check_classes([*(point.access_class for point in upsert), *(access_class for _, access_class in move)])
        self._counts.clear()
        self._present = None
        update = qdrant.UpdateOperation
        if delete:
            self._shard.update(update.delete_points(list(delete)))
        if upsert:
            self._shard.update(update.upsert_points([_point(point) for point in upsert]))
        for chunks, access_class in move:
            # By filter: an operation that names its points fails as a whole if one of them is gone.
            present = qdrant.Filter(must=[qdrant.HasIdCondition(set(chunks))])
            self._shard.update(update.set_payload_by_filter(present, {CLASS_FIELD: access_class}))

    def flush(self) -> None:
        self._shard.flush()

    def count(self) -> int:
        return self._shard.count(qdrant.CountRequest(exact=True))

    def close(self) -> None:
        self._shard.close()

    def _answer(self, batch: Batch) -> Answers:
        filters = _Filters()
        requests = [_request(query, filters) for query in batch.queries]
        lists = self._shard.query_batch(qdrant.QueryBatchRequest(requests))
        rows = [[_row(point, query) for point in points] for points, query in zip(lists, batch.queries, strict=True)]
        if batch.count is None:
            return Answers(rows)
        return Answers(rows, self._counted(batch.count["filter"], filters))

    def _counted(self, scope: Filter, filters: _Filters) -> int:
        """How many chunks are in the scope. People of one role ask it again and again, and only a write changes it."""
        key = str(scope)
        if key not in self._counts:
            if len(self._counts) >= _COUNTS:
                self._counts.clear()
            self._counts[key] = self._shard.count(qdrant.CountRequest(exact=True, filter=filters.of(scope)))
        return self._counts[key]


def _check_classes(given: Iterable[int]) -> None:
    for access_class in given:
        if not 0 <= access_class <= _LAST_CLASS:
            raise ValueError(f"access class: must be from 0 to {_LAST_CLASS}, and is {access_class}")


def _create(folder: Path, dimensions: int) -> None:
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    shard = _shard(draft, dimensions, wal=True)
    shard.flush()
    shard.close()
    draft.rename(folder)


def _config(dimensions: int, *, wal: bool) -> qdrant.EdgeConfig:
    dense = qdrant.EdgeVectorParams(
        size=dimensions, distance=qdrant.Distance.Cosine, datatype=qdrant.VectorStorageDatatype.Float32
    )
    sparse = qdrant.EdgeSparseVectorParams(modifier=qdrant.Modifier.Idf)
    exact = qdrant.EdgeOptimizersConfig(indexing_threshold=_NEVER)
    return qdrant.EdgeConfig(vectors={DENSE: dense}, sparse_vectors={SPARSE: sparse}, optimizers=exact, wal_enabled=wal)


def _shard(folder: Path, dimensions: int, *, wal: bool) -> qdrant.EdgeShard:
    shard = qdrant.EdgeShard.create(str(folder), _config(dimensions, wal=wal))
    by_class = qdrant.IntegerIndexParams(lookup=True, range=True)
    shard.update(qdrant.UpdateOperation.create_field_index(CLASS_FIELD, by_class))
    return shard


def _point(point: WirePoint) -> qdrant.Point:
    sparse = unpack_sparse(point.terms, point.weights)
    vectors: dict[str, Any] = {
        DENSE: unpack_dense(point.dense),
        SPARSE: qdrant.SparseVector(list(sparse.indices), list(sparse.values)),
    }
    return qdrant.Point(point.chunk, vectors, {CLASS_FIELD: point.access_class, "document": str(point.document)})


def _row(point: qdrant.ScoredPoint, query: Query) -> Row:
    """The engine gives the whole stored vector; only the weights of the asked terms are kept."""
    chunk = point.id if isinstance(point.id, UUID) else UUID(str(point.id))
    if query["using"] != SPARSE:
        return Row(chunk, point.score, {})
    vectors: Any = point.vector
    stored = dict(zip(vectors[SPARSE].indices, vectors[SPARSE].values, strict=True))
    return Row(chunk, point.score, {t: stored[t] for t in query["query"]["indices"] if t in stored})


class _Filters:
    """Filters in the engine's types. A batch repeats one filter many times: it is translated once."""

    def __init__(self) -> None:
        self._done: list[tuple[Filter, qdrant.Filter]] = []

    def of(self, scope: Filter) -> qdrant.Filter:
        for known, translated in self._done:
            if known is scope:
                return translated
        self._done.append((scope, _filter(scope)))
        return self._done[-1][1]


def _filter(scope: Filter) -> qdrant.Filter:
    match scope:
        case {"must": conditions}:
            return qdrant.Filter(must=[_condition(condition) for condition in conditions])
        case {"should": conditions}:
            return qdrant.Filter(should=[_condition(condition) for condition in conditions])
    raise ValueError(f"filter: no translation for {sorted(scope)}")


def _condition(condition: Mapping[str, Any]) -> qdrant.FieldCondition | qdrant.Filter:
    match condition:
        case {"key": key, "match": {"any": ids}}:
            return qdrant.FieldCondition(key, match=qdrant.MatchAny(ids))
        case {"key": key, "range": {"gte": low, "lte": high}}:
            return qdrant.FieldCondition(key, range=qdrant.RangeFloat(gte=low, lte=high))
        case {"should": _}:
            return _filter(condition)
    raise ValueError(f"filter: no translation for a condition with {sorted(condition)}")


def _request(query: Query, filters: _Filters) -> qdrant.QueryRequest:
    asked, params = query["query"], query["params"]
    vector = qdrant.SparseVector(asked["indices"], asked["values"]) if query["using"] == SPARSE else list(asked)
    idf = qdrant.IdfParams(corpus=filters.of(params["idf"]["corpus"])) if "idf" in params else None
    return qdrant.QueryRequest(
        limit=query["limit"],
        query=qdrant.Query.Nearest(vector, using=query["using"]),
        filter=filters.of(query["filter"]),
        params=qdrant.SearchParams(exact=params["exact"], idf=idf),
        with_vector=query["with_vector"],
        with_payload=query["with_payload"],
    )
