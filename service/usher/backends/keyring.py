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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from usher.backends.keyring_file import KeyRingError, read_private, replace, write_new
from usher.ledger.sealing import KEY_BYTES, SealBroken, seal, unseal

__all__ = ["KeyRing", "KeyRingError", "SealBroken", "parse_master_key", "seal", "unseal"]

_VERSION = 1
_ID_BYTES = 8
_MASTER_AAD = b"usher key ring"


@dataclass(slots=True, eq=False)
class KeyRing:
    """The keys in memory. `wrap` uses the current wrapping key; `unwrap` whichever wrapped the blob.

    One object serves a process: a new wrapping key is current for all that hold it, from any thread.
    """

    path: Path
    wrapping: dict[str, bytes] = field(repr=False)
    current: str
    signing_key: Ed25519PrivateKey = field(repr=False)
    lookup_key: bytes = field(repr=False)
    _tail: hmac.HMAC = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = hmac.digest(self.lookup_key, b"\xffusher ledger tail", hashlib.sha256)
        self._tail = hmac.new(key, digestmod="sha256")  # begun once: it is on the path of each event in PostgreSQL

    @classmethod
    def create(cls, path: Path, master_key: bytes | None = None) -> KeyRing:
        """Make a ring of new keys, durably. Raises `KeyRingError` when the file exists or cannot be written."""
        ident = os.urandom(_ID_BYTES).hex()
        keys = {ident: os.urandom(KEY_BYTES)}
        ring = cls(path, keys, ident, Ed25519PrivateKey.generate(), os.urandom(KEY_BYTES))
        write_new(path, ring._encoded(master_key))
        return ring

    @classmethod
    def open(cls, path: Path, master_key: bytes | None = None) -> KeyRing:
        """Read a ring. Raises `KeyRingError`: absent, readable by others, of a newer version, wrong master key."""
        document = _document(path, read_private(path), master_key)
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
        current = self.current  # another thread may make another one current meanwhile
        ident = bytes.fromhex(current)
        return ident + seal(self.wrapping[current], key, ident + aad)

    def unwrap(self, blob: bytes, aad: bytes) -> bytes:
        """The inverse of `wrap`. Raises `SealBroken`, also when the wrapping key was destroyed."""
        if not isinstance(blob, bytes):  # SQLite keeps what it was given, whatever the column is for
            raise SealBroken("wrapped key: it is no key")
        ident = blob[:_ID_BYTES]
        wrapping = self.wrapping.get(ident.hex())
        if wrapping is None:
            raise SealBroken("wrapped key: its wrapping key is not in the key ring")
        return unseal(wrapping, blob[_ID_BYTES:], ident + aad)

    def is_current(self, blob: bytes) -> bool:
        """Whether the current wrapping key wrapped it."""
        return blob[:_ID_BYTES].hex() == self.current

    @property
    def retired(self) -> int:
        """How many wrapping keys there are beside the current one."""
        return len(self.wrapping) - 1

    def renew(self, master_key: bytes | None = None) -> None:
        """Make a new wrapping key the current one, durably; those before stay, so that all opens that opened before.
        Raises `KeyRingError`: nothing has changed, or the file alone, which is read at the next start."""
        ident = os.urandom(_ID_BYTES).hex()
        self._store({**self.wrapping, ident: os.urandom(KEY_BYTES)}, ident, master_key)

    def destroy_retired(self, master_key: bytes | None = None) -> None:
        """Keep the current wrapping key only, durably: what another one wrapped opens nowhere any more, unless a copy
        of the ring was kept. Raises as `renew`."""
        self._store({self.current: self.wrapping[self.current]}, self.current, master_key)

    def _store(self, wrapping: dict[str, bytes], current: str, master_key: bytes | None) -> None:
        """First in the file, then here. The file must still be the one that was read."""
        stored = KeyRing.open(self.path, master_key)
        if (stored.wrapping, stored.current, stored.lookup_key) != (self.wrapping, self.current, self.lookup_key):
            raise KeyRingError(f"key ring {self.path}: it was changed while it is in use; restart with the right one")
        stored.wrapping, stored.current = wrapping, current
        replace(self.path, stored._encoded(master_key))
        self.wrapping, self.current = (wrapping, current)

    def lookup(self, name: str) -> bytes:
        """The keyed hash (HMAC-SHA-256) by which a name is found without being stored."""
        return hmac.digest(self.lookup_key, name.encode(), hashlib.sha256)

    def tail_mac(self, text: bytes) -> bytes:
        """The MAC (HMAC-SHA-256) that says that a log's end was committed with this ring. Its key is derived from the
        look-up key, by a label that no name is equal to (it is not UTF-8)."""
        mac = self._tail.copy()
        mac.update(text)
        return mac.digest()

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


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("not a key of 32 bytes")
    return key
