"""The embedded store's process: its life, its death, and what is kept. The contract is in `test_store_contract`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from tests.backends.store_kit import ASKED, EDGE, IDENTITY, chunks, point, random_points, vector

from usher.backends import store_edge, store_edge_line, store_edge_process
from usher.backends.index_identity import IndexIdentity, IndexRefused
from usher.backends.store_edge import EdgeStore
from usher.ports import Found, Store, StoreBatch, StoreUnavailable

pytestmark = pytest.mark.slow


def process_of(store: Store) -> int:
    assert isinstance(store, EdgeStore)
    assert store._child is not None
    return store._child._process.pid


def is_gone(process: int, within_s: float = 5.0) -> bool:
    """True once there is no such process, or only its unread exit status."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_killed_process_fails_its_callers_and_the_next_call_starts_another(tmp_path: Path) -> None:
    """Calls in flight raise `StoreUnavailable`; the next one is answered, with all that was acknowledged."""

    async def scenario(store: Store) -> None:
        await store.write(StoreBatch(upsert=[point(1, 1)]))
        first = process_of(store)
        os.kill(first, signal.SIGSTOP)
        waiting = [asyncio.create_task(store.search([1], vector(1), ASKED, 5)) for _ in range(3)]
        await asyncio.sleep(0.05)
        os.kill(first, signal.SIGKILL)
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, StoreUnavailable)
        assert chunks(await store.search([1], vector(1), ASKED, 5)) == {1}
        assert process_of(store) != first

    EDGE.run(tmp_path, scenario)


@pytest.mark.crash
@pytest.mark.parametrize("kills", [12])
def test_acknowledged_batches_survive_kill_9(tmp_path: Path, kills: int) -> None:
    """The process is killed at some moments in a stream of writes and moves: what was acknowledged is there."""

    async def scenario(store: Store) -> None:
        acknowledged: set[int] = set()

        async def write_on(first: int) -> None:
            for n in range(first, first + 1000, 5):
                ids = range(n, n + 5)
                await store.write(StoreBatch(upsert=[point(i, 0) for i in ids]))
                await store.write(StoreBatch(move=[([UUID(int=i) for i in ids], 7)]))
                acknowledged.update(ids)

        for round_ in range(kills):
            writing = asyncio.create_task(write_on(round_ * 1000 + 1))
            await asyncio.sleep(0.2 + 0.037 * round_)
            os.kill(process_of(store), signal.SIGKILL)
            with pytest.raises(StoreUnavailable):
                await writing
            found = await store.search([7], vector(1), ASKED, 20_000)
            assert acknowledged <= chunks(found)
        assert len(acknowledged) > 0

    EDGE.run(tmp_path, scenario)


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    """When the server is killed, the store's process is gone at once, and the folder can be opened again.

    The pipe stays open in a fork of the server, as it would in a worker that outlives it: the end of the pipe is not
    what ends the process.
    """
    code = (
        "import asyncio, os, sys, pathlib, time\n"
        "from tests.backends.store_kit import EDGE\n"
        "from tests.backends.test_store_edge import process_of\n"
        "async def main():\n"
        "    store = await EDGE.open(pathlib.Path(sys.argv[1]))\n"
        "    fork = os.fork()\n"
        "    if fork == 0:\n"
        "        time.sleep(60)\n"
        "        os._exit(0)\n"
        "    print(process_of(store), fork, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        child, fork = map(int, server.stdout.readline().split())
        server.kill()
        server.wait()
        gone = is_gone(child)
        os.kill(fork, signal.SIGKILL)
        assert gone

    async def opens(store: Store) -> None:
        assert chunks(await store.search([1], vector(1), ASKED, 5)) == set()

    EDGE.run(tmp_path, opens)


@pytest.mark.crash
def test_close_ends_the_process_within_two_seconds(tmp_path: Path) -> None:
    """Also where the process no longer answers."""

    async def scenario(store: Store) -> float:
        await store.write(StoreBatch(upsert=[point(n, 1) for n in range(1, 500)]))
        os.kill(process_of(store), signal.SIGSTOP)
        child, began = process_of(store), time.monotonic()
        await store.close()
        assert is_gone(child, 0.5)
        return time.monotonic() - began

    assert EDGE.run(tmp_path, scenario) < store_edge.CLOSE_TIMEOUT_S + 1


def test_ctrl_c_does_not_reach_the_process(tmp_path: Path) -> None:
    """An interrupt goes to the whole group of processes; the store must still be there for a clean end."""

    async def scenario(store: Store) -> None:
        child = process_of(store)
        os.kill(child, signal.SIGINT)
        await store.write(StoreBatch(upsert=[point(1, 1)]))
        assert process_of(store) == child

    EDGE.run(tmp_path, scenario)


def test_a_process_that_does_not_answer_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time limit the call fails, and the next one has a new process."""

    async def scenario(store: Store) -> None:
        monkeypatch.setattr(store_edge_line, "CALL_TIMEOUT_S", 0.2)
        os.kill(process_of(store), signal.SIGSTOP)
        with pytest.raises(StoreUnavailable, match="did not answer within"):
            await store.search([1], vector(1), ASKED, 5)
        monkeypatch.setattr(store_edge_line, "CALL_TIMEOUT_S", 30)
        assert chunks(await store.search([1], vector(1), ASKED, 5)) == set()

    EDGE.run(tmp_path, scenario)


@pytest.mark.crash
def test_a_second_opener_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process per folder: the second gets an error that says what to do, and leaves no process behind."""

    async def scenario(store: Store) -> None:
        with pytest.raises(IndexRefused, match=r"open in another process\. Stop that process"):
            await EDGE.open(tmp_path)

    EDGE.run(tmp_path, scenario)


@pytest.mark.parametrize("change", [{"model": "model-b"}, {"precision": "int8"}, {"dimensions": 16}])
def test_an_index_of_another_model_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """The model, its precision and its size must be those that the index was made with."""
    (tmp_path / "index.json").write_text(json.dumps(IDENTITY.record()))
    other = dataclasses.replace(IDENTITY, **change)  # type: ignore[arg-type]  # one field, of its own type
    with pytest.raises(IndexRefused, match=r"was made with .* ingest the documents again"):
        asyncio.run(EdgeStore.open(tmp_path, other))


def test_an_index_that_was_half_made_is_made_again(tmp_path: Path) -> None:
    """A kill while the index is made leaves a draft, which the next start replaces."""
    (tmp_path / "shard.draft").mkdir()
    (tmp_path / "shard.draft" / "segments").write_text("half")

    async def scenario(store: Store) -> None:
        await store.write(StoreBatch(upsert=[point(1, 1)]))

    EDGE.run(tmp_path, scenario)
    assert {path.name for path in tmp_path.iterdir()} == {"index.json", "lock", "shard"}


def test_an_engine_with_global_statistics_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted points show an engine that counts terms over all chunks, and it is not used."""
    monkeypatch.setattr("qdrant_edge.IdfParams", lambda corpus: None)
    with pytest.raises(IndexRefused, match="counts terms outside the scope"):
        store_edge_process.open_index(tmp_path, IDENTITY)


def test_an_engine_that_ignores_the_filter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted points show an engine that returns chunks outside the scope."""
    from usher.backends import store_edge_engine

    monkeypatch.setattr(store_edge_engine, "_filter", lambda scope: None)
    with pytest.raises(IndexRefused, match="from outside the scope"):
        store_edge_process.open_index(tmp_path, IDENTITY)


def test_no_setting_of_the_service_reaches_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has no need of a secret, so it gets none."""
    monkeypatch.setenv("USHER_MASTER_KEY", "a-secret")

    async def scenario(store: Store) -> None:
        with open(f"/proc/{process_of(store)}/environ", "rb") as environment:  # noqa: ASYNC230, PTH123  # no disk
            assert b"USHER_" not in environment.read()

    EDGE.run(tmp_path, scenario)


def test_points_of_another_size_are_refused(tmp_path: Path) -> None:
    """A vector whose size or length is wrong is an error before anything is sent."""

    async def scenario(store: Store) -> None:
        for bad in (vector(1)[:4], vector(1) * 2):
            with pytest.raises(ValueError, match="needs 8 numbers and length 1"):
                await store.write(StoreBatch(upsert=[dataclasses.replace(point(1, 1), dense=bad)]))

    EDGE.run(tmp_path, scenario)


@pytest.mark.crash
def test_a_large_write_lets_a_search_through(tmp_path: Path) -> None:
    """A search waits for a part of a large write, not for all of it."""

    async def scenario(store: Store) -> None:
        writing = asyncio.create_task(store.write(StoreBatch(upsert=[point(n, 1) for n in range(1, 4000)])))
        await asyncio.sleep(0.01)
        await store.search([1], vector(1), ASKED, 5)
        assert not writing.done()
        await writing

    EDGE.run(tmp_path, scenario)


def test_writes_that_come_together_are_flushed_together(tmp_path: Path) -> None:
    """Many writers at once wait for the disk about as long as one."""

    async def scenario(store: EdgeStore) -> None:
        async def timed(first: int, count: int) -> float:
            began = time.monotonic()
            await asyncio.gather(*(store.write(StoreBatch(upsert=[point(first + n, 1)])) for n in range(count)))
            return time.monotonic() - began

        one = sorted([await timed(n, 1) for n in range(1, 6)])[2]
        assert await timed(100, 60) < max(20 * one, 0.2)
        assert await store.count() == 65

    EDGE.run(tmp_path, scenario)


@pytest.mark.crash
def test_the_space_of_deleted_chunks_is_given_back_at_the_next_start(tmp_path: Path) -> None:
    """The index is written anew, and answers to the last bit as before."""
    points = random_points(1, 2500, range(1, 9))

    async def churn(store: Store) -> Found:
        await store.write(StoreBatch(upsert=points))
        await store.write(StoreBatch(delete=[p.chunk for p in points[::2]]))
        return await search(store)

    async def search(store: Store) -> Found:
        return await store.search([2, 3, 5], vector(1), ASKED, 20)

    before = EDGE.run(tmp_path, churn)
    segments = {path.name for path in (tmp_path / "shard" / "segments").iterdir()}
    assert EDGE.run(tmp_path, search) == before
    assert segments.isdisjoint(path.name for path in (tmp_path / "shard" / "segments").iterdir())


def test_the_identity_is_the_embedders() -> None:
    """What is compared is what the embedder says of itself."""
    from usher.backends.memory import HashEmbedder

    assert IndexIdentity.of(HashEmbedder()) == IndexIdentity("hashed-words@1", "fp32", 64)
