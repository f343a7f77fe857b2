"""The contract of the store port, kept by every backend.

The in-memory store, which reads every chunk and asks no engine, is also the oracle of the other two. The client's local
mode has no payload indexes, and like the in-memory store it keeps nothing, so reopening is tested on the others. Set
USHER_QDRANT_URL (and USHER_QDRANT_API_KEY) to run everything against a server.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from tests.backends.store_kit import (
    ASKED,
    EDGE,
    MEMORY,
    QDRANT_LOCAL,
    SOCKET,
    Backend,
    Server,
    chunks,
    filled,
    point,
    random_points,
    slow,
    vector,
)

from usher.core.scoped_search import idf
from usher.ports import Found, ScopeTooWide, SparseVector, Store, StoreBatch, StoreUnavailable

_SERVER = os.environ.get("USHER_QDRANT_URL", "")
BACKENDS = [
    pytest.param(MEMORY, id=MEMORY.name),
    pytest.param(EDGE, id=EDGE.name, marks=slow),
    pytest.param(SOCKET, id=SOCKET.name, marks=[slow, pytest.mark.crash]),
    pytest.param(QDRANT_LOCAL, id=QDRANT_LOCAL.name, marks=slow),
]
if _SERVER:
    real = Backend("qdrant-server", Server(_SERVER, os.environ.get("USHER_QDRANT_API_KEY")), keeps=True)
    BACKENDS.append(pytest.param(real, id=real.name, marks=[slow, pytest.mark.enable_socket]))

each_backend = pytest.mark.parametrize("backend", BACKENDS)


@each_backend
def test_no_hit_is_outside_the_scope_and_all_agree_with_the_oracle(backend: Backend, tmp_path: Path) -> None:
    """Over random points and random scopes: hits are in the scope, in the oracle's order, with the oracle's scores."""
    rng = np.random.default_rng(1)
    points = random_points(1, 150, range(10))
    class_of = {p.chunk: p.access_class for p in points}
    scopes = [sorted(rng.choice(np.arange(1, 12), size, replace=False).tolist()) for size in (1, 1, 2, 3, 5, 8, 11)]

    async def searches(store: Store) -> list[Found]:
        await store.write(StoreBatch(upsert=points))
        return [await store.search(scope, vector(9), ASKED, k) for scope in scopes for k in (1, 7, 200)]

    expected = MEMORY.run(tmp_path / "oracle", searches)
    for scope, ours, oracle in zip(
        [s for s in scopes for _ in range(3)], backend.run(tmp_path / "x", searches), expected, strict=True
    ):
        assert {class_of[hit.chunk] for hit in (*ours.dense, *ours.sparse)} <= set(scope)
        assert ours.idf == oracle.idf
        for mine, theirs in ((ours.dense, oracle.dense), (ours.sparse, oracle.sparse)):
            assert [hit.chunk for hit in mine] == [hit.chunk for hit in theirs]
            assert [hit.score for hit in mine] == pytest.approx([hit.score for hit in theirs], abs=2e-6)


@each_backend
def test_points_outside_the_scope_change_nothing(backend: Backend, tmp_path: Path) -> None:
    """Ranks, scores and term statistics are equal to the last bit, with forbidden chunks, without, and after them."""
    permitted, forbidden = random_points(2, 60, [1, 2, 3]), random_points(3, 300, [0, 4, 5], first=1000)

    async def among_others(store: Store) -> list[Found]:
        await store.write(StoreBatch(upsert=forbidden[:200]))
        await store.write(StoreBatch(upsert=permitted))
        await store.write(StoreBatch(upsert=forbidden[200:]))
        during = await store.search([1, 2, 3], vector(5), ASKED, 5)
        await store.write(StoreBatch(delete=[p.chunk for p in forbidden]))
        return [during, await store.search([1, 2, 3], vector(5), ASKED, 5)]

    alone = backend.run(tmp_path / "a", filled(permitted, [1, 2, 3]))
    assert backend.run(tmp_path / "b", among_others) == [alone, alone]


@each_backend
def test_a_rebuilt_store_gives_the_same_bytes(backend: Backend, tmp_path: Path) -> None:
    """The order and the sizes of the writes leave no trace in a result."""
    points = random_points(4, 80, [1, 2])

    async def bit_by_bit(store: Store) -> Found:
        for i in range(79, -1, -9):
            await store.write(StoreBatch(upsert=points[max(0, i - 8) : i + 1]))
        return await store.search([1, 2], vector(5), ASKED, 5)

    assert backend.run(tmp_path / "a", filled(points, [1, 2])) == backend.run(tmp_path / "b", bit_by_bit)


@each_backend
def test_writes_are_idempotent_and_pass_over_absent_ids(backend: Backend, tmp_path: Path) -> None:
    """The same batch twice is the same as once; deleting or moving what is not there changes nothing and succeeds."""
    absent = UUID(int=777)
    batch = StoreBatch(
        delete=[absent, UUID(int=1)],
        upsert=[point(2, 1), point(3, 1), point(4, 2)],
        move=[([absent, UUID(int=3)], 2), ([absent], 1), ([], 1)],
    )

    async def scenario(store: Store) -> None:
        await store.write(StoreBatch(upsert=[point(1, 1)]))
        for _ in range(2):
            await store.write(batch)
            assert chunks(await store.search([1], vector(1), ASKED, 9)) == {2}
            assert chunks(await store.search([2], vector(1), ASKED, 9)) == {3, 4}
        await store.write(StoreBatch())

    backend.run(tmp_path, scenario)


@each_backend
def test_a_batch_deletes_then_writes_then_moves(backend: Backend, tmp_path: Path) -> None:
    """An id that is in all three parts of a batch ends in the class of the move."""

    async def scenario(store: Store) -> None:
        one = UUID(int=1)
        await store.write(StoreBatch(delete=[one], upsert=[point(1, 0)], move=[([one], 3), ([one], 4)]))
        assert [chunks(await store.search([c], vector(1), ASKED, 9)) for c in (3, 4)] == [set(), {1}]

    backend.run(tmp_path, scenario)


@each_backend
def test_a_write_replaces_the_whole_point(backend: Backend, tmp_path: Path) -> None:
    """A chunk written again has only its new class, vector and terms."""

    async def scenario(store: Store) -> None:
        await store.write(StoreBatch(upsert=[point(1, 1, {1: 1.0})]))
        await store.write(StoreBatch(upsert=[point(1, 2, {2: 1.0}, seed=5)]))
        assert chunks(await store.search([1], vector(1), ASKED, 9)) == set()
        found = await store.search([2], vector(5), SparseVector((1, 2), (1.0, 1.0)), 9)
        assert found.idf == {1: idf(1, 0), 2: idf(1, 1)}
        assert found.dense[0].score == pytest.approx(1.0, abs=1e-6)

    backend.run(tmp_path, scenario)


@each_backend
def test_scopes_that_are_no_scopes(backend: Backend, tmp_path: Path) -> None:
    """An empty scope finds nothing; class 0, repeated, unsorted or negative classes and k below 1 are refused."""

    async def scenario(store: Store) -> None:
        await store.write(StoreBatch(upsert=[point(1, 0), point(2, 1)]))
        assert await store.search([], vector(1), ASKED, 5) == Found((), (), {})
        for classes in ([0], [0, 1], [1, 1], [2, 1], [-1, 1]):
            with pytest.raises(ValueError, match="classes"):
                await store.search(classes, vector(1), ASKED, 5)
        with pytest.raises(ValueError, match="k: must be at least 1"):
            await store.search([1], vector(1), ASKED, 0)

    backend.run(tmp_path, scenario)


@each_backend
@pytest.mark.parametrize("step", [1, 2, 5])
def test_wide_scopes_are_exact_up_to_the_limit(backend: Backend, tmp_path: Path, step: int) -> None:
    """Scopes of 100 to 50,000 classes, in runs and scattered, admit their own classes and their neighbours' not."""

    async def scenario(store: Store) -> None:
        for size in (100, 50_000):
            scope = [*range(10, 10 + (size - 40) * step, step), *range(300_000, 300_040)]
            last = scope[-41]
            inside = {1: 10, 2: last, 3: 300_000, 4: 300_039}
            outside = {5: 9, 6: last + 1, 7: 299_999, 8: 300_040, 9: 0}
            await store.write(StoreBatch(upsert=[point(n, c) for n, c in (inside | outside).items()]))
            assert len(scope) == size
            assert chunks(await store.search(scope, vector(1), ASKED, 50)) == set(inside)
        with pytest.raises(ScopeTooWide, match="50001 access classes"):
            await store.search(range(1, 50_002), vector(1), ASKED, 5)

    backend.run(tmp_path, scenario)


@each_backend
def test_all_that_tie_with_the_last_place_come(backend: Backend, tmp_path: Path) -> None:
    """Two hundred equal chunks behind a better one: each list has all of them, by chunk id, and nothing worse."""
    best, worst = point(500, 1, {1: 3.0}, seed=5), point(600, 1, {1: 0.1}, seed=6)
    equal = [point(n, 1, {1: 1.0}, seed=7) for n in range(1, 201)]
    found = backend.run(tmp_path, filled([worst, *equal[::-1], best], [1], k=3))
    toward_worst = vector(6) @ vector(5) > vector(7) @ vector(5)
    assert [hit.chunk.int for hit in found.sparse] == [500, *range(1, 201)]
    assert [hit.chunk.int for hit in found.dense] == [500, *([600] if toward_worst else []), *range(1, 201)]


@each_backend
def test_terms_are_counted_in_the_scope(backend: Backend, tmp_path: Path) -> None:
    """idf is over the scope's chunks, those without any term included; an unknown term has the value for none."""
    points = [point(1, 1, {1: 1.0, 2: 0.3}), point(2, 1, {1: 0.5}), point(3, 1, {}), point(4, 2, {2: 1.0, 30: 1.0})]
    found = backend.run(tmp_path, filled(points, [1]))
    assert found.idf == {1: idf(3, 2), 2: idf(3, 1), **dict.fromkeys((3, 7, 30, 999), idf(3, 0))}
    assert {hit.chunk.int for hit in found.sparse} == {1, 2}


@each_backend
def test_a_question_without_terms_has_only_the_dense_list(backend: Backend, tmp_path: Path) -> None:
    """No terms: no sparse hits and no idf, and the dense list as ever."""

    async def scenario(store: Store) -> Found:
        await store.write(StoreBatch(upsert=[point(1, 1), point(2, 1)]))
        return await store.search([1], vector(2), SparseVector((), ()), 1)

    found = backend.run(tmp_path, scenario)
    assert ([hit.chunk.int for hit in found.dense], found.sparse, found.idf) == ([2], (), {})


@each_backend
def test_points_that_would_spoil_the_index_are_refused(backend: Backend, tmp_path: Path) -> None:
    """Repeated terms, weights that are not above 0, and a negative class are errors, and nothing is written."""

    async def scenario(store: Store) -> None:
        for bad in (point(2, 1, {1: 0.0}), point(2, 1, {1: float("nan")}), point(2, -1)):
            with pytest.raises(ValueError, match=f"chunk {UUID(int=2)}"):
                await store.write(StoreBatch(upsert=[point(1, 1), bad]))
        assert chunks(await store.search([1], vector(1), ASKED, 5)) == set()

    backend.run(tmp_path, scenario)


@each_backend
def test_concurrent_and_cancelled_callers_get_their_own_answers(backend: Backend, tmp_path: Path) -> None:
    """Searches in flight together, some of them cancelled, each return what they return alone."""

    async def scenario(store: Store) -> None:
        await store.write(StoreBatch(upsert=[point(n, n) for n in range(1, 21)]))
        tasks = [asyncio.create_task(store.search([n], vector(n), ASKED, 5)) for n in range(1, 21)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for n, answer in enumerate(answers, start=1):
            assert isinstance(answer, asyncio.CancelledError) or chunks(answer) == {n}
        assert chunks(await store.search([5], vector(1), ASKED, 5)) == {5}

    backend.run(tmp_path, scenario)


@each_backend
def test_a_closed_store_answers_nobody(backend: Backend, tmp_path: Path) -> None:
    """After `close`, which may come twice, every call raises `StoreUnavailable`."""

    async def scenario(store: Store) -> None:
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.search([1], vector(1), ASKED, 5)
        with pytest.raises(StoreUnavailable):
            await store.write(StoreBatch(delete=[UUID(int=1)]))

    backend.run(tmp_path, scenario)


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.values[0].keeps])
def test_what_is_written_is_there_after_reopening(backend: Backend, tmp_path: Path) -> None:
    """Points, deletes and moves outlive the process that wrote them."""

    async def write(store: Store) -> None:
        await store.write(StoreBatch(upsert=[point(n, 1) for n in range(1, 5)]))
        await store.write(StoreBatch(delete=[UUID(int=1)], move=[([UUID(int=2)], 7)]))

    async def read(store: Store) -> list[set[int]]:
        return [chunks(await store.search([c], vector(1), ASKED, 5)) for c in (1, 7)]

    backend.run(tmp_path, write)
    assert backend.run(tmp_path, read) == [{3, 4}, {2}]
