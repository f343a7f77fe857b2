"""The key ring: the keys that must not lie beside the data, in one file of mode 0600 outside the data folder.

It holds the wrapping keys (one of them current), the key that signs checkpoints and the key of name look-ups. With a
master key the file itself is sealed by it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from usher.ledger.sealing import KEY_BYTES, SealBroken, seal, unseal

__all__ = ["KeyRing", "KeyRingError", "SealBroken", "parse_master_key", "seal", "unseal"]

_VERSION = 1
_ID_BYTES = 8
_MASTER_AAD = b"usher key ring"


class KeyRingError(Exception):
    """The key ring cannot be used; the message says why and the remedy, and quotes no key."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys in memory. `wrap` uses the current wrapping key; `unwrap` whichever wrapped the blob."""

    path: Path
    wrapping: dict[str, bytes] = field(repr=False)
    current: str
    signing_key: Ed25519PrivateKey = field(repr=False)
    lookup_key: bytes = field(repr=False)

    @classmethod
    def create(cls, path: Path, master_key: bytes | None = None) -> KeyRing:
        """Make a ring of new keys, durably. Raises `KeyRingError` when the file exists or cannot be written."""
        ident = os.urandom(_ID_BYTES).hex()
        keys = {ident: os.urandom(KEY_BYTES)}
        ring = cls(path, keys, ident, Ed25519PrivateKey.generate(), os.urandom(KEY_BYTES))
        _write_new(path, ring._encoded(master_key))
        return ring

    @classmethod
    def open(cls, path: Path, master_key: bytes | None = None) -> KeyRing:
        """Read a ring. Raises `KeyRingError`: absent, readable by others, of a newer version, wrong master key."""
        document = _document(path, _read_private(path), master_key)
        try:
            if document["version"] != _VERSION:
                raise KeyRingError(f"key ring {path}: it is of version {document['version']}; use a newer Usher")
            wrapping = {ident: _key(text) for ident, text in document["wrapping"].items()}
            signing = Ed25519PrivateKey.from_private_bytes(_key(document["signing"]))
            wrapping[document["current"]]
            return cls(path, wrapping, document["current"], signing, _key(document["lookup"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise KeyRingError(f"key ring {path}: it is damaged; restore it from your key backup") from error

    def wrap(self, key: bytes, aad: bytes) -> bytes:
        """`key` sealed by the current wrapping key, whose id leads the blob; opens only with the same `aad`."""
        ident = bytes.fromhex(self.current)
        return ident + seal(self.wrapping[self.current], key, ident + aad)

    def unwrap(self, blob: bytes, aad: bytes) -> bytes:
        """The inverse of `wrap`. Raises `SealBroken`, also when the wrapping key was destroyed."""
        ident = blob[:_ID_BYTES]
        wrapping = self.wrapping.get(ident.hex())
        if wrapping is None:
            raise SealBroken("wrapped key: its wrapping key is not in the key ring")
        return unseal(wrapping, blob[_ID_BYTES:], ident + aad)

    def lookup(self, name: str) -> bytes:
        """The keyed hash (HMAC-SHA-256) by which a name is found without being stored."""
        return hmac.digest(self.lookup_key, name.encode(), hashlib.sha256)

    def tail_mac(self, text: bytes) -> bytes:
        """The MAC (HMAC-SHA-256) that says that a log's end was committed with this ring. Its key is derived from the
        look-up key, by a label that no name is equal to (it is not UTF-8)."""
        key = hmac.digest(self.lookup_key, b"\xffusher ledger tail", hashlib.sha256)
        return hmac.digest(key, text, hashlib.sha256)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes with which checkpoints are verified."""
        return self.signing_key.public_key().public_bytes_raw()

    def _encoded(self, master_key: bytes | None) -> bytes:
        document = {
            "version": _VERSION,
            "current": self.current,
            "wrapping": {ident: _text(key) for ident, key in self.wrapping.items()},
            "signing": _text(self.signing_key.private_bytes_raw()),
            "lookup": _text(self.lookup_key),
        }
        if master_key is not None:
            sealed = seal(master_key, json.dumps(document).encode(), _MASTER_AAD)
            document = {"version": _VERSION, "sealed": _text(sealed)}
        return json.dumps(document, indent=1).encode() + b"\n"


def parse_master_key(text: str) -> bytes:
    """32 bytes given as 64 hexadecimal digits or as base64. Raises `KeyRingError`."""
    text = text.strip()
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == KEY_BYTES:
            return key
    raise KeyRingError("master key: it must be 32 bytes in hex or base64; make one with `openssl rand -hex 32`")


def _document(path: Path, data: bytes, master_key: bytes | None) -> dict[str, Any]:
    """The ring's JSON object, opened with the master key where it is sealed."""
    try:
        document: dict[str, Any] = dict(json.loads(data))
        sealed = document.get("sealed")
        if sealed is None and master_key is None:
            return document
        if sealed is None:
            raise KeyRingError(f"key ring {path}: a master key is given, but the ring is not sealed; unset it")
        if master_key is None:
            raise KeyRingError(f"key ring {path}: it is sealed; set USHER_MASTER_KEY or USHER_MASTER_KEY_COMMAND")
        return dict(json.loads(unseal(master_key, base64.b64decode(sealed), _MASTER_AAD)))
    except SealBroken:
        raise KeyRingError(f"key ring {path}: the master key does not open it; give the one it was made with") from None
    except (ValueError, TypeError) as error:
        raise KeyRingError(f"key ring {path}: it is damaged; restore it from your key backup") from error


def _read_private(path: Path) -> bytes:
    """The file's bytes, if nobody but its owner may read or write them."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyRingError(f"key ring {path}: others may read it (mode {mode:04o}); run `chmod 600 {path}`")
            return file.read()
    except FileNotFoundError:
        raise KeyRingError(f"key ring {path}: it is missing; put it back, or set USHER_KEYRING to its place") from None
    except OSError as error:
        raise KeyRingError(f"key ring {path}: it cannot be read ({error.strerror}); check its owner") from None


def _write_new(path: Path, data: bytes) -> None:
    """Make the file whole, durable and private, or not at all; never replace one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # unlike a rename, fails where a ring exists
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        raise KeyRingError(f"key ring {path}: it exists already; move it away to make another") from None
    except OSError as error:
        raise KeyRingError(f"key ring {path}: it cannot be written ({error.strerror}); check its folder") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("not a key of 32 bytes")
    return key
