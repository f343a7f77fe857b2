"""A sign of life for streams whose next part takes long, so that no proxy takes them for dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

import anyio

T = TypeVar("T")

EVERY = 15.0
"""Seconds without anything after which a sign is given."""


async def with_pings(parts: AsyncGenerator[T, None]) -> AsyncGenerator[T | None, None]:
    """The parts, and None whenever none has come for `EVERY` seconds. The next part is asked for when it is taken, not
    before. Closing this ends the wait for a part; whoever made `parts` closes it after that."""
    while True:
        coming = asyncio.ensure_future(anext(parts))
        try:
            while not (await asyncio.wait({coming}, timeout=EVERY))[0]:
                yield None
        finally:
            if not coming.done():
                coming.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({coming})
            if not coming.cancelled():
                coming.exception()  # nobody else may ever look at it
        try:
            part = coming.result()
        except StopAsyncIteration:
            return
        yield part
