"""RFC 6962 roots over a stream of leaf hashes: the verifier's own computation."""

from __future__ import annotations

import hashlib
from functools import reduce
from typing import Self

_HASH_BYTES = 32


class Roots:
    """Perfect subtrees by level, as in a binary counter: `levels[k]` is one of 2**k leaves, or None."""

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[bytes | None] = []

    @classmethod
    def of(cls, size: int, edge: bytes) -> Self:
        """The roots over that many leaves, from their edge. Raises `ValueError` if it is none of that size."""
        if size < 0 or len(edge) != _HASH_BYTES * size.bit_count():
            raise ValueError(f"edge: not the right edge of a tree of {size} leaves")
        roots, start = cls(), len(edge)
        roots.size = size
        for level in range(size.bit_length()):
            start -= _HASH_BYTES * (size >> level & 1)
            roots._levels.append(edge[start : start + _HASH_BYTES] if size >> level & 1 else None)
        return roots

    def add(self, leaf: bytes) -> None:
        """Count one leaf hash in."""
        self.size += 1
        carried = leaf
        for level, left in enumerate(self._levels):
            if left is None:
                self._levels[level] = carried
                return
            carried = hashlib.sha256(b"\x01" + left + carried).digest()
            self._levels[level] = None
        self._levels.append(carried)

    def root(self) -> bytes:
        """The root over all leaves so far."""
        edge = self._present()
        if not edge:
            return hashlib.sha256(b"").digest()
        return reduce(lambda right, left: hashlib.sha256(b"\x01" + left + right).digest(), edge)

    def edge(self) -> bytes:
        """The perfect subtrees' roots, largest first, as a ledger stores them."""
        return b"".join(reversed(self._present()))

    def _present(self) -> list[bytes]:
        return [node for node in self._levels if node is not None]
