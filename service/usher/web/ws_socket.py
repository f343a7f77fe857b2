"""One open WebSocket whose person is known: what comes in, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio

from usher.authority import Grant
from usher.chat import MAX_TOKENS
from usher.chat_barrier import denial
from usher.core.history import MAX_QUESTION
from usher.limits import LimitExceeded
from usher.live import RESUME_SECONDS
from usher.services import Services
from usher.web import ws_replies as replies
from usher.web.ws_frames import Auth, BadFrame, Cancel, Error, NotJson, Ready, named_id, read
from usher.web.ws_line import FORBIDDEN, STOPS, TOO_MANY, UNKNOWN, UNREADABLE, AnyWebSocket, Line, Lost
from usher.web.ws_questions import MAX_IN_FLIGHT, Questions
from usher.websocket_protocol import LARGEST_MESSAGE

MAX_BAD_FRAMES = 10
_ON_PURPOSE = frozenset({1000, 1001, 1012})
"""Codes of a client that leaves, or of a server that stops: nobody will come back for the answers."""
_NO_CODE = 1005


class ChatSocket:
    """`run` returns when the socket is over; what was asked over it has ended then, or waits to be taken up again."""

    def __init__(self, services: Services, socket: AnyWebSocket, grant: Grant) -> None:
        self.grant = grant
        self._services = services
        self._socket = socket
        self._open = anyio.CancelScope()
        self._line = Line(socket, self._open.cancel)
        self._questions = Questions(services, self._line, lambda: self.grant)
        self._closing: asyncio.Task[None] | None = None
        self._lost = False
        self._bad_frames = 0

    async def run(self) -> None:
        if not self._services.live.join(self):
            await self.stop()
            return
        try:
            with self._services.limits.socket(self.grant.credential.user):
                await self._serve()
        except LimitExceeded as error:
            await self._line.close(TOO_MANY, error.code, str(error), error.retry_after)
        finally:
            self._services.live.leave(self)

    async def _serve(self) -> None:
        self._services.watch.add(self)
        try:
            with self._open:
                await self.recheck()  # what changed before the watcher knew of it
                if self._closing is None:
                    await self._line.send(_ready())
                async for text in self._texts():
                    await self._take(text)
        except Lost:
            self._lost = self._line.broken
        finally:
            self._services.watch.remove(self)
            with anyio.CancelScope(shield=True):
                await self._questions.end(self._lost)
                if self._closing is not None:
                    await asyncio.wait({self._closing})

    async def recheck(self) -> None:
        """Close if the credential, or the right to ask, is no more. Waits for no client."""
        self.grant = await self._services.authority.again(self.grant)
        code = denial(self.grant)
        if code is not None and self._closing is None:
            number = FORBIDDEN if self.grant.denied is None else UNKNOWN
            self._closing = asyncio.create_task(self._line.close(number, code, replies.told(None, code).message))

    async def stop(self) -> None:
        """The server stops: the last frames of answers go out, then the reason."""
        await self._questions.settled()
        await self._line.close(STOPS, "server_stops", "The server is stopping. Connect again in a moment.")

    async def _texts(self) -> AsyncIterator[str]:
        """What the client sends, until it leaves."""
        while True:
            message: Any = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                self._lost = not self._line.closing and _is_lost(message)
                return
            yield message.get("text") or ""

    async def _take(self, text: str) -> None:
        try:
            frame = read(text)
            if isinstance(frame, Auth):
                raise BadFrame("type", "auth again; this socket is yours already")
        except NotJson:
            await self._line.close(UNREADABLE, "not_json", "Frames are JSON objects, sent as text.")
        except BadFrame as bad:
            await self._refuse(text, bad)
        else:
            await (self._questions.cancel(frame) if isinstance(frame, Cancel) else self._questions.begin(frame))

    async def _refuse(self, text: str, bad: BadFrame) -> None:
        """Say what is wrong, and with which question, unless one that is well has that id."""
        self._bad_frames += 1
        id = named_id(text)
        told = None if id is None or id in self._questions else id
        await self._line.send(Error(id=told, code="bad_frame", message=f"{bad}. The frames: /schema/ws-chat-v1.json"))
        if self._bad_frames >= MAX_BAD_FRAMES:
            words = f"{MAX_BAD_FRAMES} frames were not well formed."
            await self._line.close(UNREADABLE, "too_many_bad_frames", words)


def _is_lost(message: dict[str, Any]) -> bool:
    """True for a connection that broke. One that was closed without a code comes with a reason, if an empty one."""
    code = message.get("code")
    return code not in _ON_PURPOSE and not (code == _NO_CODE and "reason" in message)


def _ready() -> Ready:
    return Ready(
        max_in_flight=MAX_IN_FLIGHT,
        max_frame_bytes=LARGEST_MESSAGE,
        max_question=MAX_QUESTION,
        max_tokens=MAX_TOKENS,
        resume_seconds=RESUME_SECONDS,
    )
