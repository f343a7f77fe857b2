"""WebSocket on a connection, with limits on what a client may send and leave unread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from usher.send_limit import SendLimited

LARGEST_MESSAGE = 65_536
"""Bytes of one message that a client sends, its fragments together; more closes with 1009."""
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


class WebSocketProtocol(SendLimited, WebSocketsSansIOProtocol):
    """RFC 6455 that reads on only when the app has taken the message before, and sends only what the client takes."""
