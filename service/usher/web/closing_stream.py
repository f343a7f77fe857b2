"""A streamed response that closes what it sends, however the sending ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send


class ClosingStream(Stream):
    """`close` is awaited once the sending is over: done, failed, or cancelled while it waited for its client. The
    framework's own stream leaves its generator to the garbage collector then."""

    __slots__ = ("_close",)

    def __init__(
        self, content: AsyncGenerator[bytes, None], close: Callable[[], Awaitable[None]], **options: Any
    ) -> None:
        super().__init__(content, **options)
        self._close = close

    def to_asgi_response(self, *args: Any, **options: Any) -> ASGIResponse:
        sending = _Closing(super().to_asgi_response(*args, **options), self._close)
        return cast(ASGIResponse, sending)  # the framework calls it as an ASGI app and asks nothing else of it


class _Closing:
    """An ASGI app with something to close after it."""

    def __init__(self, app: ASGIApp, close: Callable[[], Awaitable[None]]) -> None:
        self._app, self._close = app, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            await self._close()
