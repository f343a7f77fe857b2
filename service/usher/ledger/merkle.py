"""The Merkle tree of RFC 6962, section 2.1, as the writer keeps it: its right edge only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

HASH_BYTES = 32


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 interior node: `SHA-256(0x01 || left || right)`."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree's size and right edge: the roots of its perfect subtrees, largest first (a compact range from 0)."""

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        """Raises `ValueError` when the edge cannot belong to a tree of that size."""
        self.size = size
        self._edge = list(edge)
        if len(self._edge) != size.bit_count() or any(len(node) != HASH_BYTES for node in self._edge):
            raise ValueError(f"edge: not the right edge of a tree of {size} leaves")

    @classmethod
    def from_bytes(cls, size: int, edge: bytes) -> Tree:
        """The inverse of `edge_bytes`. Raises `ValueError`."""
        return cls(size, (edge[start : start + HASH_BYTES] for start in range(0, len(edge), HASH_BYTES)))

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash: one node hash for each trailing one bit of the size."""
        node, carry = leaf, self.size
        while carry & 1:
            node = node_hash(self._edge.pop(), node)
            carry >>= 1
        self._edge.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The tree's root; of an empty tree, the hash of nothing."""
        if not self._edge:
            return hashlib.sha256(b"").digest()
        node = self._edge[-1]
        for left in self._edge[-2::-1]:
            node = node_hash(left, node)
        return node

    def edge_bytes(self) -> bytes:
        return b"".join(self._edge)

    def copy(self) -> Tree:
        return Tree(self.size, self._edge)
