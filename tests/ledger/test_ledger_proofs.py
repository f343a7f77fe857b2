"""Inclusion and consistency proofs: the published vectors, the definition, and what must be refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.ledger_kit import exchange, ledger_in, run
from tests.ledger.test_ledger_merkle import LEAVES, ROOTS

from usher.backends.ledger_memory import MemoryLog
from usher.backends.ledger_sql import SqlLog
from usher.ledger.log import Batch, LogFailed, StoredEvent
from usher.ledger.proofs import TILE, Prover, Subtree, consistency_proof, inclusion_proof, root_of
from usher.ledger.record import leaf_hash
from usher.ledger.verify.proof import BadProof, root_from_inclusion_proof, verify_consistency, verify_inclusion

A, B, C, D, E, F = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
)
INCLUSION: Sequence[tuple[int, int, list[str]]] = [
    (0, 1, []),
    (0, 8, [A, B, C]),
    (5, 8, [D, E, ROOTS[3]]),
    (2, 3, [ROOTS[1]]),
    (1, 5, [ROOTS[0], B, D]),
]
"""Index and size, and the path: certificate-transparency's own test vectors."""
CONSISTENCY: Sequence[tuple[int, int, list[str]]] = [
    (1, 1, []),
    (1, 8, [A, B, C]),
    (6, 8, [F, E, ROOTS[3]]),
    (2, 5, [B, D]),
]
HASHES = [hashlib.sha256(b"%d" % n).digest() for n in range(700)]


def defined(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    k = largest(len(leaves))
    return hashlib.sha256(b"\x01" + defined(leaves[:k]) + defined(leaves[k:])).digest()


def largest(n: int) -> int:
    return next(1 << bit for bit in range(20) if 1 << bit + 1 >= n)


def path_of(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = largest(len(leaves))
    return (
        [*path_of(m, leaves[:k]), defined(leaves[k:])] if m < k else [*path_of(m - k, leaves[k:]), defined(leaves[:k])]
    )


def subproof(m: int, leaves: Sequence[bytes], b: bool = True) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if m == len(leaves):
        return [] if b else [defined(leaves)]
    k = largest(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], b), defined(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), defined(leaves[:k])]


def over(leaves: Sequence[bytes]) -> Subtree:
    return lambda start, end: root_of(list(leaves[start:end]))


def nodes(texts: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, path: list[str]) -> None:
    """Made as published, and accepted."""
    leaves = [leaf_hash(leaf) for leaf in LEAVES]
    assert inclusion_proof(index, size, over(leaves)) == nodes(path)
    verify_inclusion(index, size, leaves[index], nodes(path), bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, path: list[str]) -> None:
    """Made as published, and accepted."""
    assert consistency_proof(old, new, over([leaf_hash(leaf) for leaf in LEAVES])) == nodes(path)
    verify_consistency(old, bytes.fromhex(ROOTS[old - 1]), new, bytes.fromhex(ROOTS[new - 1]), nodes(path))


def test_every_small_proof_is_the_definitions() -> None:
    """All leaves, old and new sizes of trees up to 33 leaves, against RFC 9162's recursive definitions."""
    for size in range(1, 34):
        leaves = HASHES[:size]
        root = defined(leaves)
        for place in range(size):
            path = inclusion_proof(place, size, over(leaves))
            assert path == path_of(place, leaves)
            verify_inclusion(place, size, leaves[place], path, root)
            links = consistency_proof(place + 1, size, over(leaves))
            assert links == subproof(place + 1, leaves)
            verify_consistency(place + 1, defined(leaves[: place + 1]), size, root, links)


def bent(proof: list[bytes]) -> list[Any]:
    """What a proof becomes by one mistake or lie each."""
    wrong: list[Any] = [
        [*proof, b""],
        [*proof, b"\0" * 32],
        [*proof, *proof[-1:]],
        [b"", *proof],
        [*proof, bytearray(32)],
    ]
    for at, node in enumerate(proof):
        wrong += [proof[:at] + proof[at + 1 :], [*proof[:at], b"", *proof[at + 1 :]]]
        wrong += [[*proof[:at], put, *proof[at + 1 :]] for put in (node[:-1], node + b"\0", bytes(32))]
        wrong += [[*proof[:at], node, node, *proof[at + 1 :]]]
    wrong += [[*proof[:at], b, a, *proof[at + 2 :]] for at, (a, b) in enumerate(pairwise(proof))]
    return [other for other in wrong if other != proof]


@settings(max_examples=40)
@given(st.integers(1, 600), st.data())
def test_an_inclusion_proof_shows_one_leaf_at_one_place_of_one_tree(size: int, data: st.DataObject) -> None:
    """Any other index, size up to another shape, leaf, root or path is refused."""
    index = data.draw(st.integers(0, size - 1))
    proof, leaf, root = inclusion_proof(index, size, over(HASHES)), HASHES[index], root_of(HASHES[:size])
    verify_inclusion(index, size, leaf, proof, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index)) if size > 1 else size
    lies = [(other, size, leaf, root), (index, size, HASHES[-1], root), (index, size, leaf, HASHES[-1])]
    lies += [(at, size, leaf, root) for at in (size, size + 1, -1, index - size)]
    lies += [(index, index, leaf, root), (index, 0, leaf, root), (index, -size, leaf, root)]
    lies += [(index, 2 * size + 1, leaf, root), (index, size, b"", root)]
    for at, of, what, top in lies:
        with pytest.raises(BadProof):
            verify_inclusion(at, of, what, proof, top)
    for path in bent(proof):
        with pytest.raises(BadProof):
            verify_inclusion(index, size, leaf, path, root)


@settings(max_examples=40)
@given(st.integers(1, 600), st.data())
def test_a_consistency_proof_shows_one_beginning_of_one_tree(new: int, data: st.DataObject) -> None:
    """Any other root, swapped or impossible sizes, or another path is refused."""
    old = data.draw(st.integers(1, new))
    first, second = root_of(HASHES[:old]), root_of(HASHES[:new])
    proof = consistency_proof(old, new, over(HASHES))
    verify_consistency(old, first, new, second, proof)
    lies = [(old, HASHES[-1], new, second), (old, first, new, HASHES[-1]), (0, first, new, second)]
    lies += [(new + 1, first, new, second), (-old, first, new, second), (old, b"", new, second), (old, first, new, b"")]
    lies += [(new, second, old, first), (old, second, new, first), (old, first, 2 * new + 1, second)]
    for m, one, n, two in lies:
        if (m, one, n, two) != (old, first, new, second):
            with pytest.raises(BadProof):
                verify_consistency(m, one, n, two, proof)
    for path in bent(proof):
        with pytest.raises(BadProof):
            verify_consistency(old, first, new, second, path)


def test_hashes_left_over_or_cut_elsewhere_are_refused() -> None:
    """Also where they would lead to a root: more than the tree has levels, or the same bytes parted otherwise."""
    leaf, (sibling, *rest) = HASHES[0], inclusion_proof(0, 8, over(HASHES))
    with pytest.raises(BadProof, match="left over"):
        root_from_inclusion_proof(0, 8, leaf, [sibling, *rest, HASHES[9]])
    with pytest.raises(BadProof, match="32 bytes"):
        verify_inclusion(0, 8, leaf + sibling[:1], [sibling[1:], *rest], root_of(HASHES[:8]))
    first, (node, *others) = root_of(HASHES[:4]), consistency_proof(4, 8, over(HASHES))
    with pytest.raises(BadProof, match="32 bytes"):
        verify_consistency(4, first[:-1], 8, root_of(HASHES[:8]), [first[-1:] + node, *others])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (9, 3)])
def test_no_proof_of_what_cannot_be(index: int, size: int) -> None:
    """A leaf outside the tree, the beginning that is empty or longer."""
    with pytest.raises(ValueError, match="index"):
        inclusion_proof(index, size, over(HASHES))
    with pytest.raises(ValueError, match="old"):
        consistency_proof(0, size, over(HASHES))
    with pytest.raises(ValueError, match="old"):
        consistency_proof(size + 1, size, over(HASHES))


class Counted(MemoryLog):
    """A log of made leaves, which counts those that are read."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        super().__init__()
        self.read = 0
        self.put(leaves)

    def put(self, leaves: Sequence[bytes]) -> None:
        first = len(self._events) + 1
        self.commit(Batch(0, b"", b"", [StoredEvent(n, leaf, b"") for n, leaf in enumerate(leaves, first)]))

    def leaves(self, first: int, last: int) -> list[bytes]:
        self.read += last - first + 1
        return super().leaves(first, last)


def made(count: int) -> list[bytes]:
    return [n.to_bytes(32, "big") for n in range(count)]


SIZES = [1, 2, 255, 256, 257, 511, 512, 513, 1024, 1025, 5 * TILE + 77, 9000]


def test_proofs_of_a_stored_log_are_those_of_its_leaves() -> None:
    """At every size around whole tiles, in any order of asking, also after the log has grown."""
    leaves = made(SIZES[-1])
    log = Counted([])
    prover = Prover(log)
    for before, size in pairwise([0, *SIZES]):
        log.put(leaves[before:size])
        root = root_of(leaves[:size])
        for number in {1, 2, size // 3 + 1, size // 2 + 1, size}:
            if number <= size:
                assert prover.leaf(number) == leaves[number - 1]
                verify_inclusion(number - 1, size, leaves[number - 1], prover.inclusion(number, size), root)
                links = prover.consistency(number, size)
                verify_consistency(number, root_of(leaves[:number]), size, root, links)
    for size in SIZES:
        verify_inclusion(0, size, leaves[0], prover.inclusion(1, size), root_of(leaves[:size]))


def test_a_proof_reads_few_leaves() -> None:
    """Once the interior hashes are made, two tiles at most, however long the log is."""
    log = Counted(made(70 * TILE + 9))
    prover = Prover(log)
    prover.inclusion(1, 70 * TILE + 9)
    assert log.read <= 72 * TILE
    log.read = 0
    prover.inclusion(5000, 70 * TILE + 9)
    assert log.read <= 2 * TILE


def test_every_new_checkpoint_is_heard_once(tmp_path: Path) -> None:
    """From the one of the start to the one of the stop, in order."""
    heard: list[str] = []

    async def story() -> None:
        async with ledger_in(tmp_path, heard=heard.append, every=0.01) as ledger:
            for _ in range(3):
                await exchange(ledger)
                await ledger.checkpoint()
                await asyncio.sleep(0.03)
            await exchange(ledger)

    run(story())
    sizes = [int(note.split("\n")[1]) for note in heard]
    assert sizes == sorted(set(sizes))
    assert {0, 5, 10, 15, 20} <= set(sizes)


def test_proofs_of_a_file_hold_against_its_checkpoint(tmp_path: Path) -> None:
    """Each event of a real log, and each older size, against the root in the newest signed note."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            for _ in range(3):
                await exchange(ledger)

    run(story())
    log = SqlLog(tmp_path / "ledger.sqlite")
    newest, prover = log.newest_checkpoint(), Prover(log)
    assert newest is not None
    leaves, root = log.leaves(1, newest.size), root_of(log.leaves(1, newest.size))
    for number in range(1, newest.size + 1):
        verify_inclusion(number - 1, newest.size, leaves[number - 1], prover.inclusion(number, newest.size), root)
    with pytest.raises(LogFailed, match="usher audit verify"):
        prover.inclusion(1, newest.size + 1)
    log.close()
