"""The server's store where the contract does not reach: retries, refusals, and what errors say."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from tests.backends.store_kit import ASKED, IDENTITY, chunks, point, vector

from usher.backends import store_qdrant
from usher.backends.index_identity import IndexRefused
from usher.backends.store_qdrant import LOCAL, QdrantStore, _Collection, _probe, _retried
from usher.core.scope import CLASS_FIELD
from usher.ports import StoreBatch, StoreUnavailable

pytestmark = pytest.mark.slow  # the client's import takes more than a second


def refusal(status: int | None) -> Exception:
    from httpx import Headers
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if status is None:
        return ResponseHandlingException(ConnectionError("the words that were asked"))
    return UnexpectedResponse(status, "no", b"the words that were asked", Headers())


def failing(*failures: Exception) -> tuple[Callable[[], Awaitable[str]], list[int]]:
    """A call that fails so, one after the other, and then succeeds; and the count of its tries."""
    left, tries = list(failures), []

    async def call() -> str:
        tries.append(1)
        if left:
            raise left.pop(0)
        return "done"

    return call, tries


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_qdrant, "RETRY_AFTER_S", (0.0, 0.0))


@pytest.mark.parametrize("status", [None, 429, 500, 503])
def test_a_passing_failure_is_tried_again(status: int | None) -> None:
    """No answer, too many requests and a server's fault are tried twice more."""
    call, tries = failing(refusal(status), refusal(status))
    assert asyncio.run(_retried(call)) == "done"
    assert len(tries) == 3


@pytest.mark.parametrize(("status", "expected"), [(None, 3), (503, 3), (400, 1), (401, 1), (404, 1)])
def test_a_lasting_failure_ends_the_call_without_quoting(status: int | None, expected: int) -> None:
    """After three tries, or at once where waiting does not help; the message has nothing of what was sent."""
    call, tries = failing(*(refusal(status) for _ in range(5)))
    with pytest.raises(StoreUnavailable) as caught:
        asyncio.run(_retried(call))
    assert len(tries) == expected
    assert "words" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_rate_limit_is_tried_again() -> None:
    """The client has an exception of its own for a rate limit."""
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

    call, tries = failing(ResourceExhaustedResponse("slow down", 1))
    assert asyncio.run(_retried(call)) == "done"
    assert len(tries) == 2


def opened(scenario: Callable[[Any], Awaitable[None]]) -> None:
    """Runs a scenario with a client in local mode."""
    from qdrant_client import AsyncQdrantClient

    async def run() -> None:
        client = AsyncQdrantClient(LOCAL)
        try:
            await scenario(client)
        finally:
            await client.close()

    asyncio.run(run())


def test_a_collection_remembers_what_it_was_made_with() -> None:
    """Its identity is recorded with it; another model, or a collection that somebody else made, is refused."""
    from qdrant_client import models

    async def scenario(client: Any) -> None:
        ours = _Collection(client, "ours", local=True)
        assert await ours.identity() is None
        await ours.create(IDENTITY)
        IDENTITY.check(await ours.identity(), "in collection ours")
        with pytest.raises(IndexRefused, match="ingest the documents again"):
            dataclasses.replace(IDENTITY, precision="int8").check(await ours.identity(), "in collection ours")
        await client.create_collection("theirs", models.VectorParams(size=8, distance=models.Distance.COSINE))
        with pytest.raises(IndexRefused, match="unknown to Usher"):
            IDENTITY.check(await _Collection(client, "theirs", local=True).identity(), "in collection theirs")

    opened(scenario)


def test_the_probe_leaves_nothing_behind() -> None:
    """Its collection is gone afterwards, also when the engine is refused."""

    async def scenario(client: Any) -> None:
        await _probe(_Collection(client, "probe", local=True))
        assert (await client.get_collections()).collections == []

    opened(scenario)


def test_an_engine_with_global_statistics_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ignores the idf population, as those before 1.19 do, is not used."""

    async def scenario(client: Any) -> None:
        ask = client.query_batch_points

        async def old_server(collection: str, requests: list[Any]) -> Any:
            return await ask(collection, [request.model_copy(update={"params": None}) for request in requests])

        monkeypatch.setattr(client, "query_batch_points", old_server)
        with pytest.raises(IndexRefused, match=r"counts terms outside the scope .* 1\.19 or newer"):
            await _probe(_Collection(client, "probe", local=True))
        assert (await client.get_collections()).collections == []

    opened(scenario)


def test_an_index_refused_closes_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused start leaves no connection open."""
    from qdrant_client import AsyncQdrantClient

    closed: list[bool] = []
    close = AsyncQdrantClient.close

    async def noted(client: AsyncQdrantClient) -> None:
        closed.append(True)
        await close(client)

    async def refuse(scratch: object) -> None:
        raise IndexRefused("no")

    monkeypatch.setattr(AsyncQdrantClient, "close", noted)
    monkeypatch.setattr(store_qdrant, "_probe", refuse)
    with pytest.raises(IndexRefused):
        asyncio.run(QdrantStore.open(LOCAL, "chunks", IDENTITY))
    assert closed == [True]


def test_the_parameters_of_a_collection() -> None:
    """Cosine in single precision without an approximate graph; sparse vectors weighed by rarity."""
    from qdrant_client import models

    made: dict[str, Any] = {}

    class Client:
        async def create_collection(self, name: str, **parameters: Any) -> None:
            made.update(parameters)

        async def create_payload_index(self, name: str, field: str, schema: Any, *, wait: bool) -> None:
            made.update({field: schema, "wait": wait})

    asyncio.run(_Collection(Client(), "chunks", local=False).create(IDENTITY))  # type: ignore[arg-type]  # a stand-in
    dense = made["vectors_config"]["dense"]
    assert (dense.size, dense.distance, dense.datatype) == (8, models.Distance.COSINE, models.Datatype.FLOAT32)
    assert dense.hnsw_config.m == 0
    assert made["sparse_vectors_config"]["sparse"].modifier == models.Modifier.IDF
    assert made["metadata"] == {"model": "model-a", "precision": "fp32", "dimensions": 8}
    assert (made["access_class"].lookup, made["access_class"].range, made["wait"]) == (True, True, True)


def test_writes_wait_until_they_are_applied() -> None:
    """Every kind of change is sent with `wait`."""
    sent: list[tuple[str, bool]] = []

    class Client:
        def __getattr__(self, method: str) -> Any:
            async def call(*_: Any, wait: bool = False, **__: Any) -> None:
                sent.append((method, wait))

            return call

    batch = StoreBatch([point(1, 1).chunk], [point(n, 1) for n in range(2, 250)], [([point(2, 1).chunk], 3)])
    asyncio.run(_Collection(Client(), "chunks", local=False).write(batch))  # type: ignore[arg-type]  # a stand-in
    assert sent == [("delete", True), ("upsert", True), ("upsert", True), ("set_payload", True)]


def test_the_key_reaches_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, key and time limit are the client's; the client makes no request of its own at the start."""
    import qdrant_client

    given: dict[str, Any] = {}

    def client(**parameters: Any) -> Any:
        given.update(parameters)
        raise StoreUnavailable("enough")

    monkeypatch.setattr(qdrant_client, "AsyncQdrantClient", client)
    with pytest.raises(StoreUnavailable):
        asyncio.run(QdrantStore.open("https://qdrant:6333", "chunks", IDENTITY, api_key="k", timeout_s=3))
    assert given == {"url": "https://qdrant:6333", "api_key": "k", "timeout": 3, "check_compatibility": False}


def test_a_store_in_use() -> None:
    """Opened, written, counted, searched: the whole way in local mode."""

    async def scenario() -> None:
        store = await QdrantStore.open(LOCAL, "chunks", IDENTITY)
        await store.write(StoreBatch(upsert=[point(1, 1), point(2, 0)]))
        assert await store.count() == 2
        assert chunks(await store.search([1], vector(1), ASKED, 5)) == {1}
        await store.close()

    asyncio.run(scenario())


@pytest.mark.skipif(
    "USHER_QDRANT_URL" not in os.environ,
    reason="no Qdrant server (set USHER_QDRANT_URL); the client's local mode runs the rest of the server store's "
    "contract, but has no payload index and keeps nothing when it is closed",
)
@pytest.mark.loopback
def test_what_only_a_server_can_do() -> None:
    """Chunks outlive the connection, and the access class has an index."""

    async def story() -> None:
        where = (os.environ["USHER_QDRANT_URL"], f"usher-test-{uuid4().hex}", IDENTITY)
        secret = os.environ.get("USHER_QDRANT_API_KEY")
        store = await QdrantStore.open(*where, secret)
        await store.write(StoreBatch(upsert=[point(1, 1)]))
        await store.close()
        again = await QdrantStore.open(*where, secret)
        try:
            assert await again.count() == 1
            about = await again._collection.client.get_collection(where[1])
            assert CLASS_FIELD in about.payload_schema
        finally:
            await again._collection.drop()
            await again.close()

    asyncio.run(story())
