"""Servers that record in one ledger in PostgreSQL as fast as they can, and are killed.

Run as a program, this is the process that has loaded everything: it reads a line for each, `URL FOLDER NAME`, and forks
a child, whose process id it prints. The child writes what was acknowledged to FOLDER/NAME: an audit id, and how many
of its appends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from tests.ledger.ledger_kit import event, opening, ring_in, rows

from usher.backends.ledger_pg import PgLog
from usher.ledger.log import LedgerUnavailable, OutOfOrder
from usher.ledger.record import EventType, uuid7
from usher.ledger.sequencer import Ledger

CALLERS = 8


def main() -> None:
    for line in sys.stdin:
        url, folder, name = line.split()
        child = os.fork()
        if child == 0:
            os.setsid()
            asyncio.run(record(url, Path(folder), name))
            os._exit(0)
        print(child, flush=True)


async def record(url: str, folder: Path, name: str) -> None:
    said = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        with suppress(Exception):  # its database may be away as it starts
            ledger = await Ledger.open(PgLog(url), ring_in(folder), every=1.0)
            break
        await asyncio.sleep(0.1)
    os.write(said, b"ready\n")
    await asyncio.gather(*(_caller(ledger, said) for _ in range(CALLERS)))


async def _caller(ledger: Ledger, said: int) -> None:
    while True:
        with suppress(LedgerUnavailable, OutOfOrder):  # a caller gives up its exchange, and asks anew
            await _exchange(ledger, said)
            continue
        await asyncio.sleep(0.05)


async def _exchange(ledger: Ledger, said: int) -> None:
    subject, ident = await ledger.subject("alice"), uuid7()
    question, answer = rows(subject, ident)
    steps = (
        (opening(ident), [question]),
        ([event(EventType.RETRIEVAL, ident, passages=[]), event(EventType.GENERATION, ident)], []),
        ([], [answer]),
        ([event(EventType.ANSWER, ident, outcome="answered")], []),
    )
    for number, (entries, content) in enumerate(steps, 1):
        await ledger.append(entries, content)
        os.write(said, b"%s %d\n" % (ident.encode(), number))


if __name__ == "__main__":
    main()
