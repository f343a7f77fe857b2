"""Checkpoints: a tree's size and root as a signed note (C2SP `tlog-checkpoint` over `signed-note`, Ed25519)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from usher.ledger.merkle import HASH_BYTES

_ED25519 = b"\x01"
_DASH = "\u2014 "


class BadCheckpoint(Exception):
    """A note is malformed, of another log, or not signed by the expected key; the message says which."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says: which log, how many events, and the root over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The signed part: three lines, each ended by a newline."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


def key_id(name: str, public_key: bytes) -> bytes:
    """The four bytes that name a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def verifier_key(name: str, public_key: bytes) -> str:
    """The key in the text form that signed-note tools take: `name+id+base64`."""
    encoded = base64.b64encode(_ED25519 + public_key).decode("ascii")
    return f"{name}+{key_id(name, public_key).hex()}+{encoded}"


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note; the key's name is the log's origin."""
    text = checkpoint.text()
    ident = key_id(checkpoint.origin, key.public_key().public_bytes_raw())
    signature = base64.b64encode(ident + key.sign(text.encode())).decode("ascii")
    return f"{text}\n{_DASH}{checkpoint.origin} {signature}\n"


def open_note(note: str, origin: str, public_key: bytes) -> Checkpoint:
    """The checkpoint of a note whose signature by `public_key` holds; lines of other keys are passed over.

    Raises `BadCheckpoint`.
    """
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise BadCheckpoint("checkpoint: not a signed note")
    text += "\n"
    checkpoint = _parse(text)
    if checkpoint.origin != origin:
        raise BadCheckpoint("checkpoint: it is of another log")
    wanted = key_id(origin, public_key)
    for line in signatures.splitlines():
        signature = _signature(line, origin)
        if signature is not None and signature[:4] == wanted:
            return _verified(checkpoint, text, signature[4:], public_key)
    raise BadCheckpoint("checkpoint: no signature by this log's key")


def _parse(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not lines[1].isascii() or not lines[1].isdecimal():
        raise BadCheckpoint("checkpoint: needs an origin, a size and a root")
    if lines[1] != "0" and lines[1].startswith("0"):
        raise BadCheckpoint("checkpoint: its size has a leading zero")
    root = _unbase64(lines[2])
    if root is None or len(root) != HASH_BYTES:
        raise BadCheckpoint("checkpoint: its root is not 32 bytes in base64")
    return Checkpoint(lines[0], int(lines[1]), root)


def _signature(line: str, name: str) -> bytes | None:
    prefix = f"{_DASH}{name} "
    return _unbase64(line.removeprefix(prefix)) if line.startswith(prefix) else None


def _unbase64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _verified(checkpoint: Checkpoint, text: str, signature: bytes, public_key: bytes) -> Checkpoint:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text.encode())
    except InvalidSignature:
        raise BadCheckpoint("checkpoint: its signature does not hold") from None
    return checkpoint
