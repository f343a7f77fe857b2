"""The CLI's one road to the data folder: HTTP to the operator app, over the operator's socket.

If a server owns the folder, the socket is the server's; otherwise this process owns it for the length of the command
and listens there itself, so that a second command finds its way too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from usher.data_folder import hold, socket_address
from usher.errors import DataFolderBusy, UserError
from usher.settings import Settings

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

PATIENCE = 15.0
"""Seconds to wait for a socket whose owner is only just starting or ending."""


class Refused(Exception):
    """What the operator app answered instead of doing it, as an RFC 9457 problem."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
        super().__init__(str(problem.get("detail") or problem.get("problem") or problem.get("title") or "refused"))


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@asynccontextmanager
async def road(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the operator app.

    Raises:
        DataFolderBusy: another process owns the folder and does not answer on its socket.
        UserError: the folder cannot be Usher's.
    """
    import httpx

    async with AsyncExitStack() as stack:
        await _reach(settings, stack)
        address = stack.enter_context(socket_address(settings.operator_socket))
        transport = _transport(address, lambda: _reach(settings, stack))
        yield await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://operator", timeout=httpx.Timeout(None, connect=5))
        )


def _transport(address: str, reach: Callable[[], Awaitable[None]]) -> httpx.AsyncHTTPTransport:
    """HTTP over the operator's socket; where its owner has just ended, somebody else is found first."""
    import httpx

    class Transport(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            give_up = time.monotonic() + PATIENCE
            while True:
                try:
                    return await super().handle_async_request(request)
                except httpx.ConnectError:  # nothing was sent
                    if time.monotonic() > give_up:
                        raise
                await reach()

    return Transport(uds=address)


async def _reach(settings: Settings, stack: AsyncExitStack) -> None:
    """Return when somebody listens on the operator's socket: another process, or this one."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            stack.enter_context(hold(settings.home))
        except DataFolderBusy:
            if await _answers(settings):
                return
            if time.monotonic() > give_up:
                raise
            await asyncio.sleep(0.1)
        else:
            from usher.logs import configure_logs
            from usher.server import running

            configure_logs(logging.WARNING)
            await stack.enter_async_context(running(settings, None))
            return


async def _answers(settings: Settings) -> bool:
    try:
        with socket_address(settings.operator_socket) as address:
            _, writer = await asyncio.open_unix_connection(address)
    except OSError:
        return False
    writer.close()
    return True


async def ask_operator(
    settings: Settings,
    method: str,
    path: str,
    *,
    body: object = None,
    params: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Any:
    """One request, its JSON answer. Raises `Refused`."""
    async with road(settings) as client:
        return await request(client, method, path, body=body, params=params, key=key)


async def request(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    body: object = None,
    params: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Any:
    """As `ask_operator`, with a client that is already there."""
    response = await client.request(method, path, content=encoded(body), params=params, headers=headers(key))
    if response.is_error:
        raise refused(response.content)
    return response.json()


def encoded(body: object) -> bytes | None:
    if body is None:
        return None
    import msgspec

    return msgspec.json.encode(body)


def headers(key: str | None) -> dict[str, str]:
    return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})


def refused(content: bytes) -> Refused:
    import json

    try:
        problem = json.loads(content)
    except ValueError:
        return Refused({"detail": "the server's answer cannot be read; see its log"})
    error = problem.get("error")  # OpenAI's shape, under /v1
    return Refused({"detail": error.get("message")} | error if isinstance(error, dict) else problem)


def key_of(given: str | None) -> str:
    """The key to act with. Raises `UserError` if there is none."""
    if not given:
        raise UserError("key", "is missing", "give --key KEY or set USHER_KEY; `usher key create USER` makes one")
    return given
