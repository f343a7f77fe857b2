"""An adapter's manifest: what it is, byte by byte, what the gate said of it, and a signature over both.

An adapter is named by what it is. The name holds the digest of its identity, so nothing else can ever have it, and a
manifest that lies about a file, the training set or the base is a manifest of another name.
"""

from __future__ import annotations

import re
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct

from usher_lora.canonical import Digest, decode, encode, in_order, sha256
from usher_lora.faults import AdapterFault
from usher_lora.gates import Bounds, Measured, Verdict

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
SERVED_FILES = (CONFIG, WEIGHTS)
"""What an adapter's folder holds for the model server: no more, and no less."""

MOST_BYTES = 1 << 20
"""Of a manifest."""

_SIGNED_AS = b"usher-adapter@v1\n"
"""Before the bytes that are signed: no checkpoint and no export begins like that."""

_SERVED_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?)@sha256:([0-9a-f]{64})")

Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z")]
Module = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\Z", max_length=200)]
Rank = Annotated[int, Meta(ge=1, le=4096)]
Alpha = Annotated[float, Meta(gt=0, le=1e6)]
Asked = Annotated[str, Meta(min_length=1, max_length=300)]


class Base(Struct, frozen=True, forbid_unknown_fields=True):
    """The model that the adapter was trained for: its id, and the digest over its files."""

    model: Annotated[str, Meta(min_length=1, max_length=300)]
    digest: Digest


class FileDigest(Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """One file of the adapter's folder; `size` in bytes."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9_]+(\.[a-z0-9]+)+\Z")]
    size: Annotated[int, Meta(ge=1)]
    sha256: Digest


class Peft(Struct, frozen=True, forbid_unknown_fields=True):
    """How the adapter changes the base. The patterns have (module, value) pairs and, like the modules, are sorted."""

    rank: Rank
    alpha: Alpha
    target_modules: tuple[Module, ...]
    rank_pattern: tuple[tuple[Module, Rank], ...] = ()
    alpha_pattern: tuple[tuple[Module, Alpha], ...] = ()
    rslora: bool = False

    @property
    def highest_rank(self) -> int:
        return max([self.rank, *(rank for _, rank in self.rank_pattern)])


class MadeFor(Struct, frozen=True, forbid_unknown_fields=True):
    """What a data set was asked for: whose, of which collections, by which makers, split by which seed. Asked for
    again, it is made of what there is then."""

    role: Asked
    collections: tuple[Asked, ...]
    makers: tuple[Asked, ...]
    seed: Annotated[int, Meta(ge=0)]


class Identity(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an adapter is. `name` is the one that policy knows (`adapter:<name>`); `made` an id of its making, so that
    the same training done again is another adapter. The three digests are of the training set's manifest, of the
    lineage and of the recipe; `made_for` is what the training set says of itself, if it does."""

    name: Name
    made: Annotated[str, Meta(pattern=r"^[0-9a-f-]{8,64}\Z")]
    base: Base
    files: tuple[FileDigest, ...]
    peft: Peft
    training_set: Digest
    lineage: Digest
    recipe: Digest
    made_for: MadeFor | None = None

    @property
    def digest(self) -> str:
        return sha256(encode(self))

    @property
    def served_name(self) -> str:
        """The name that the model server knows it by: `<name>@sha256:<64 hex>`, immutable and never used again."""
        return f"{self.name}@sha256:{self.digest}"

    @property
    def policy_object(self) -> str:
        """What rules on it are written about."""
        return f"adapter:{self.name}"


class Gate(Struct, frozen=True, forbid_unknown_fields=True):
    """What the gate found of the adapter of this served name, by which bounds, and its verdict then."""

    adapter: str
    measured: Measured
    bounds: Bounds
    verdict: Verdict


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """`gate` is None until it was evaluated; it is no part of the identity."""

    identity: Identity
    gate: Gate | None = None


class SignedManifest(Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest as it is kept: with an Ed25519 signature over `bytes_to_sign`."""

    manifest: Manifest
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


def split_served_name(name: str) -> tuple[str, str] | None:
    """The policy's name and the digest in a served name; None for any other name."""
    found = _SERVED_NAME.fullmatch(name)
    return None if found is None else (found[1], found[3])


def bytes_to_sign(manifest: Manifest) -> bytes:
    """What the signature is over. Raises `AdapterFault` for a manifest that could not be read again."""
    data = encode(manifest)
    parse(data)
    return _SIGNED_AS + data


def encode_signed(signed: SignedManifest) -> bytes:
    data = encode(signed)
    decode(data, SignedManifest, "manifest")
    return data


def parse_signed(data: bytes, public_key: bytes) -> Manifest:
    """The manifest in these bytes, signed by the owner of `public_key` (Ed25519, 32 bytes). Raises `AdapterFault`."""
    if len(data) > MOST_BYTES:
        raise AdapterFault("manifest", "is too long", f"a manifest has at most {MOST_BYTES} bytes")
    signed = decode(data, SignedManifest, "manifest")
    _check(signed.manifest)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signed.signature, bytes_to_sign(signed.manifest))
    except InvalidSignature:
        remedy = "evaluate the adapter here, so that this server signs what it found"
        raise AdapterFault("manifest.signature", "does not hold for this server's key", remedy) from None
    return signed.manifest


def parse(data: bytes) -> Manifest:
    """The manifest in these bytes, which carry no signature. Raises `AdapterFault`."""
    if len(data) > MOST_BYTES:
        raise AdapterFault("manifest", "is too long", f"a manifest has at most {MOST_BYTES} bytes")
    manifest = decode(data, Manifest, "manifest")
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    identity, peft = manifest.identity, manifest.identity.peft
    if tuple(sorted(file.name for file in identity.files)) != SERVED_FILES:
        raise AdapterFault("manifest.files", "are not those of an adapter", "name " + " and ".join(SERVED_FILES))
    in_order("manifest.files", identity.files)
    if not peft.target_modules:
        raise AdapterFault("manifest.peft.target_modules", "is empty", "name the modules that the adapter changes")
    in_order("manifest.peft.target_modules", peft.target_modules)
    in_order("manifest.peft.rank_pattern", [module for module, _ in peft.rank_pattern])
    in_order("manifest.peft.alpha_pattern", [module for module, _ in peft.alpha_pattern])
    if manifest.gate is not None and manifest.gate.adapter != identity.served_name:
        raise AdapterFault("manifest.gate", "is that of another adapter", "evaluate this one")
