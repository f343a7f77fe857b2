"""WebSocket on a connection, with limits on what a client may send and leave unread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from usher.connections import Counted, admitted
from usher.core.limits import Rate, full, take
from usher.send_limit import SendLimited

LARGEST_MESSAGE = 65_536
"""Bytes of one message that a client sends, its fragments together; more closes with 1009."""
FRAMES = Rate(100, 5.0)
"""Frames of a client, pings and fragments included: more closes with 1008."""
MOST_FRAGMENTS = 64
PIECE = 2_048
"""Bytes that are taken apart before they are counted: they may be 340 frames."""
PING_SECONDS = 20.0
"""A ping after so long, and the connection ends if its pong takes as long again."""

OPTIONS: Mapping[str, Any] = {
    "ws_max_size": LARGEST_MESSAGE,
    "ws_ping_interval": PING_SECONDS,
    "ws_ping_timeout": PING_SECONDS,
    "ws_per_message_deflate": False,
}
"""For uvicorn's configuration. Without compression: it costs memory for each socket, and a secret beside a client's
own text can be guessed from the length of what is compressed."""


class WebSocketProtocol(Counted, SendLimited, WebSocketsSansIOProtocol):
    """RFC 6455 that keeps little for a client: it reads on only when the app has taken the message before, takes no
    more than so many frames, and sends only what the client takes."""

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.close":
            self.writable.set()  # the last frame needs no room: it tells a client that did not read why it is over
        await super().send(message)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._frames = full(FRAMES, self.loop.time())

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE):
            if self.transport.is_closing():
                return
            super().data_received(data[at : at + PIECE])

    def handle_events(self) -> None:
        self._frames, allowed, _ = take(self._frames, FRAMES, self.loop.time(), len(self.conn.events))
        if allowed:
            super().handle_events()
        else:
            self._end(CloseCode.POLICY_VIOLATION, "too many frames")

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MOST_FRAGMENTS:
            super().handle_cont(event)
        else:
            self._end(CloseCode.MESSAGE_TOO_BIG, "too many fragments")

    def handle_ping(self) -> None:
        """A client that pings and does not read gets no pongs: they would pile up here."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def start_keepalive(self) -> None:
        """The handshake is over, and what it was made of goes: some 3 KiB."""
        del self.request, self.response
        super().start_keepalive()

    def known(self) -> bool:
        return admitted(getattr(self, "scope", None))  # there is none before the handshake

    def refuse_room(self) -> None:
        self._end(CloseCode.TRY_AGAIN_LATER, "too many connections")

    def _end(self, code: CloseCode, reason: str) -> None:
        """Close, whether or not the client takes part in it."""
        if self.transport.is_closing():
            return
        self.conn.fail(code, reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
