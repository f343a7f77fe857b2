"""A child process that writes: a disk that is really full, and kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ledger.ledger_kit import ledger_in, query, ring_in, run

from usher.ledger.verify import verify

FULL_DISK = """
import asyncio, pathlib, resource, signal, sys
from tests.ledger.ledger_kit import ledger_in
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    async with ledger_in(pathlib.Path(sys.argv[1])) as ledger:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        done = refused = 0
        while refused < 20 and done < 5000:
            try:
                await ledger.append([Entry(EventType.OPERATOR, body={"n": done, "pad": "x" * 3000})])
                done += 1
            except LedgerUnavailable:
                refused += 1
        assert ledger.healthy() is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await ledger.append([Entry(EventType.OPERATOR, body={"n": done})])
        assert ledger.healthy() is None
        print(refused, done + 1)
asyncio.run(main())
"""


def child(folder: Path, script: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(["service", "policies", "."])
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


@pytest.mark.slow
def test_a_disk_that_is_really_full_refuses_and_recovers(tmp_path: Path) -> None:
    """With a limit on the size of its files a process is refused, loses nothing, and goes on when there is room."""
    with child(tmp_path, FULL_DISK) as process:
        refused, done = process.communicate(timeout=60)[0].split()
    assert int(refused) == 20
    verdict = verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path))
    assert verdict.ok, verdict.problems
    stored = [n for (n,) in query(tmp_path / "ledger.sqlite", "SELECT json_extract(event, '$.n') FROM events")]
    assert set(range(int(done))) <= set(stored)


WRITER = """
import asyncio, pathlib, random, sys
from tests.ledger.ledger_kit import exchange, ledger_in
async def main():
    async with ledger_in(pathlib.Path(sys.argv[1]), every=0.02) as ledger:
        async def worker():
            while True:
                print(await exchange(ledger), flush=True)
                await asyncio.sleep(random.random() / 100)
        await asyncio.gather(*[worker() for _ in range(16)])
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("acknowledged", [1, 7, 40, 150, 400])
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    """After kill -9 amid commits every acknowledged exchange is whole; recovery closes the others; all verifies."""
    with child(tmp_path, WRITER) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().strip() for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        seen += [line.strip() for line in process.stdout if line.endswith("\n")]
    before = verify(tmp_path / "ledger.sqlite", ring=ring_in(tmp_path))
    assert before.ok, before.problems

    async def reopen() -> None:
        async with ledger_in(tmp_path):
            pass

    run(reopen())
    path = tmp_path / "ledger.sqlite"
    ended = (
        "SELECT json_extract(event, '$.audit_id'), json_extract(event, '$.outcome') FROM events"
        " WHERE json_extract(event, '$.type') = 'answer'"
    )
    outcomes = dict(query(path, ended))
    assert {outcomes[ident] for ident in seen} == {"answered"}
    assert query(path, "SELECT count(*) FROM open_exchanges") == [(0,)]
    after = verify(path, ring=ring_in(tmp_path))
    assert after.ok, after.problems
    assert after.size >= before.size
