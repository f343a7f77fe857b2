"""Inclusion and consistency proofs of RFC 9162 (sections 2.1.3.1 and 2.1.4.1), for the stored log.

The log stores leaf hashes; a proof needs interior ones. Those of complete subtrees of `TILE` leaves and more never
change and are kept in memory, a quarter of a byte for each event; what is below them is hashed when asked for.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from usher.ledger.log import LogFailed
from usher.ledger.merkle import HASH_BYTES, node_hash

TILE = 256
_TILE_BITS = TILE.bit_length() - 1
_AT_ONCE = 32 * TILE
"""Leaves read at once while interior hashes are made."""
_TILES_KEPT = 64
"""Tiles of leaves that one proof keeps while it is made."""

Subtree = Callable[[int, int], bytes]
"""The root over the leaves from the first index (from 0) up to, not including, the second."""


class Leaves(Protocol):
    """The log's own reads that proofs are made of."""

    def leaves(self, first: int, last: int) -> list[bytes]:
        """The stored leaf hashes of the events numbered `first` to `last`, as many as are there. Raises `LogFailed`."""


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The proof that leaf `index` (from 0) is in the tree of `size` leaves. Raises `ValueError` if it cannot be."""
    if not 0 <= index < size:
        raise ValueError(f"index: a tree of {size} leaves has no leaf {index}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The proof that the tree of `old` leaves is the beginning of the one of `new`. Raises `ValueError` for sizes
    between which there is none: the empty tree's, or an old one that is larger."""
    if not 0 < old <= new:
        raise ValueError(f"old: nothing shows that {old} leaves are the beginning of {new}")
    path, start, end, whole = [], 0, new, True
    while end > old:
        middle = start + split(end - start)
        if old <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start, whole = middle, False
    return ([] if whole else [subtree(start, end)]) + path[::-1]


def split(leaves: int) -> int:
    """How many of two or more leaves are on the left: the largest power of two below their count."""
    return 1 << (leaves - 1).bit_length() - 1


def root_of(leaves: list[bytes]) -> bytes:
    """The root over one or more leaf hashes."""
    while len(leaves) > 1:
        odd = leaves[len(leaves) & ~1 :]
        leaves = [node_hash(left, right) for left, right in zip(leaves[::2], leaves[1::2], strict=False)] + odd
    return leaves[0]


class Prover:
    """Proofs for one log, from any thread. They are as good as the stored leaf hashes: check them before use."""

    def __init__(self, log: Leaves) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._levels: list[list[bytes]] = [[]]

    def leaf(self, number: int) -> bytes:
        """The stored leaf hash of an event. Raises `LogFailed`."""
        return self._leaves(number - 1, number)[0]

    def inclusion(self, number: int, size: int) -> list[bytes]:
        """That event `number` is among the first `size`. Raises `ValueError`, `LogFailed`."""
        return inclusion_proof(number - 1, size, self.over(size))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """That the first `old` events are the beginning of the first `new`. Raises `ValueError`, `LogFailed`."""
        return consistency_proof(old, new, self.over(new))

    def forget(self) -> None:
        """Drop the interior hashes: they are of leaves that are not what they should be, or were not."""
        with self._lock:
            self._levels = [[]]

    def over(self, size: int) -> Subtree:
        """Subtrees of the first `size` events. What is read for one node of a proof serves the next; for one thread.
        Raises `LogFailed`, as what it gives does."""
        with self._lock:
            self._extend(size >> _TILE_BITS)
            levels = self._levels
        read: dict[int, list[bytes]] = {}

        def subtree(start: int, end: int) -> bytes:
            leaves = end - start
            if leaves > TILE and leaves & (leaves - 1):
                middle = start + split(leaves)
                return node_hash(subtree(start, middle), subtree(middle, end))
            level = leaves.bit_length() - 1 - _TILE_BITS
            if leaves >= TILE:
                return levels[level][start // leaves]
            tile = start - start % TILE
            if tile not in read:
                if len(read) >= _TILES_KEPT:
                    read.clear()
                read[tile] = self._leaves(tile, min(tile + TILE, size))
            return root_of(read[tile][start - tile : end - tile])

        return subtree

    def _extend(self, tiles: int) -> None:
        """Make the interior hashes over that many whole tiles."""
        done = len(self._levels[0])
        while done < tiles:
            upto = min(done + _AT_ONCE // TILE, tiles)
            leaves = self._leaves(done * TILE, upto * TILE)
            for start in range(0, len(leaves), TILE):
                self._add(root_of(leaves[start : start + TILE]))
            done = upto

    def _add(self, node: bytes) -> None:
        """Add a tile's root, and every interior node that it completes."""
        for level in self._levels:
            level.append(node)
            if len(level) & 1:
                return
            node = node_hash(level[-2], node)
        self._levels.append([node])

    def _leaves(self, start: int, end: int) -> list[bytes]:
        leaves = self._log.leaves(start + 1, end)
        if len(leaves) != end - start or any(type(leaf) is not bytes or len(leaf) != HASH_BYTES for leaf in leaves):
            raise LogFailed("events or their hashes are missing; run `usher audit verify`")
        return leaves


def tlog_proof(index: int, leaf: bytes, hashes: Sequence[bytes], note: str) -> str:
    """An inclusion proof as a text (C2SP `tlog-proof`); its `extra` is the leaf hash."""
    lines = "".join(f"{_base64(node)}\n" for node in hashes)
    return f"c2sp.org/tlog-proof@v1\nextra {_base64(leaf)}\nindex {index}\n{lines}\n{note}"


def consistency_text(old: int, hashes: Sequence[bytes], note: str) -> str:
    """A consistency proof as a text: what a witness is given (C2SP `tlog-witness`)."""
    lines = "".join(f"{_base64(node)}\n" for node in hashes)
    return f"old {old}\n{lines}\n{note}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
