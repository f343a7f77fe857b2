"""Children that serve a whole Usher on a Unix socket and are killed. They are forked from one process that has loaded
everything, so that each costs a third of a second; a model that trickles is all that is not the real thing.

Run as a program, this is that process: it reads a folder's name a line, and forks a child that serves in it.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.web.world import World, world

from usher.ports import Delta, ModelRequest
from usher.server import Listener, operator_config

SOCKET = "served"
KEY = "key"
PID = "pid"
WORDS = 400
DOCUMENTS = {"handbook/a.md": "# Holidays\n\nThere are 28 days of holiday in a year.\n"}


class Trickle:
    """The `Model` port: numbered words, some milliseconds between them."""

    name = "trickle"
    context_tokens = 8192
    generative = False

    def count_tokens(self, text: str) -> int:
        return len(text) // 4

    async def stream(self, request: ModelRequest) -> AsyncIterator[Delta]:
        for number in range(WORDS):
            yield Delta(f"word{number} ")
            await asyncio.sleep(random.choice((0.0, 0.001, 0.004, 0.03)))  # noqa: S311  # a pace, no secret
        yield Delta(finish_reason="stop", prompt_tokens=1, completion_tokens=WORDS)

    async def close(self) -> None: ...


def main() -> None:
    """Fork one child for each line."""
    for line in sys.stdin:
        if os.fork() == 0:
            _serve(Path(line.strip()))


def _serve(folder: Path) -> None:
    os.setsid()
    with world(folder, model=Trickle(), documents=DOCUMENTS) as made:
        (folder / KEY).write_text(made.keys["bob"])
        made.run(listen(made, folder))
    os._exit(0)


async def listen(made: World, folder: Path) -> None:
    """Serve in a folder for a minute; the process's id stands there once it listens."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / SOCKET))
        serving = await Listener(operator_config(made.app)).begin(sock)
        (folder / PID).write_text(f"{os.getpid()}\n")
        await asyncio.wait({serving}, timeout=60)


if __name__ == "__main__":
    main()
