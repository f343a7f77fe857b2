"""Every query that reaches an engine, as the engine's own types have it, carries the scope's filter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import qdrant_edge
from tests.backends.store_kit import ASKED, IDENTITY, point, slow, vector

from usher.backends.store_edge_engine import EdgeEngine
from usher.backends.store_edge_wire import WirePoint
from usher.core.scope import CLASS_FIELD, compile_scope
from usher.ports import SparseVector, StoreBatch

SCOPES = [[1], [1, 3, 5], list(range(1, 40)), [*range(1, 40), 50, 60, *range(100, 130)]]
TIED = [point(n, 1, seed=1) for n in range(1, 60)]  # more than one batch holds, so ties are asked for again
QUESTIONS = [ASKED, SparseVector((), ())]


def neutral(value: Any) -> Any:
    """An embedded engine's filter, read back from its own objects; a form that is not expected fails."""
    match value:
        case qdrant_edge.Filter():
            assert value.must_not is None
            assert value.min_should is None
            clauses = {"must": value.must, "should": value.should}
            return {name: [neutral(part) for part in parts] for name, parts in clauses.items() if parts is not None}
        case qdrant_edge.FieldCondition():
            assert (value.geo_radius, value.values_count, value.is_empty, value.is_null) == (None,) * 4
            if value.range is not None:
                return {"key": value.key, "range": {"gte": int(value.range.gte), "lte": int(value.range.lte)}}
            return {"key": value.key, "match": {"any": value.match.value}}
    raise AssertionError(f"a condition that was not expected: {value}")


class CountingShard:
    """A real shard that counts how often it is asked for a size."""

    def __init__(self, shard: qdrant_edge.EdgeShard) -> None:
        self._shard, self.counts = shard, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)

    def count(self, request: qdrant_edge.CountRequest) -> int:
        self.counts += 1
        return self._shard.count(request)


class RecordingShard:
    """A real shard that notes what it is asked. It has no other way in: any other method is an error."""

    def __init__(self, shard: qdrant_edge.EdgeShard) -> None:
        self._shard, self.filters = shard, []

    def query_batch(self, batch: qdrant_edge.QueryBatchRequest) -> Any:
        for query in batch.queries:
            assert query.prefetches == []
            self.filters.append(neutral(query.filter))
            if query.params.idf is not None:
                self.filters.append(neutral(query.params.idf.corpus))
        return self._shard.query_batch(batch)

    def count(self, request: qdrant_edge.CountRequest) -> int:
        self.filters.append(neutral(request.filter))
        return self._shard.count(request)

    def facet(self, request: qdrant_edge.FacetRequest) -> Any:
        """Which classes there are chunks of: of everybody's, and told to nobody."""
        assert request.key == CLASS_FIELD
        return self._shard.facet(request)

    def update(self, operation: qdrant_edge.UpdateOperation) -> None:
        self._shard.update(operation)


# Without terms: the dense list, the count, and the dense list again for the tie. With six terms there are also the
# sparse list, six single terms and the sparse list again, each with the filter twice.
EXPECTED_FILTERS = {len(ASKED.indices): 3 + 2 * 8, 0: 3}


def test_the_size_of_a_scope_is_remembered_until_a_write(tmp_path: Path) -> None:
    """Scopes with the same chunks share it, and a point that comes or goes changes the weights of terms at once."""
    engine = EdgeEngine.scratch(tmp_path, IDENTITY.dimensions)
    shard = CountingShard(engine._shard)
    engine._shard = shard
    engine.write([], [WirePoint.of(p) for p in TIED[:-1]], [])
    before = [engine.search(scope, vector(1).tolist(), ASKED, 3).idf for scope in (*SCOPES, *SCOPES)]
    assert shard.counts == 1
    engine.write([], [WirePoint.of(TIED[-1])], [])
    after = [engine.search(scope, vector(1).tolist(), ASKED, 3).idf for scope in SCOPES]
    assert shard.counts == 2
    assert all(old != new for old, new in zip(before, after, strict=False))


def test_all_that_reaches_the_embedded_engine_is_filtered(tmp_path: Path) -> None:
    """Each query's filter and each idf population is the compiled scope, less the classes that no chunk has; an empty
    scope reaches no engine."""
    engine = EdgeEngine.scratch(tmp_path, IDENTITY.dimensions)
    shard = RecordingShard(engine._shard)
    engine._shard = shard
    engine.write([], [WirePoint.of(p) for p in TIED], [])
    for scope in SCOPES:
        for question in QUESTIONS:
            engine.write([], [], [])  # a size that is remembered would not be asked for
            shard.filters.clear()
            found = engine.search(scope, vector(1).tolist(), question, 3)
            assert len(found.dense) == len(TIED)
            assert shard.filters == [compile_scope([1])] * EXPECTED_FILTERS[len(question.indices)]
    shard.filters.clear()
    assert engine.search([], vector(1).tolist(), ASKED, 3).dense == ()
    assert shard.filters == []


class RecordingClient:
    """A real client that notes what it is asked; any method that is not named here is an error."""

    def __init__(self, client: Any) -> None:
        self._client, self.filters = client, []
        self.upsert, self.close = client.upsert, client.close

    async def query_batch_points(self, collection: str, requests: Sequence[Any]) -> Any:
        for request in (request.model_dump(exclude_none=True) for request in requests):
            assert "prefetch" not in request
            self.filters.append(request["filter"])
            if "idf" in request.get("params", {}):
                self.filters.append(request["params"]["idf"]["corpus"])
        return await self._client.query_batch_points(collection, requests)

    async def count(self, collection: str, scope: Any, *, exact: bool) -> Any:
        self.filters.append(scope.model_dump(exclude_none=True))
        return await self._client.count(collection, scope, exact=exact)


@slow
@pytest.mark.parametrize("local", [True, False])
def test_all_that_reaches_the_server_is_filtered(local: bool) -> None:
    """The same for the client of the server, with the parameters of local mode and with those of a server."""
    from usher.backends.store_qdrant import LOCAL, QdrantStore

    async def scenario() -> None:
        store = await QdrantStore.open(LOCAL, "chunks", IDENTITY)
        await store.write(StoreBatch(upsert=TIED))
        client = RecordingClient(store._collection.client)
        store._collection.client = client
        store._collection._local = local
        for scope in SCOPES:
            for question in QUESTIONS:
                client.filters.clear()
                found = await store.search(scope, vector(1), question, 3)
                assert len(found.dense) == len(TIED)
                assert client.filters == [compile_scope(scope)] * EXPECTED_FILTERS[len(question.indices)]
        await store.close()

    with _exact_is_accepted(not local):
        asyncio.run(scenario())


def _exact_is_accepted(warns: bool) -> Any:
    """Local mode warns of `exact`, which a server needs."""
    import contextlib

    return pytest.warns(UserWarning, match="search_params") if warns else contextlib.nullcontext()


def test_a_filter_names_only_classes_that_chunks_have(tmp_path: Path) -> None:
    """As of the last write; a scope without any chunk is still one of its own classes, and never everything."""
    engine = EdgeEngine.scratch(tmp_path, IDENTITY.dimensions)
    engine.write([], [WirePoint.of(point(n, n)) for n in (3, 5)], [])
    wide = list(range(1, 10))
    assert engine._with_chunks(np.array(wide, dtype=np.uint32)) == [3, 5]
    assert engine._with_chunks(np.array([4, 5, 6], dtype=np.uint32)) == [5]
    assert engine._with_chunks(np.array([1, 2], dtype=np.uint32)) == [1]
    engine.write([], [], [([UUID(int=3)], 7)])
    assert engine._with_chunks(np.array(wide, dtype=np.uint32)) == [5, 7]
    found = engine.search([1, 2], vector(3).tolist(), ASKED, 5)
    assert (found.dense, found.sparse) == ((), ())
