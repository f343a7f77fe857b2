"""The tree: published vectors, and equality with the definition."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.ledger.merkle import Tree
from usher.ledger.record import leaf_hash
from usher.ledger.verify.tree import Roots

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:split]) + by_definition(leaves[split:])).digest()


def test_roots_are_those_of_the_certificate_transparency_vectors() -> None:
    """Writer's and verifier's trees give the published roots for the eight published leaves."""
    tree, roots = Tree(), Roots()
    for leaf, expected in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(leaf))
        roots.add(leaf_hash(leaf))
        assert tree.root().hex() == roots.root().hex() == expected


@given(st.lists(st.binary(max_size=8), max_size=70), st.integers(0, 70))
def test_growing_from_any_edge_equals_the_definition(leaves: list[bytes], stop: int) -> None:
    """A tree that is stored as its edge anywhere and goes on ends with the root of RFC 6962, twice computed."""
    tree, roots = Tree(), Roots()
    for leaf in leaves[:stop]:
        tree.append(leaf_hash(leaf))
    tree = Tree.from_bytes(tree.size, tree.edge_bytes())
    for leaf in leaves[stop:]:
        tree.append(leaf_hash(leaf))
    for leaf in leaves:
        roots.add(leaf_hash(leaf))
    assert tree.root() == roots.root() == by_definition(leaves)
    assert tree.edge_bytes() == roots.edge()


@pytest.mark.parametrize(("size", "edge"), [(3, b"x" * 32), (1, b"x" * 31), (0, b"x" * 32), (2, b"")])
def test_an_edge_of_another_size_is_refused(size: int, edge: bytes) -> None:
    """An edge must have one hash for each one bit of the size."""
    with pytest.raises(ValueError, match="edge"):
        Tree.from_bytes(size, edge)
