"""The one follower of a process: keeps the reviewers' index up with the ledger, beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time

import structlog

from usher.ports.audit_index import AuditIndex, IndexUnreadable

EVERY = 1.0
"""Seconds between two looks of the follower while nothing happens."""
PATIENCE = 1.0
"""Seconds that a question waits for the index to have what came before it."""

_log = structlog.stdlib.get_logger("usher.audit.follower")


class Follower:
    """`run` it as long as the process serves; whoever reads the index waits until it has `caught_up` before."""

    def __init__(self, index: AuditIndex) -> None:
        self._index = index
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[bool]] = []

    async def run(self) -> None:
        """Keep the index up with the ledger, for ever. After a step there is a pause as long as it took: answering
        comes first. A step that fails is logged, and made again."""
        trouble: str | None = None
        try:
            while True:
                began, waiting = time.monotonic(), self._waiting
                self._waiting = []
                more, trouble = await self._step(trouble)
                if more:
                    self._waiting += waiting
                    await asyncio.sleep(time.monotonic() - began)
                    continue
                for waiter in waiting:
                    _release(waiter, trouble is None)
                await self._pause()
        finally:
            await asyncio.to_thread(self._index.close)

    async def _step(self, before: str | None) -> tuple[bool, str | None]:
        """Whether there may be more, and what is wrong, if it is; each trouble is logged once."""
        try:
            return await asyncio.to_thread(self._index.step), None
        except Exception as error:  # whatever it is, the next step may succeed; until then answers say how far it is
            reason = str(error) if isinstance(error, IndexUnreadable) else type(error).__name__
            if reason != before:
                _log.error("audit_index_behind", reason=reason)
            return False, reason

    async def _pause(self) -> None:
        """Until somebody waits, or `EVERY` seconds."""
        if not self._waiting:
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), EVERY)

    async def caught_up(self) -> bool:
        """Wait until the index has what is in the log now, if that takes no longer than `PATIENCE`; whether it has."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wanted.set()
        done, _ = await asyncio.wait({waiter}, timeout=PATIENCE)
        return bool(done) and waiter.result()


def _release(waiter: asyncio.Future[bool], up: bool) -> None:
    if not waiter.done():
        waiter.set_result(up)
