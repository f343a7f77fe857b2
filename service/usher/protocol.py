"""HTTP on a connection, with limits on what comes before a request is anybody's."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from usher.send_limit import SendLimited

LARGEST_HEAD = 65_536
MOST_HEADERS = 200
SLOWEST_HEAD = 30


class Protocol(SendLimited, HttpToolsProtocol):
    """HTTP/1.1 that keeps little of a request before it is anybody's.

    A head (or trailer, or what else is no body) of more than `LARGEST_HEAD` bytes is answered 431, of more than
    `MOST_HEADERS` headers 400, one that takes longer than `SLOWEST_HEAD` seconds 408, and the connection closed.
    """

    _unread = 0  # bytes since the parser last handed something on
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's type
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            part, data = data[: LARGEST_HEAD - self._unread], data[LARGEST_HEAD - self._unread :]
            self._unread += len(part)
            super().data_received(part)
            if self._unread >= LARGEST_HEAD:
                self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MOST_HEADERS:  # each takes some 200 bytes more than it sends
            raise ValueError("too many headers")  # the parser ends, and is answered for
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unread = 0
        self._on_time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._on_time()
        self._late = self.loop.call_later(SLOWEST_HEAD, self._refuse, 408)

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()

    def _refuse(self, status: int) -> None:
        """Answer and close; only close where another answer is under way."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            reason = HTTPStatus(status).phrase
            head = f"HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()


class OperatorProtocol(Protocol):
    """HTTP on the operator's socket; the connection's client is `uid:N`, the OS user at its other end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's type
        super().connection_made(transport)
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _gid = struct.unpack("3i", peer)
        self.client = (f"uid:{uid}", pid)
