"""What the ledger takes, beside the same bytes inserted bare in the same run.

    make bench-ledger    (options: --exchanges N, --seconds N, --events N)

The last line is `RESULT {json}` with every figure by name.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

sys.path.insert(0, str(Path(__file__).parents[2]))

import audit_million
import ledger_mix as mix
from ledger_floor import fsyncs, pg_floor, sqlite_floor
from tests.ledger.pg_kit import pg_server

from usher.backends.keyring import KeyRing
from usher.backends.ledger_pg import PgLog
from usher.backends.ledger_sql import SqlLog
from usher.ledger.log import LedgerUnavailable
from usher.ledger.proofs import Prover
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import verify

CALLERS = 256
PROOFS = 2_000
Figures = dict[str, float]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--exchanges", type=int, default=10_000)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--events", type=int, default=audit_million.EVENTS, help="0: no reviewers' questions")
    given = options.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        figures |= _timed("sqlite", lambda: sqlite(home, given.exchanges, given.seconds))
        figures |= _timed("postgresql", lambda: postgresql(home, given.exchanges, given.seconds))
    if given.events:
        figures |= _timed("the reviewers' questions", lambda: audit_million.measure(given.events))
    print("RESULT", json.dumps(figures))


def _timed(name: str, part: Callable[[], Figures]) -> Figures:
    began = time.perf_counter()
    figures = part()
    print(f"{name}: {time.perf_counter() - began:.0f} s", *(f"{k} {v:g}" for k, v in figures.items()), sep="\n  ")
    return figures


def sqlite(folder: Path, total: int, seconds: float) -> Figures:
    ring = KeyRing.create(folder / "home.keys")
    path = folder / "ledger.sqlite"
    took, acks, _ = asyncio.run(_recorded(SqlLog(path), ring, total, seconds))
    synced = fsyncs(folder)
    bare = sqlite_floor(path, folder / "bare.sqlite", total)
    size = path.stat().st_size
    began = time.perf_counter()
    verdict = verify(path, public_key=ring.public_key)
    checked = time.perf_counter() - began
    assert verdict.ok, verdict.problems
    return {
        "sqlite.exchanges_per_s": round(total / took, 1),
        "floor.sqlite_exchanges_per_s": round(total / bare, 1),
        "sqlite.vs_floor": round(bare / took, 3),
        "sqlite.ack_p99_ms_at_1000": p99(acks),
        "sqlite.ack_p50_ms_at_1000": round(median(acks) * 1000, 2),
        "floor.fsync_p99_ms": p99(synced),
        "bytes_per_exchange": round(size / (verdict.size / 5)),
        "verify_events_per_s": round(verdict.size / checked),
        "proof_p50_us": proofs(path, verdict.size),
    }


def postgresql(folder: Path, total: int, seconds: float) -> Figures:
    """One server on a PostgreSQL of its own; it gives events their place in the same process."""
    with pg_server() as server:
        took, acks, behind = asyncio.run(
            _recorded(PgLog(server.url), KeyRing.create(folder / "pg.keys"), total, seconds)
        )
        bare = pg_floor(server.url, folder / "ledger.sqlite", total)
    return {
        "postgresql.exchanges_per_s": round(total / took, 1),
        "floor.pg_exchanges_per_s": round(total / bare, 1),
        "postgresql.vs_floor": round(bare / took, 3),
        "postgresql.ack_p99_ms_at_1000": p99(acks),
        "postgresql.ack_p50_ms_at_1000": round(median(acks) * 1000, 2),
        "postgresql.last_in_tree_s": round(behind, 2),
    }


async def _recorded(log: SqlLog | PgLog, ring: KeyRing, total: int, seconds: float) -> tuple[float, list[float], float]:
    """Seconds for all exchanges at once; those of each append at a fixed pace; and after the first, until everything
    acknowledged is covered by a checkpoint."""
    ledger = await Ledger.open(log, ring)
    try:
        took = await mix.at_once(ledger, CALLERS, total)
        began = time.perf_counter()
        while True:
            try:
                await ledger.checkpoint()
                break
            except LedgerUnavailable:  # more waits for its place than is given one within the bound
                continue
        behind = time.perf_counter() - began
        return took, await mix.offered(ledger, 1_000, seconds), behind
    finally:
        await ledger.close()


def proofs(path: Path, size: int) -> float:
    """Microseconds of an inclusion proof, once the tree's hashes are in memory."""
    log = SqlLog(path)
    prover, chance = Prover(log), random.Random(1)  # noqa: S311  # a load, no secret
    prover.inclusion(1, size)
    took = []
    for _ in range(PROOFS):
        number = chance.randint(1, size)
        began = time.perf_counter()
        prover.inclusion(number, size)
        took.append(time.perf_counter() - began)
    log.close()
    return round(median(took) * 1e6, 1)


def p99(seconds: list[float]) -> float:
    """In milliseconds."""
    return round(quantiles(seconds, n=100)[98] * 1000, 2)


if __name__ == "__main__":
    main()
