"""Which passages an answer cited, in a few bytes: kept beside the exchange, so that an old answer's sources open."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

_FORM = struct.Struct(">H16s16s")


@dataclass(frozen=True, slots=True)
class Cited:
    """`n` is the passage's number in the answer, below 65,536."""

    n: int
    document: UUID
    chunk: UUID


def pack(cited: Iterable[Cited]) -> bytes:
    return b"".join(_FORM.pack(one.n, one.document.bytes, one.chunk.bytes) for one in cited)


def unpack(packed: bytes) -> tuple[Cited, ...]:
    """Raises `ValueError` for bytes that `pack` did not make."""
    if len(packed) % _FORM.size:
        raise ValueError("citations: not a whole number of them")
    return tuple(Cited(n, UUID(bytes=d), UUID(bytes=c)) for n, d, c in _FORM.iter_unpack(packed))
