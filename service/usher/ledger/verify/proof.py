"""Inclusion and consistency proofs, checked as RFC 9162 states it (sections 2.1.3.2 and 2.1.4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_HASH_BYTES = 32


class BadProof(Exception):
    """The proof does not show what it is said to show; the message says why."""


def root_from_inclusion_proof(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root of a tree of `size` leaves whose leaf `index` (from 0) has this hash, by the proof.

    Raises `BadProof` for a proof that is none of a leaf there in a tree of that size.
    """
    _well_formed(proof, leaf)
    if not 0 <= index < size:
        raise BadProof(f"proof: a tree of {size} leaves has no leaf {index}")
    node, at, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            raise BadProof("proof: it has hashes left over")
        if at & 1 or at == last:
            node = _node(sibling, node)
            at, last = _to_right_child(at, last)
        else:
            node = _node(node, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise BadProof("proof: it has too few hashes")
    return node


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Return if leaf `index` (from 0) of the tree of `size` leaves with that root has this hash. Raises `BadProof`."""
    if root_from_inclusion_proof(index, size, leaf, proof) != root:
        raise BadProof("proof: it leads to another root")


def verify_consistency(size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]) -> None:
    """Return if the tree of `size1` leaves is the beginning of the one of `size2`. Raises `BadProof`; an empty tree,
    which is the beginning of any, has no proof."""
    _well_formed(proof, root1, root2)
    if not 0 < size1 <= size2:
        raise BadProof(f"proof: a tree of {size1} leaves is not the beginning of one of {size2}, or shows nothing")
    if size1 == size2:
        if proof or root1 != root2:
            raise BadProof("proof: two trees of one size need one root and no hashes")
        return
    if not proof:
        raise BadProof("proof: it has too few hashes")
    first, second = _consistent_roots(size1, root1, size2, proof)
    if first != root1 or second != root2:
        raise BadProof("proof: it leads to other roots")


def _consistent_roots(size1: int, root1: bytes, size2: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    path = list(proof) if size1 & (size1 - 1) else [root1, *proof]
    at, last = size1 - 1, size2 - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof("proof: it has hashes left over")
        if at & 1 or at == last:
            first, second = _node(sibling, first), _node(sibling, second)
            at, last = _to_right_child(at, last)
        else:
            second = _node(second, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise BadProof("proof: it has too few hashes")
    return first, second


def _to_right_child(at: int, last: int) -> tuple[int, int]:
    """Up past the levels on which the node, the last one of its level, has no sibling."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _well_formed(proof: Sequence[bytes], *others: bytes) -> None:
    if any(type(node) is not bytes or len(node) != _HASH_BYTES for node in (*proof, *others)):
        raise BadProof(f"proof: a hash in it does not have {_HASH_BYTES} bytes")


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
