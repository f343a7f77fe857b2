"""The proof of an export: hashes that lead, with the leaves of its events, to the root of a checkpoint."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator

from usher.ledger.verify.proof import BadProof

_LINE_BYTES = 45
"""32 bytes in base64, and a line's end."""


class MultiproofCheck:
    """Leaves in their order, and between them the hashes of the perfect subtrees that lie there.

    Sizes of subtrees follow from the leaves' places alone, so a proof for other places, or of another length, does not
    lead to the root.
    """

    def __init__(self, size: int, hashes: Iterable[bytes]) -> None:
        self._size, self._hashes = size, iter(hashes)
        self._at = 0
        self._edge: list[tuple[int, bytes]] = []

    def take(self, index: int, leaf: bytes) -> None:
        """Count in the next leaf, by its index from 0. Raises `BadProof`."""
        if not self._at <= index < self._size:
            raise BadProof(f"proof: a tree of {self._size} leaves has no leaf {index} there")
        self._skip_to(index)
        self._add(0, leaf)

    def lead_to(self, root: bytes) -> None:
        """Return if this is the root, once all leaves were taken. Raises `BadProof`."""
        self._skip_to(self._size)
        if next(self._hashes, None) is not None:
            raise BadProof("proof: it has hashes left over")
        if self._root() != root:
            raise BadProof("proof: the events do not lead to the checkpoint's root: one is not as it was recorded")

    def _root(self) -> bytes:
        if not self._edge:
            return hashlib.sha256(b"").digest()
        node = self._edge[-1][1]
        for _, left in reversed(self._edge[:-1]):
            node = _node(left, node)
        return node

    def _skip_to(self, index: int) -> None:
        while self._at < index:
            level = (index - self._at).bit_length() - 1
            if self._at:
                level = min(level, (self._at & -self._at).bit_length() - 1)
            node = next(self._hashes, None)
            if node is None:
                raise BadProof("proof: it has too few hashes")
            self._add(level, node)

    def _add(self, level: int, node: bytes) -> None:
        self._at += 1 << level
        while self._edge and self._edge[-1][0] == level:
            node = _node(self._edge.pop()[1], node)
            level += 1
        self._edge.append((level, node))


def hashes_of(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The hashes of a proof's lines. Raises `BadProof`."""
    for line in lines:
        try:
            node = base64.b64decode(line.removesuffix(b"\n"), validate=True) if len(line) == _LINE_BYTES else b""
        except binascii.Error:
            node = b""
        if len(node) != 32 or not line.endswith(b"\n"):
            raise BadProof("proof: a line of it is no hash")
        yield node


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
