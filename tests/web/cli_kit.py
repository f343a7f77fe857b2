"""The command line's road, led to an operator app in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import httpx
from litestar import Litestar


def road_to(operators: Litestar) -> Callable[[object], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """In place of `cli_road.road`."""

    @asynccontextmanager
    async def road(settings: object) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(cast(Any, operators))
        async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
            yield client

    return road
