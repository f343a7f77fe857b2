"""The way out of a socket: one frame at a time, each in bounded time, and nothing after the close."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from usher.web.ws_frames import Error, ServerFrame

AnyWebSocket = WebSocket[Any, Any, Any]
Judge = Callable[[], Awaitable[None]]

SEND_SECONDS = 10.0
"""How long a client may take to let a frame through."""

UNKNOWN, FORBIDDEN, TOO_SLOW, TOO_MANY = 4401, 4403, 4408, 4429
STOPS, UNREADABLE, FAILED, TRY_LATER = 1001, 1007, 1011, 1013
"""Codes that sockets are closed with."""

_log = structlog.stdlib.get_logger("usher.socket")


class Lost(Exception):
    """Nothing more goes out here: the connection is gone, closing, or too slow."""


class Line:
    """Many answers share it. `over` is called when Usher has ended it: closed, or cut off. `closing` from then on;
    `broken` if the connection was found to be gone."""

    def __init__(self, socket: AnyWebSocket, over: Callable[[], None]) -> None:
        self._socket = socket
        self.broken = False
        self.closing = False
        self._over = over
        self._turn = asyncio.Lock()

    async def send(self, frame: ServerFrame, judge: Judge | None = None) -> None:
        """Returns when the connection has taken it. `judge` is asked when its turn has come, which a slow client may
        have put off: what it raises is raised, and nothing is sent. Raises `Lost`."""
        async with self._turn:
            if judge is not None:
                await judge()
            if self.closing:
                raise Lost
            await self._put(_text(frame))

    async def close(self, code: int, name: str, words: str, retry_after: int | None = None) -> None:
        """Say why, and close. Frames that wait for their turn stay unsent; a second close does nothing."""
        if self.closing:
            return
        self.closing = True
        try:
            async with self._turn:
                await self._put(_text(Error(id=None, code=name, message=words, retry_after=retry_after)))
                await self._put({"type": "websocket.close", "code": code, "reason": name})
        except Lost:
            return
        finally:
            self._over()

    async def _put(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._pass(message)
        except TimeoutError:
            _log.info("slow_reader_cut_off")
            await self._cut_off()
            raise Lost from None

    async def _cut_off(self) -> None:
        self.closing = True
        try:
            async with asyncio.timeout(1):
                await self._pass({"type": "websocket.close", "code": TOO_SLOW, "reason": "slow_reader"})
        except (Lost, TimeoutError):
            return
        finally:
            self._over()

    async def _pass(self, message: Any) -> None:
        try:
            await self._socket.send(message)
        except (WebSocketDisconnect, OSError, RuntimeError) as error:  # what the server raises on a lost connection
            self.broken = True
            raise Lost from error


def _text(frame: ServerFrame) -> dict[str, Any]:
    return {"type": "websocket.send", "text": frame.model_dump_json()}
