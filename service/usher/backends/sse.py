"""Server-sent events out of a byte stream (WHATWG HTML, section 9.2.6), data fields only."""

from __future__ import annotations

from collections.abc import Iterator

MAX_EVENT = 1_048_576
"""Bytes of one event that are read; a longer one is malformed."""


class MalformedEvent(ValueError):
    """The stream is not one of server-sent events in UTF-8, or an event is too long."""


class Events:
    """Feed it the bytes of a stream as they come. Lines end with LF or CRLF: text inside JSON may hold any other line
    separator. An event that the end of the stream cuts off is none."""

    def __init__(self) -> None:
        self._held = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of each event that this completes. Raises `MalformedEvent`, after what came before it."""
        *lines, self._held = (self._held + chunk).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
            elif not line and self._data:
                data, self._data, self._size = b"\n".join(self._data), [], 0
                yield _text(data)
        if self._size + len(self._held) > MAX_EVENT:
            raise MalformedEvent("an event is too long")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedEvent("an event is not UTF-8") from None
