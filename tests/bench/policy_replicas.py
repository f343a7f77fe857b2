"""Three real servers over one PostgreSQL and one shared vector process, under load, while the policy changes.

    .venv/bin/python tests/bench/policy_replicas.py

`revocation_p99_ms`: from the commit of a change (as the database's own notification tells of it) to the last search
hit, list entry or stream delta that a client of any server still receives by the policy before; one figure for each
change, server and kind, half of the changes with every notification to the servers lost. `stale_after_ack`: answers by
the policy before to anything asked after the change's writer was told that it is in force, with the token and without.
`told_p99_ms` has no bound: until the last open stream of a server is told, those of a silent model too.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from tests import graph_kit
from tests.replicas.replica_kit import replicas
from tests.replicas.watching import Watching, notifications_lost

SERVERS = (0, 1, 2)
ROUNDS = 24


def replica_figures() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measured(Path(folder)))


async def _measured(folder: Path) -> dict[str, float]:
    last: list[float] = []
    told: list[float] = []
    stale = asked = 0
    graph = await asyncio.to_thread(graph_kit.build, folder)
    async with AsyncExitStack() as stack:
        watching = Watching(await stack.enter_async_context(replicas(folder, graph)))
        await stack.enter_async_context(watching.under_load(SERVERS))
        for number in range(ROUNDS):
            if number == ROUNDS // 2:
                await stack.enter_async_context(notifications_lost(watching.replicas))
            opened, shut = await watching.round(number % len(SERVERS), SERVERS)
            last += watching.last_stale_ms(shut).values()
            told += watching.told_ms(shut).values()
            stale += len(watching.stale_after_ack(opened, shut.began))
            stale += len(watching.stale_after_ack(shut, float("inf")))
            asked += len(watching.seen)
            watching.forget()
    return {
        "revocation_p99_ms": round(float(np.percentile(last, 99)), 1),
        "revocation_max_ms": round(max(last), 1),
        "told_p99_ms": round(float(np.percentile(told, 99)), 1),
        "stale_after_ack": stale,
        "replicas_answers_seen": asked,
    }


if __name__ == "__main__":
    print("RESULT", json.dumps(replica_figures()))
