"""Proofs that are known to have fooled verifiers: each kind, made from each published proof, is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.ledger.test_ledger_merkle import LEAVES, ROOTS
from tests.ledger.test_ledger_proofs import CONSISTENCY, INCLUSION, nodes

from usher.ledger.checkpoint import Checkpoint, sign
from usher.ledger.proofs import consistency_text, tlog_proof
from usher.ledger.record import leaf_hash
from usher.ledger.verify.proof import BadProof, verify_consistency, verify_inclusion
from usher.ledger.verify.tlog_proof import check_consistency, check_tlog_proof

EMPTY_ROOT = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
GARBAGE = b"\x2a" * 32


@dataclass(frozen=True)
class In:
    index: int
    size: int
    leaf: bytes
    proof: list[bytes]
    root: bytes

    def check(self) -> None:
        verify_inclusion(self.index, self.size, self.leaf, self.proof, self.root)


@dataclass(frozen=True)
class Con:
    size1: int
    root1: bytes
    size2: int
    root2: bytes
    proof: list[bytes]

    def check(self) -> None:
        verify_consistency(self.size1, self.root1, self.size2, self.root2, self.proof)


def included() -> Iterator[In]:
    for index, size, path in INCLUSION:
        yield In(index, size, leaf_hash(LEAVES[index]), nodes(path), bytes.fromhex(ROOTS[size - 1]))


def consistent() -> Iterator[Con]:
    for old, new, path in CONSISTENCY:
        yield Con(old, bytes.fromhex(ROOTS[old - 1]), new, bytes.fromhex(ROOTS[new - 1]), nodes(path))


def bits(proof: list[bytes]) -> Iterator[list[bytes]]:
    for at, node in enumerate(proof):
        yield [*proof[:at], bytes([node[0] ^ 0x10, *node[1:]]), *proof[at + 1 :]]


MALFORMED_INCLUSION: dict[str, Callable[[In], list[In]]] = {
    "index + 1": lambda p: [replace(p, index=p.index + 1)],
    "index - 1": lambda p: [replace(p, index=p.index - 1)],
    "index ^ 2": lambda p: [replace(p, index=p.index ^ 2)],
    "index = size": lambda p: [replace(p, index=p.size)],
    "index beyond 64 bits": lambda p: [replace(p, index=2**64 + p.index)],
    "size * 2": lambda p: [replace(p, size=p.size * 2)],
    "size / 2": lambda p: [replace(p, size=p.size // 2)],
    "size 0": lambda p: [replace(p, size=0), replace(p, size=0, index=0, proof=[], root=EMPTY_ROOT)],
    "size below 0": lambda p: [replace(p, size=-p.size)],
    "wrong leaf": lambda p: [replace(p, leaf=GARBAGE), replace(p, leaf=b""), replace(p, leaf=p.leaf[:-1])],
    "wrong root": lambda p: [replace(p, root=GARBAGE), replace(p, root=b""), replace(p, root=EMPTY_ROOT)],
    "root as leaf": lambda p: [replace(p, leaf=p.root)] if p.proof else [],
    "modified bit": lambda p: [replace(p, proof=proof) for proof in bits(p.proof)],
    "removed component": lambda p: [replace(p, proof=p.proof[:at] + p.proof[at + 1 :]) for at in range(len(p.proof))],
    "empty proof": lambda p: [replace(p, proof=[])] if p.proof else [],
    "inserted component": lambda p: [
        replace(p, proof=[*p.proof[:at], GARBAGE, *p.proof[at:]]) for at in range(len(p.proof) + 1)
    ],
    "preceding or trailing root": lambda p: [
        replace(p, proof=[p.root, *p.proof]),
        replace(p, proof=[*p.proof, p.root]),
    ],
    "preceding or trailing leaf": lambda p: [
        replace(p, proof=[p.leaf, *p.proof]),
        replace(p, proof=[*p.proof, p.leaf]),
    ],
    "empty hashes": lambda p: [
        replace(p, proof=proof) for proof in ([b"", *p.proof], [*p.proof, b""], [b""] * len(p.proof) or [b""])
    ],
    "hashes of wrong length": lambda p: [
        replace(p, proof=[*p.proof[:-1], node]) for last in p.proof[-1:] for node in (last[:-1], last + b"\0", last * 2)
    ],
    "reversed": lambda p: [replace(p, proof=p.proof[::-1])] if len(p.proof) > 1 else [],
}
MALFORMED_CONSISTENCY: dict[str, Callable[[Con], list[Con]]] = {
    "size1 + 1": lambda p: [replace(p, size1=p.size1 + 1)],
    "size1 - 1": lambda p: [replace(p, size1=p.size1 - 1)],
    "size1 ^ 2": lambda p: [replace(p, size1=p.size1 ^ 2)],
    "size2 * 2": lambda p: [replace(p, size2=p.size2 * 2)],
    "size2 / 2": lambda p: [replace(p, size2=p.size2 // 2)],
    "size1 0": lambda p: [replace(p, size1=0), replace(p, size1=0, root1=EMPTY_ROOT), replace(p, size1=0, proof=[])],
    "sizes 0": lambda p: [Con(0, EMPTY_ROOT, 0, EMPTY_ROOT, []), Con(0, EMPTY_ROOT, 0, EMPTY_ROOT, [GARBAGE])],
    "sizes below 0": lambda p: [replace(p, size1=-p.size1), replace(p, size1=-p.size1, size2=-p.size2)],
    "size1 > size2": lambda p: [replace(p, size1=p.size2 + 1)],
    "equal sizes, other roots": lambda p: [replace(p, size1=p.size2, root1=GARBAGE, proof=[])],
    "equal sizes, a proof": lambda p: [replace(p, size1=p.size2, root1=p.root2, proof=[GARBAGE])],
    "swapped roots": lambda p: [replace(p, root1=p.root2, root2=p.root1)] if p.root1 != p.root2 else [],
    "swapped": lambda p: [Con(p.size2, p.root2, p.size1, p.root1, p.proof)] if p.size1 != p.size2 else [],
    "wrong root1": lambda p: [replace(p, root1=root) for root in (GARBAGE, EMPTY_ROOT, b"", p.root1[:-1])],
    "wrong root2": lambda p: [replace(p, root2=root) for root in (GARBAGE, EMPTY_ROOT, b"", p.root2[:-1])],
    "empty proof": lambda p: [replace(p, proof=[])] if p.proof else [],
    "truncated": lambda p: [replace(p, proof=p.proof[:-1])] if p.proof else [],
    "modified bit": lambda p: [replace(p, proof=proof) for proof in bits(p.proof)],
    "preceding": lambda p: [replace(p, proof=[node, *p.proof]) for node in (GARBAGE, p.root1, p.root2, b"")],
    "trailing": lambda p: [replace(p, proof=[*p.proof, node]) for node in (GARBAGE, p.root1, p.root2, b"")],
    "preceding proof[0]": lambda p: [replace(p, proof=[p.proof[0], *p.proof])] if p.proof else [],
    "hashes of wrong length": lambda p: [
        replace(p, proof=[*p.proof[:-1], node]) for last in p.proof[-1:] for node in (b"", last[:-1], last + b"\0")
    ],
}


@pytest.mark.parametrize("kind", MALFORMED_INCLUSION)
def test_malformed_inclusion_proofs_are_refused(kind: str) -> None:
    """Of every published one, by that one lie."""
    made = [bad for good in included() for bad in MALFORMED_INCLUSION[kind](good) if bad != good]
    assert made
    for bad in made:
        with pytest.raises(BadProof):
            bad.check()


@pytest.mark.parametrize("kind", MALFORMED_CONSISTENCY)
def test_malformed_consistency_proofs_are_refused(kind: str) -> None:
    """Of every published one, by that one lie."""
    made = [bad for good in consistent() for bad in MALFORMED_CONSISTENCY[kind](good) if bad != good]
    assert made
    for bad in made:
        with pytest.raises(BadProof):
            bad.check()


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
ORIGIN = "usher/log"


def note(size: int) -> str:
    return sign(Checkpoint(ORIGIN, size, bytes.fromhex(ROOTS[size - 1])), KEY)


def bent(text: str) -> Iterator[str]:
    """The text with one line left out, doubled (a note may be signed twice) or changed, with other line ends, and with
    something around it."""
    lines = text.split("\n")
    for at, line in enumerate(lines[:-1]):
        twice = [] if line.startswith("\u2014") else [[line, line]]
        for other in ([], *twice, [line + " "], [" " + line], [line[:-1]], [line + "\r"], [line + "A"]):
            if other != [line]:
                yield "\n".join([*lines[:at], *other, *lines[at + 1 :]])
    yield from ("", "\n" + text, text + "\n", text + "x", "\ufeff" + text, text.replace("\n", "\r\n"), text[:-1])


def test_a_proof_as_a_text_has_one_form() -> None:
    """Published proofs are read as texts; nothing that is a little otherwise is."""
    for good in included():
        text = tlog_proof(good.index, good.leaf, good.proof, note(good.size))
        assert check_tlog_proof(text, key=PUBLIC).number == good.index + 1
        for other in bent(text):
            with pytest.raises(BadProof):
                check_tlog_proof(other, key=PUBLIC)


def test_a_consistency_proof_as_a_text_has_one_form() -> None:
    """The same between two checkpoints."""
    for good in consistent():
        text, held = consistency_text(good.size1, good.proof, note(good.size2)), note(good.size1)
        assert check_consistency(text, held, PUBLIC).size == good.size2
        for other in bent(text):
            with pytest.raises(BadProof):
                check_consistency(other, held, PUBLIC)
        for other in bent(held):
            with pytest.raises(BadProof):
                check_consistency(text, other, PUBLIC)
