"""HTTP/1.1 to a model server with little work for each part that comes: llhttp parses, nothing runs between the parts.

A drop-in for httpx's own transport, whose layers each wake for every part of a stream.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools
import httpx

IDLE = 4.0
"""Seconds: idle connections go before servers usually close them (5 s and more)."""
MAX_HEAD = 65_536
"""Bytes of a response's header fields."""
MAX_HELD = 1_048_576
"""Bytes that are taken in before they are asked for."""

_Origin = tuple[str, str, int]
_Fields = list[tuple[bytes, bytes]]


class LineTransport(httpx.AsyncBaseTransport):
    """Connections that are kept for `idle` seconds after a whole response, at most `most_idle` for each server.

    One that its server has closed meanwhile, which shows by its end before anything of a response, costs no request: it
    is made once more, over a new connection.
    Raises httpx's errors. Bounds no waiting but that for a connection, and that for a `Body` as it is told: whoever
    calls bounds the rest, and cancels.
    """

    def __init__(self, idle: float, most_idle: int) -> None:
        self._idle, self._most_idle = idle, most_idle
        self._kept: dict[_Origin, list[tuple[float, _Line]]] = {}
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        message = _message(request, await request.aread())
        origin = _origin(request.url)
        kept = self._taken(origin)
        if kept is not None:
            try:
                return await self._asked(origin, kept, message)
            except (httpx.ReadError, httpx.RemoteProtocolError):
                if kept.heard:
                    raise
        line = await self._opened(origin, request.extensions.get("timeout", {}).get("connect"))
        return await self._asked(origin, line, message)

    async def _asked(self, origin: _Origin, line: _Line, message: bytes) -> httpx.Response:
        try:
            line.ask(message)
            status, fields = await line.head()
        except BaseException:
            line.abort()
            raise
        return httpx.Response(status, headers=fields, stream=Body(self, origin, line))

    async def aclose(self) -> None:
        for kept in self._kept.values():
            for _, line in kept:
                line.abort()
        self._kept.clear()

    def give_back(self, origin: _Origin, line: _Line) -> None:
        """The response is not read any further."""
        kept = self._kept.setdefault(origin, [])
        if line.may_serve_again and len(kept) < self._most_idle:
            line.rest()
            kept.append((time.monotonic() + self._idle, line))
        else:
            line.abort()

    def _taken(self, origin: _Origin) -> _Line | None:
        """The one that was used last, if it is still there; what has waited too long goes."""
        kept, now = self._kept.get(origin, []), time.monotonic()
        while kept:
            until, line = kept.pop()
            if until > now and line.is_open:
                return line
            line.abort()
        return None

    async def _opened(self, origin: _Origin, seconds: float | None) -> _Line:
        scheme, host, port = origin
        if scheme == "https" and self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        tls = self._tls if scheme == "https" else None
        try:
            async with asyncio.timeout(seconds):
                loop = asyncio.get_running_loop()
                _, line = await loop.create_connection(_Line, host, port, ssl=tls)
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time") from None
        except OSError as error:
            raise httpx.ConnectError(type(error).__name__) from None
        return line


class Body(httpx.AsyncByteStream):
    """What a response of a `LineTransport` streams."""

    def __init__(self, transport: LineTransport, origin: _Origin, line: _Line) -> None:
        self._transport, self._origin = transport, origin
        self._line: _Line | None = line

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while part := await self.part():
            yield part

    async def part(self, until: float | None = None, gathered: float = 0.0) -> bytes:
        """What has come since the last part, waited for until this time of the event loop; empty at the end. What comes
        before the time `gathered` is given then, or with the end. Raises `httpx.ReadTimeout`, and where the connection
        breaks another `httpx.TransportError`."""
        return b"" if self._line is None else await self._line.part(until, gathered)

    async def aclose(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._transport.give_back(self._origin, line)


class _Line(asyncio.Protocol):
    """One connection: one request and its response at a time. What comes while nothing is asked closes it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.is_open = True
        self._waiter: asyncio.Future[None] | None = None
        self._gathering = False
        self._parser: httptools.HttpResponseParser | None = None
        self._begin()

    def _begin(self) -> None:
        self._fields: _Fields = []
        self._size = 0
        self.heard = False
        self._headed = self._whole = self._lasting = self._paused = False
        self._parts: deque[bytes] = deque()
        self._error: httpx.TransportError | None = None

    def ask(self, message: bytes) -> None:
        self._begin()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(message)

    async def head(self) -> tuple[int, _Fields]:
        while not self._headed:
            await self._more()
        assert self._parser is not None  # noqa: S101  # it parsed the head
        return self._parser.get_status_code(), self._fields

    async def part(self, until: float | None = None, gathered: float = 0.0) -> bytes:
        """What has come of the body since the last part; empty at its end."""
        if gathered > self._loop.time() and self._error is None and not self._whole:
            self._gathering = True
            await self._woken(gathered, self._wake)
        while not self._parts and not self._whole:
            await self._more(until)
        part = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return part

    @property
    def may_serve_again(self) -> bool:
        return self.is_open and self._whole and self._lasting

    def rest(self) -> None:
        self._parser = None

    def abort(self) -> None:
        self.is_open = False
        self._transport.abort()

    async def _more(self, until: float | None = None) -> None:
        if self._error is not None:
            raise self._error
        await self._woken(until, self._late)

    async def _woken(self, at: float | None, act: Callable[[], None]) -> None:
        """Return once something wakes this; do this at that time of the event loop."""
        self._waiter = self._loop.create_future()
        alarm = None if at is None else self._loop.call_at(at, act)
        try:
            await self._waiter
        finally:
            self._waiter, self._gathering = None, False
            if alarm is not None:
                alarm.cancel()

    def _late(self) -> None:
        self._fail(httpx.ReadTimeout("nothing came in time"))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: httpx.TransportError) -> None:
        self._error = self._error or error
        self.is_open = False

    # From here on: called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # the event loop's own need not derive from it

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._whole:
            self.abort()
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(httpx.RemoteProtocolError("the response is not HTTP/1.1, or not one"))
        if not self._gathering or self._whole or self._error is not None:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self._headed and not self._whole and self._ends_with_connection():
            self._whole = True
        self._fail(httpx.ReadError("the connection was lost") if error else httpx.RemoteProtocolError("closed early"))
        self._wake()

    def _ends_with_connection(self) -> bool:
        return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._fields)

    # From here on: called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value)
        if self._size > MAX_HEAD:
            raise ValueError("the response's head is too long")
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None  # noqa: S101  # it calls
        self._headed = self._parser.get_status_code() >= httpx.codes.OK
        self._size = 0
        if not self._headed:  # an interim response: the real one follows
            self._fields = []

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self._size += len(body)
        if self._size > MAX_HELD and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_begin(self) -> None:
        if self._whole:
            raise ValueError("more than one response")

    def on_message_complete(self) -> None:
        assert self._parser is not None  # noqa: S101  # it calls
        self._whole, self._lasting = self._headed, self._parser.should_keep_alive()


def _origin(url: httpx.URL) -> _Origin:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _message(request: httpx.Request, content: bytes) -> bytes:
    """The request's bytes. Raises `httpx.LocalProtocolError` for a header field that would be more than one."""
    lines = [request.method.encode() + b" " + request.url.raw_path + b" HTTP/1.1"]
    for name, value in request.headers.raw:
        if b"\r" in value or b"\n" in value:
            raise httpx.LocalProtocolError("a header field has a line break")
        lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", content])
