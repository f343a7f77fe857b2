"""The manifest: an adapter is named by what it is, and nobody can say otherwise of it."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace
from tests.lora.made import DIGEST, IDENTITY, KEY, MEASURED, PUBLIC, gate, signed, with_identity

from usher.ledger.content import Subject
from usher_lora.canonical import encode, folder_digest
from usher_lora.faults import AdapterFault
from usher_lora.manifest import (
    Base,
    FileDigest,
    MadeFor,
    Manifest,
    Peft,
    bytes_to_sign,
    encode_signed,
    parse,
    parse_signed,
    split_served_name,
)

OTHER = "cd" * 32
MANIFEST = Manifest(IDENTITY, gate())


def test_a_signed_manifest_reads_back() -> None:
    """The same value, by the key that signed it."""
    assert parse_signed(encode_signed(signed(MANIFEST)), PUBLIC) == MANIFEST
    assert parse(encode(Manifest(IDENTITY))) == Manifest(IDENTITY)


@pytest.mark.parametrize(
    "lie",
    [
        {"files": (IDENTITY.files[0], replace(IDENTITY.files[1], sha256=OTHER))},
        {"files": (replace(IDENTITY.files[0], size=401), IDENTITY.files[1])},
        {"base": Base("tiny-llama", OTHER)},
        {"base": Base("another", DIGEST)},
        {"training_set": OTHER},
        {"lineage": OTHER},
        {"recipe": OTHER},
        {"peft": replace(IDENTITY.peft, rank=9)},
        {"made": "0198c0de-0000-7000-8000-000000000002"},
        {"name": "sales"},
    ],
)
def test_whatever_is_changed_of_an_adapter_gives_it_another_name(lie: dict[str, object]) -> None:
    """And the gate of the first holds for no other, nor does its signature."""
    lying = with_identity(**lie)
    assert lying.identity.served_name != IDENTITY.served_name
    with pytest.raises(AdapterFault, match="of another adapter"):
        bytes_to_sign(Manifest(lying.identity, MANIFEST.gate))
    forged = encode(replace(signed(MANIFEST), manifest=lying))
    with pytest.raises(AdapterFault, match="signature"):
        parse_signed(forged, PUBLIC)


def test_a_gate_that_was_made_better_is_seen() -> None:
    """The signature is over the figures and the bounds too."""
    better = replace(MANIFEST, gate=gate(replace(MEASURED, scores=replace(MEASURED.scores, adapter=1.0))))
    with pytest.raises(AdapterFault, match="signature"):
        parse_signed(encode(replace(signed(MANIFEST), manifest=better)), PUBLIC)


def test_another_key_signs_for_nobody_here() -> None:
    """A manifest from elsewhere must be evaluated here."""
    with pytest.raises(AdapterFault, match="evaluate the adapter here"):
        parse_signed(encode_signed(signed(MANIFEST, Ed25519PrivateKey.generate())), PUBLIC)


def test_what_is_signed_is_no_checkpoint() -> None:
    """A signature over a manifest holds for nothing else that this key signs, which are notes of a log."""
    assert bytes_to_sign(MANIFEST).startswith(b"usher-adapter@v1\n{")
    KEY.public_key().verify(signed(MANIFEST).signature, bytes_to_sign(MANIFEST))


def test_a_served_name_is_no_name_of_anything_else() -> None:
    """Not a client's model, not a cache salt, and one that a command line takes as it is."""
    served = IDENTITY.served_name
    assert split_served_name(served) == ("support", IDENTITY.digest)
    salt = Subject("p1", b"k" * 32).cache_salt
    for other in ("assistant", salt, "support", f"support@{salt}", served + "\n", served.upper(), "../" + served, ""):
        assert split_served_name(other) is None
    assert not set(served) & set("=, /\\\"'")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Support"},
        {"name": "a/b"},
        {"name": "-a"},
        {"name": "a\n"},
        {"name": ""},
        {"made": "x"},
        {"files": ()},
        {"files": IDENTITY.files[::-1]},
        {"files": IDENTITY.files[:1] * 2},
        {"files": (*IDENTITY.files, FileDigest("tokenizer.json", 1, DIGEST))},
        {"files": (IDENTITY.files[0], FileDigest("../adapter_model.safetensors", 1, DIGEST))},
        {"files": (IDENTITY.files[0], FileDigest("adapter_model.safetensors", 0, DIGEST))},
        {"recipe": "ABC"},
        {"peft": Peft(0, 16.0, ("q_proj",))},
        {"peft": Peft(8, 0.0, ("q_proj",))},
        {"peft": Peft(8, float("nan"), ("q_proj",))},
        {"peft": Peft(8, float("inf"), ("q_proj",))},
        {"peft": Peft(8, 16.0, ())},
        {"peft": Peft(8, 16.0, ("q_proj", "k_proj"))},
        {"peft": Peft(8, 16.0, (".*",))},
        {"peft": Peft(8, 16.0, ("q_proj",), (("a", 4), ("a", 5)))},
        {"peft": Peft(8, 16.0, ("q_proj",), (), (("b", 4.0), ("a", 5.0)))},
    ],
)
def test_an_identity_that_is_none_is_not_signed_and_not_read(wrong: dict[str, object]) -> None:
    """Names that are paths or patterns, files of other names, ranks and scales that are no such."""
    made = with_identity(**wrong)
    with pytest.raises(AdapterFault):
        bytes_to_sign(made)
    with pytest.raises(AdapterFault):
        parse(encode(made))


@pytest.mark.parametrize("data", [b"", b"{}", b"{" * 50_000, b" " * ((1 << 20) + 1), encode(MANIFEST) + b" "])
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    """Also those that are too long, and white space that nobody wrote."""
    for read in (parse, lambda data: parse_signed(data, PUBLIC)):
        with pytest.raises(AdapterFault):
            read(data)


def test_a_base_is_known_by_all_its_files() -> None:
    """In whatever order they were found; by their names too."""
    files = {"config.json": DIGEST, "model.safetensors": OTHER}
    assert folder_digest(files) == folder_digest(dict(reversed(files.items())))
    swapped = {"config.json": OTHER, "model.safetensors": DIGEST}
    others = ({**files, "config.json": OTHER}, {"config.json": DIGEST}, swapped)
    assert folder_digest(files) not in [folder_digest(other) for other in others]


def test_an_unknown_field_is_refused() -> None:
    """Whatever a later release writes into it, this one does not know what it promises."""
    told = json.loads(encode(MANIFEST))
    told["identity"]["trusted"] = True
    with pytest.raises(AdapterFault, match="unknown field"):
        parse(json.dumps(told, separators=(",", ":")).encode())


def test_one_from_before_keeps_its_name() -> None:
    """What it was made for is not said of it, and no byte stands for that."""
    assert b"made_for" not in encode(IDENTITY)
    asked = MadeFor("role:desk", ("coll:news",), ("structure",), 1)
    later = with_identity(made_for=asked)
    assert parse(encode(later)).identity.made_for == asked
    assert later.identity.digest != IDENTITY.digest
    with pytest.raises(AdapterFault, match="canonical"):
        parse(encode(MANIFEST).replace(b'"recipe":', b'"made_for":null,"recipe":'))
