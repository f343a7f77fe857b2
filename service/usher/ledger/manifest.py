"""What makes an export prove itself: the hashes that lead from its events to a checkpoint, and a signed manifest.

The proof is one for all events: the hashes, from left to right, of the perfect subtrees between and behind the events'
leaves (the nodes that RFC 9162's inclusion proofs of these leaves have, each once). Which subtrees they are follows
from the events' numbers, so the proof is hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from usher.ledger.checkpoint import key_id
from usher.ledger.merkle import node_hash
from usher.ledger.proofs import Subtree

FORMAT = "usher-export@v1"
"""On a manifest, and on the second line of the note that signs it: no checkpoint has such a line."""


def perfect_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The leaves from one index (from 0) up to, not including, another, as perfect subtrees from left to right."""
    while start < end:
        size = 1 << (end - start).bit_length() - 1
        size = min(size, start & -start) if start else size
        yield start, start + size
        start += size


class Multiproof:
    """The proof that events, taken in their order, are among the first `size`; and the root that it leads to."""

    def __init__(self, subtree: Subtree, size: int) -> None:
        self._subtree, self._size = subtree, size
        self._at = 0
        self._edge: list[tuple[int, bytes]] = []

    def take(self, number: int, leaf: bytes) -> list[bytes]:
        """Count in the next event; the proof's hashes before it. Raises `ValueError` out of order, `LogFailed`."""
        index = number - 1
        if not self._at <= index < self._size:
            raise ValueError(f"number: {number} is out of order, or not among the first {self._size}")
        hashes = self._up_to(index)
        self._push(1, leaf)
        return hashes

    def rest(self) -> list[bytes]:
        """The proof's last hashes. Raises `LogFailed`."""
        return self._up_to(self._size)

    def root(self) -> bytes:
        """Where the proof leads, once `rest` was taken."""
        if not self._edge:
            return hashlib.sha256(b"").digest()
        node = self._edge[-1][1]
        for _, left in self._edge[-2::-1]:
            node = node_hash(left, node)
        return node

    def _up_to(self, index: int) -> list[bytes]:
        hashes = []
        for start, end in perfect_subtrees(self._at, index):
            hashes.append(self._subtree(start, end))
            self._push(end - start, hashes[-1])
        return hashes

    def _push(self, leaves: int, node: bytes) -> None:
        self._at += leaves
        while self._edge and self._edge[-1][0] == leaves:
            node = node_hash(self._edge.pop()[1], node)
            leaves *= 2
        self._edge.append((leaves, node))


def sign_manifest(origin: str, manifest: bytes, key: Ed25519PrivateKey) -> str:
    """A signed note (C2SP) over a manifest's digest. Its first line and its key's name are `<origin>/export`: it is
    no checkpoint, and no checkpoint's signature holds for it."""
    name = f"{origin}/export"
    digest = base64.b64encode(hashlib.sha256(manifest).digest()).decode("ascii")
    text = f"{name}\n{FORMAT}\n{digest}\n"
    ident = key_id(name, key.public_key().public_bytes_raw())
    signature = base64.b64encode(ident + key.sign(text.encode())).decode("ascii")
    return f"{text}\n\u2014 {name} {signature}\n"
