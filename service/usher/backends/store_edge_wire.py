"""What the embedded store's process and its client say to each other: length-prefixed MessagePack over a pipe pair."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt

from usher.core.fusion import Found, SparseVector
from usher.ports import Point, Vector


class WirePoint(msgspec.Struct, array_like=True, frozen=True):
    """A `Point` with its numbers packed: float32, and unsigned 32-bit terms, in native byte order."""

    chunk: UUID
    document: UUID
    access_class: int
    dense: bytes
    terms: bytes
    weights: bytes

    @classmethod
    def of(cls, point: Point) -> WirePoint:
        terms, weights = pack_sparse(point.sparse)
        dense = np.asarray(point.dense, dtype=np.float32).tobytes()
        return cls(point.chunk, point.document, point.access_class, dense, terms, weights)


class SearchCall(msgspec.Struct, array_like=True, frozen=True, tag="search"):
    """`classes` are packed 64-bit integers."""

    id: int
    classes: bytes
    dense: bytes
    terms: bytes
    weights: bytes
    k: int


class WriteCall(msgspec.Struct, array_like=True, frozen=True, tag="write"):
    """A part of a `StoreBatch`; with `flush`, what was written so far is durable at the answer."""

    id: int
    delete: list[UUID]
    upsert: list[WirePoint]
    move: list[tuple[list[UUID], int]]
    flush: bool


class CountCall(msgspec.Struct, array_like=True, frozen=True, tag="count"):
    id: int


class CloseCall(msgspec.Struct, array_like=True, frozen=True, tag="close"):
    """Flush, answer, end."""

    id: int


Call = SearchCall | WriteCall | CountCall | CloseCall


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """The answer to call `id`. `error` is (kind, message); kind is the name of an exception type."""

    id: int
    found: Found = Found((), (), {})
    count: int = 0
    error: tuple[str, str] | None = None


READY = 0
"""The id of a process's first reply, which no call asked for: the index is open, or why not."""

HEADER = struct.Struct("<I")

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_calls = msgspec.msgpack.Decoder(Call)
_replies = msgspec.msgpack.Decoder(Reply)


def frame(message: Call | Reply) -> bytes:
    """The message with its length before it. Raises `OverflowError` from 4 GiB."""
    body = _encoder.encode(message)
    if len(body) >> 32:
        raise OverflowError("A message of the vector store's process has 4 GiB or more; write smaller batches")
    return HEADER.pack(len(body)) + body


def call_from(body: bytes) -> Call:
    call: Call = _calls.decode(body)
    return call


def reply_from(body: bytes) -> Reply:
    return _replies.decode(body)


def pack_sparse(vector: SparseVector) -> tuple[bytes, bytes]:
    return np.array(vector.indices, dtype=np.uint32).tobytes(), np.array(vector.values, dtype=np.float32).tobytes()


def unpack_sparse(terms: bytes, weights: bytes) -> SparseVector:
    indices, values = np.frombuffer(terms, dtype=np.uint32), np.frombuffer(weights, dtype=np.float32)
    return SparseVector(tuple(indices.tolist()), tuple(values.tolist()))


def pack_classes(classes: Sequence[int]) -> bytes:
    """Raises `OverflowError` for an id beyond 32 bits."""
    return np.array(classes, dtype=np.uint32).tobytes()


def unpack_classes(packed: bytes) -> npt.NDArray[np.uint32]:
    return np.frombuffer(packed, dtype=np.uint32)


def pack_dense(vector: Vector) -> bytes:
    return np.asarray(vector, dtype=np.float32).tobytes()


def unpack_dense(packed: bytes) -> list[float]:
    unpacked: list[float] = np.frombuffer(packed, dtype=np.float32).tolist()
    return unpacked
