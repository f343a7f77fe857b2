"""HTTP on a connection, with limits on what comes before a request is anybody's, and on how slowly it comes."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from usher.connections import Counted, admitted
from usher.send_limit import SendLimited

LARGEST_HEAD = 65_536
MOST_HEADERS = 200
SLOWEST_HEAD = 30
SLOWEST_BODY = 30
LEAST_BODY = 131_072


class Protocol(Counted, SendLimited, HttpToolsProtocol):
    """HTTP/1.1 that keeps little of a request before it is anybody's, and waits for none for long.

    A head (or trailer, or what else is no body) of more than `LARGEST_HEAD` bytes is answered 431, of more than
    `MOST_HEADERS` headers 400, one that takes longer than `SLOWEST_HEAD` seconds 408, and the connection closed. So is
    one that sends less than `LEAST_BODY` bytes of a body in `SLOWEST_BODY` seconds and has more to send, or still sends
    one to which the answer was given.
    """

    _unread = 0  # bytes since the parser last handed something on
    _late: asyncio.TimerHandle | None = None
    _pace: asyncio.TimerHandle | None = None
    _body_read = 0  # bytes of the body since the pace was last looked at
    _known = False  # by a request before the present one
    _upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_time()
        self._body_ended()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:  # what ends the rest between requests need not begin one
            self._expect_head()
        while data and not self.transport.is_closing() and not self._upgraded:
            part, data = data[: LARGEST_HEAD - self._unread], data[LARGEST_HEAD - self._unread :]
            self._unread += len(part)
            super().data_received(part)
            if self._unread >= LARGEST_HEAD:
                self._refuse(431)

    def handle_websocket_upgrade(self) -> None:
        """The connection goes on as a WebSocket's, and this object ends."""
        self._on_time()
        self._body_ended()
        self._upgraded = True
        self.among.left(self)
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # as uvicorn's own end: it holds this object, and this object it

    def on_message_begin(self) -> None:
        self._known = self.known()
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
        self._expect_body()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        self._body_read += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        self._body_ended()
        super().on_message_complete()

    def known(self) -> bool:
        """True once a whole request was admitted: a head with a valid key and a body that never ends is no more than
        any stranger's."""
        whole = self.cycle is not None and not self.cycle.more_body
        return self._known or (whole and admitted(self.scope))

    def refuse_room(self) -> None:
        self._refuse(503)

    def _expect_head(self) -> None:
        self._on_time()
        self._late = self.loop.call_later(SLOWEST_HEAD, self._refuse, 408)

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()

    def _expect_body(self) -> None:
        self._body_ended()
        self._body_read = 0
        self._pace = self.loop.call_later(SLOWEST_BODY, self._look_at_pace)

    def _body_ended(self) -> None:
        if self._pace is not None:
            self._pace.cancel()

    def _look_at_pace(self) -> None:
        """Refuse a body that comes too slowly, unless it is the app that does not take it."""
        if not self.flow.read_paused and (self._body_read < LEAST_BODY or self.cycle.response_complete):
            self._refuse(408, answer=not self.cycle.response_started)
        else:
            self._expect_body()

    def _refuse(self, status: int, answer: bool | None = None) -> None:
        """Answer and close; unless told otherwise, only close where another answer is under way."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete if answer is None else answer:
            reason = HTTPStatus(status).phrase
            head = f"HTTP/1.1 {status} {reason}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self.transport.close()


class OperatorProtocol(Protocol):
    """HTTP on the operator's socket; the connection's client is `uid:N`, the OS user at its other end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _gid = struct.unpack("3i", peer)
        self.client = (f"uid:{uid}", pid)

    def known(self) -> bool:
        """The socket's mode says whose it is."""
        return True
