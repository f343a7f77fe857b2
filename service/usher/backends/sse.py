"""Server-sent events out of a byte stream (WHATWG HTML, section 9.2.6), data fields only."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

MAX_EVENT = 1_048_576
"""Bytes of one event that are read; a longer one is malformed."""


class MalformedEvent(ValueError):
    """The stream is not one of server-sent events in UTF-8, or an event is too long."""


async def events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """The data of each event. Lines end with LF or CRLF: text inside JSON may hold any other line separator. An event
    that the end of the stream cuts off is dropped. Raises `MalformedEvent`."""
    held = b""
    data: list[bytes] = []
    size = 0
    async for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
                size += len(line)
            elif not line and data:
                yield _text(b"\n".join(data))
                data, size = [], 0
        if size + len(held) > MAX_EVENT:
            raise MalformedEvent("an event is too long")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedEvent("an event is not UTF-8") from None
