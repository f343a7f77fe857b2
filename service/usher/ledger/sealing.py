"""Authenticated encryption of one value under one key: AES-256-GCM with a random nonce."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class SealBroken(Exception):
    """A sealed value does not open: another key, another place, or changed bytes."""


class RingUnusable(Exception):
    """The key ring cannot be read or written; the message says why and the remedy, and quotes no key."""


def seal(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """`nonce || ciphertext || tag`; opens only with the same key and `aad`."""
    return seal_with(AESGCM(key), os.urandom(NONCE_BYTES), plaintext, aad)


def seal_with(cipher: AESGCM, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """`seal` for whoever has drawn the nonce, at random and for this value alone, with other random bytes."""
    return nonce + cipher.encrypt(nonce, plaintext, aad)


def unseal(key: bytes, blob: bytes, aad: bytes) -> bytes:
    """The inverse of `seal`. Raises `SealBroken`."""
    return unseal_with(AESGCM(key), blob, aad)


def unseal_with(cipher: AESGCM, blob: bytes, aad: bytes) -> bytes:
    """`unseal` for whoever opens many values under one key."""
    try:
        return cipher.decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], aad)
    except (InvalidTag, ValueError):
        raise SealBroken("sealed value: it does not open with this key in this place") from None
