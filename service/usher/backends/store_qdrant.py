"""The vector store on a Qdrant server or cluster (1.19 or newer), through `qdrant-client`.

The client's local mode (`:memory:`) runs the same code without a server, and without payload indexes: for tests.
Search is exact, as on the embedded store: no approximate graph is built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID, uuid4

from usher.backends import idf_probe
from usher.backends.index_identity import IndexIdentity
from usher.core.fusion import Found, SparseVector
from usher.core.scope import CLASS_FIELD, DENSE, SPARSE, Query
from usher.core.scoped_search import Answers, Batch, Row, scoped_search
from usher.ports import Point, StoreBatch, StoreUnavailable, Vector

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, models

T = TypeVar("T")

LOCAL = ":memory:"
TIMEOUT_S = 10
POINTS_PER_CALL = 200
RETRY_AFTER_S = (0.1, 0.4)
"""Waits before the second and the third try. Every call can be repeated: writes are idempotent."""

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})


class QdrantStore:
    """The `Store` port over one collection of a server."""

    def __init__(self, collection: _Collection, identity: IndexIdentity) -> None:
        self._collection, self._identity = collection, identity
        self._closed = False

    @classmethod
    async def open(
        cls, url: str, collection: str, identity: IndexIdentity, api_key: str | None = None, timeout_s: int = TIMEOUT_S
    ) -> Self:
        """The collection, made if there is none.

        Raises `IndexRefused` if it is of another model, or if the server computes term statistics outside the scope,
        which is tried on a collection that lives only for that; `StoreUnavailable` if the server does not answer.
        """
        from qdrant_client import AsyncQdrantClient

        local = url == LOCAL
        where: dict[str, Any] = {"location": LOCAL} if local else {"url": url, "api_key": api_key, "timeout": timeout_s}
        client = AsyncQdrantClient(**where, check_compatibility=False)  # that check blocks, and the probe tells more
        try:
            await _probe(_Collection(client, f"usher-probe-{uuid4().hex}", local=local))
            opened = _Collection(client, collection, local=local)
            identity.check(await opened.identity() or await opened.create(identity), f"in collection {collection}")
        except BaseException:
            await client.close()
            raise
        return cls(opened, identity)

    async def search(self, classes: Sequence[int], dense: Vector, sparse: SparseVector, k: int) -> Found:
        self._check_open()
        return await self._collection.search(classes, dense.tolist(), sparse, k)

    async def write(self, batch: StoreBatch) -> None:
        self._check_open()
        self._identity.check_points(batch.upsert)
        await self._collection.write(batch)

    async def count(self) -> int:
        """Chunks in the collection, those of class 0 too."""
        self._check_open()
        return await self._collection.count()

    async def close(self) -> None:
        self._closed = True
        await self._collection.client.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("The vector store is closed.")


async def _probe(scratch: _Collection) -> None:
    await scratch.create(idf_probe.IDENTITY)
    try:
        await scratch.write(StoreBatch(upsert=idf_probe.planted()))
        found = await scratch.search(idf_probe.CLASSES, idf_probe.DENSE.tolist(), idf_probe.ASKED, idf_probe.K)
    finally:
        await scratch.drop()
    idf_probe.check(found, "The Qdrant server")


class _Collection:
    """One collection: translation of queries and changes into the client's models, with retries."""

    def __init__(self, client: AsyncQdrantClient, name: str, *, local: bool) -> None:
        from qdrant_client import models

        self.client, self._name, self._local, self._models = client, name, local, models

    async def identity(self) -> dict[str, Any] | None:
        """What the collection was made with; None if there is no such collection."""
        if not await _retried(lambda: self.client.collection_exists(self._name)):
            return None
        info = await _retried(lambda: self.client.get_collection(self._name))
        return info.config.metadata or {"model": "unknown to Usher"}

    async def create(self, identity: IndexIdentity) -> dict[str, Any]:
        m = self._models
        dense = m.VectorParams(
            size=identity.dimensions,
            distance=m.Distance.COSINE,
            datatype=m.Datatype.FLOAT32,
            hnsw_config=m.HnswConfigDiff(m=0),
        )
        await _retried(
            lambda: self.client.create_collection(
                self._name,
                vectors_config={DENSE: dense},
                sparse_vectors_config={SPARSE: m.SparseVectorParams(modifier=m.Modifier.IDF)},
                metadata=identity.record(),
            )
        )
        if not self._local:
            by_class = m.IntegerIndexParams(type=m.IntegerIndexType.INTEGER, lookup=True, range=True)
            await _retried(lambda: self.client.create_payload_index(self._name, CLASS_FIELD, by_class, wait=True))
        return identity.record()

    async def drop(self) -> None:
        await _retried(lambda: self.client.delete_collection(self._name))

    async def count(self) -> int:
        return (await _retried(lambda: self.client.count(self._name, exact=True))).count

    async def search(self, classes: Sequence[int], dense: list[float], sparse: SparseVector, k: int) -> Found:
        steps = scoped_search(classes, dense, sparse, k)
        try:
            batch = next(steps)
            while True:
                batch = steps.send(await self._answer(batch))
        except StopIteration as end:
            found: Found = end.value
            return found

    async def write(self, batch: StoreBatch) -> None:
        m, name = self._models, self._name
        if batch.delete:
            gone = m.PointIdsList(points=[str(chunk) for chunk in batch.delete])
            await _retried(lambda: self.client.delete(name, gone, wait=True))
        for i in range(0, len(batch.upsert), POINTS_PER_CALL):
            await self._upsert(batch.upsert[i : i + POINTS_PER_CALL])
        for chunks, access_class in batch.move:
            # By filter: an operation that names its points fails as a whole if one of them is gone.
            present = m.Filter(must=[m.HasIdCondition(has_id=[str(chunk) for chunk in chunks])])
            await self._set_class(present, access_class)

    async def _upsert(self, points: Sequence[Point]) -> None:
        structs = [self._point(point) for point in points]
        await _retried(lambda: self.client.upsert(self._name, structs, wait=True))

    async def _set_class(self, present: models.Filter, access_class: int) -> None:
        selected, payload = self._models.FilterSelector(filter=present), {CLASS_FIELD: access_class}
        await _retried(lambda: self.client.set_payload(self._name, payload, selected, wait=True))

    def _point(self, point: Point) -> models.PointStruct:
        sparse = self._models.SparseVector(indices=list(point.sparse.indices), values=list(point.sparse.values))
        payload = {CLASS_FIELD: point.access_class, "document": str(point.document)}
        vectors: dict[str, Any] = {DENSE: point.dense.tolist(), SPARSE: sparse}
        return self._models.PointStruct(id=str(point.chunk), vector=vectors, payload=payload)

    async def _answer(self, batch: Batch) -> Answers:
        requests = self._requests(batch.queries)
        responses = await _retried(lambda: self.client.query_batch_points(self._name, requests))
        pairs = zip(responses, batch.queries, strict=True)
        rows = [[_row(point, query) for point in response.points] for response, query in pairs]
        if batch.count is None:
            return Answers(rows)
        scope = self._models.Filter.model_validate(batch.count["filter"])
        counted = await _retried(lambda: self.client.count(self._name, scope, exact=True))
        return Answers(rows, counted.count)

    def _requests(self, queries: Sequence[Query]) -> list[models.QueryRequest]:
        """A batch repeats one filter many times: it is translated once."""
        known: dict[int, models.Filter] = {}
        for query in queries:
            scope = query["filter"]
            if id(scope) not in known:
                known[id(scope)] = self._models.Filter.model_validate(scope)
        return [self._request(query, known) for query in queries]

    def _request(self, query: Query, known: dict[int, models.Filter]) -> models.QueryRequest:
        m, params = self._models, query["params"]
        idf = m.IdfCorpusParams(corpus=known[id(params["idf"]["corpus"])]) if "idf" in params else None
        request: models.QueryRequest = m.QueryRequest(
            query=m.SparseVector(**query["query"]) if query["using"] == SPARSE else list(query["query"]),
            using=query["using"],
            filter=known[id(query["filter"])],
            limit=query["limit"],
            # Local mode is always exact, and warns of a parameter that says so.
            params=m.SearchParams(idf=idf) if self._local else m.SearchParams(exact=params["exact"], idf=idf),
            with_vector=query["with_vector"],
            with_payload=query["with_payload"],
        )
        return request


def _row(point: models.ScoredPoint, query: Query) -> Row:
    """The server gives the whole stored vector; only the weights of the asked terms are kept."""
    if query["using"] != SPARSE:
        return Row(UUID(str(point.id)), point.score, {})
    vectors: Any = point.vector
    stored = dict(zip(vectors[SPARSE].indices, vectors[SPARSE].values, strict=True))
    weights = {term: stored[term] for term in query["query"]["indices"] if term in stored}
    return Row(UUID(str(point.id)), point.score, weights)


async def _retried(call: Callable[[], Awaitable[T]]) -> T:
    """Raises `StoreUnavailable` after the last try, or at once for an error that waiting does not mend."""
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException

    for wait in RETRY_AFTER_S:
        try:
            return await call()
        except (ApiException, QdrantException) as error:
            if not _transient(error):
                raise _unavailable(error) from None
        await asyncio.sleep(wait)
    try:
        return await call()
    except (ApiException, QdrantException) as error:
        raise _unavailable(error) from None


def _transient(error: Exception) -> bool:
    """No answer at all, a limit on the rate (which has no status), or a status that passes."""
    status: int | None = getattr(error, "status_code", None)
    return status is None or status in _TRANSIENT


def _unavailable(error: Exception) -> StoreUnavailable:
    """With the status only: a server's own text may quote what was asked."""
    status = getattr(error, "status_code", None)
    said = f"answered with status {status}" if status else "did not answer"
    return StoreUnavailable(f"The Qdrant server {said}. Check its address, its API key and its log.")
