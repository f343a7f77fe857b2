"""A process that records exchanges, with a journal of its disk under it to which it adds what was acknowledged."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from pathlib import Path

from tests.ledger.ledger_kit import exchange, ledger_in

RECORD = struct.Struct("=c63sqq")
"""As in `faults.c`: kind, file's name, offset, length; a `W` is followed by its bytes. `A` is ours: acknowledged."""
EXCHANGES, CALLERS = 240, 8


async def main(folder: Path) -> None:
    journal = os.open(os.environ["FAULTS_JOURNAL"], os.O_WRONLY | os.O_APPEND)

    async def caller() -> None:
        for _ in range(EXCHANGES // CALLERS):
            ident = await exchange(ledger)
            os.write(journal, RECORD.pack(b"A", ident.encode(), 0, 0))

    async with ledger_in(folder, every=0.05) as ledger:
        await asyncio.gather(*[caller() for _ in range(CALLERS)])
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
