"""The proof of many events at once, against the tree of RFC 6962 and by the verifier's own computation."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.ledger.manifest import Multiproof
from usher.ledger.merkle import Tree
from usher.ledger.proofs import inclusion_proof, root_of
from usher.ledger.verify.export_proof import MultiproofCheck, hashes_of
from usher.ledger.verify.proof import BadProof

MOST = 70
LEAVES = [hashlib.sha256(bytes([number])).digest() for number in range(MOST)]


def subtree(start: int, end: int) -> bytes:
    return root_of(LEAVES[start:end])


def root(size: int) -> bytes:
    tree = Tree()
    for leaf in LEAVES[:size]:
        tree.append(leaf)
    return tree.root()


def proven(size: int, places: list[int]) -> list[bytes]:
    proof = Multiproof(subtree, size)
    hashes = [node for place in places for node in proof.take(place + 1, LEAVES[place])] + proof.rest()
    assert proof.root() == root(size)
    return hashes


def check(size: int, places: list[int], hashes: list[bytes], wanted: bytes, leaves: list[bytes] = LEAVES) -> None:
    made = MultiproofCheck(size, hashes)
    for place in places:
        made.take(place, leaves[place])
    made.lead_to(wanted)


sizes = st.integers(1, MOST)
places_of = sizes.flatmap(lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1)).map(sorted)))


@given(places_of)
def test_any_events_are_proven_and_each_hash_stands_once(given: tuple[int, list[int]]) -> None:
    """The hashes lead to the root; they are no more than the events' own proofs have together."""
    size, places = given
    hashes = proven(size, places)
    check(size, places, hashes, root(size))
    single = {node for place in places for node in inclusion_proof(place, size, subtree)}
    assert len(hashes) <= len(single) + size.bit_length()


@given(places_of, st.data())
def test_a_proof_of_anything_else_is_refused(given: tuple[int, list[int]], data: st.DataObject) -> None:
    """Another leaf, an event less, a hash changed, dropped, doubled or left over. (The size is the checkpoint's.)"""
    size, places = given
    hashes, wanted = proven(size, places), root(size)
    wrong = [(size, places, [*hashes, LEAVES[0]])]
    if hashes:
        at = data.draw(st.integers(0, len(hashes) - 1))
        changed = bytes([hashes[at][0] ^ 1]) + hashes[at][1:]
        wrong += [(size, places, [*hashes[:at], changed, *hashes[at + 1 :]]), (size, places, hashes[:-1])]
        wrong.append((size, places, [*hashes[:at], hashes[at], *hashes[at:]]))
    for other in wrong:
        with pytest.raises(BadProof):
            check(*other, wanted)
    if places:
        leaves = [*LEAVES]
        leaves[places[-1]] = hashlib.sha256(b"another").digest()
        with pytest.raises(BadProof):
            check(size, places, hashes, wanted, leaves)
        with pytest.raises(BadProof):
            check(size, places[:-1], hashes, wanted)


def test_events_are_taken_in_their_order_and_from_the_tree() -> None:
    """By the writer and by the verifier."""
    for places in ([3, 2], [2, 2], [8], [-1]):
        with pytest.raises(BadProof):
            check(8, places, [LEAVES[0]] * 20, root(8))
        with pytest.raises(ValueError, match="number"):
            proven(8, places)


def test_lines_that_are_no_hashes_are_refused() -> None:
    """Another length, another alphabet, no end."""
    good = base64.b64encode(LEAVES[0])
    assert list(hashes_of([good + b"\n"])) == [LEAVES[0]]
    for bad in (
        b"\n",
        good,
        good[:-4] + b"\n",
        good.replace(good[:1], b"!") + b"\n",
        base64.b64encode(b"x" * 33) + b"\n",
    ):
        with pytest.raises(BadProof):
            list(hashes_of([bad]))
