"""Lineages, manifests and figures for tests."""

from __future__ import annotations

from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from usher_lora.gates import Attack, Bounds, Leakage, Measured, Scores, judge
from usher_lora.lineage import Learned, Lineage, lineage
from usher_lora.manifest import Base, FileDigest, Gate, Identity, Manifest, Peft, SignedManifest, bytes_to_sign

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
DIGEST = "ab" * 32


def document(n: int) -> UUID:
    return UUID(int=n + 1)


def learned(n: int, access_class: int = 1, version: int = 1, digest: str = DIGEST) -> Learned:
    return Learned(document(n), version, access_class, digest)


def line(*numbers: int) -> Lineage:
    return lineage(learned(n) for n in numbers)


def attack(name: str, auc: float, half: float = 0.04) -> Attack:
    return Attack(name, auc, max(0.0, auc - half), min(1.0, auc + half), 300, 300)


def leakage(auc: float, found: int) -> Leakage:
    return Leakage((attack("min_k", auc), attack("loss_ratio", auc)), 8, found)


MEASURED = Measured(leakage(0.5, 0), leakage(0.9, 8), Scores(0.8, 0.3, 0.82, 0.6, 0.61))

IDENTITY = Identity(
    name="support",
    made="0198c0de-0000-7000-8000-000000000001",
    base=Base("tiny-llama", DIGEST),
    files=(FileDigest("adapter_config.json", 400, DIGEST), FileDigest("adapter_model.safetensors", 9_000, DIGEST)),
    peft=Peft(8, 16.0, ("k_proj", "q_proj"), (("layers.0.q_proj", 4),)),
    training_set=DIGEST,
    lineage=line(1, 2).digest,
    recipe=DIGEST,
)


def gate(measured: Measured = MEASURED, adapter: str = IDENTITY.served_name, bounds: Bounds | None = None) -> Gate:
    return Gate(adapter, measured, bounds or Bounds(), judge(bounds or Bounds(), measured))


def signed(manifest: Manifest, key: Ed25519PrivateKey = KEY) -> SignedManifest:
    return SignedManifest(manifest, key.sign(bytes_to_sign(manifest)))


def with_identity(**changes: object) -> Manifest:
    return Manifest(replace(IDENTITY, **changes))
