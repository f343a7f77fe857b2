"""Questions and answers, sealed: one key for each person, one derived from it for each conversation."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from usher.ledger.record import ContentRow, Kind, content_aad, conversation_info, is_dropped, label_aad
from usher.ledger.sealing import KEY_BYTES, NONCE_BYTES, SealBroken, seal, seal_with, unseal, unseal_with


class Dropped(SealBroken):
    """The text is no longer kept; an event of the log says when it went, and under which rule."""

    def __init__(self) -> None:
        super().__init__("content: it is no longer kept")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Seals and opens what one person said and was answered in one conversation."""

    pseudonym: str
    id: str
    key: bytes = field(repr=False)

    def seal(self, audit_id: str, position: int, kind: Kind, text: str) -> ContentRow:
        """A content row. Its commitment is `HMAC-SHA-256(random key, text)` with the key inside the ciphertext, so
        that it binds the text, tells nothing about it, and dies with the conversation's key."""
        drawn, plaintext = os.urandom(KEY_BYTES + NONCE_BYTES), text.encode()
        blind, nonce = drawn[:KEY_BYTES], drawn[KEY_BYTES:]
        aad = content_aad(audit_id, position, kind, self.id)
        sealed = seal_with(AESGCM(self.key), nonce, blind + plaintext, aad)
        # Not `hmac.digest`, which lets another thread in: two that wait for each other cost more than the sum itself.
        commitment = hmac.new(blind, plaintext, hashlib.sha256).digest()
        return ContentRow(audit_id, position, kind, self.id, self.pseudonym, commitment, sealed)

    def open(self, row: ContentRow) -> str:
        """The text of a row. Raises `Dropped` where it is no longer kept, else `SealBroken`, also for a row of another
        conversation, place or commitment."""
        return self.open_all([row])[0]

    def open_all(self, rows: Iterable[ContentRow]) -> list[str]:
        """The text of each. Raises as `open`."""
        cipher = AESGCM(self.key)
        return [_opened(cipher, row) for row in rows]

    def seal_label(self, name: str, text: str) -> bytes:
        """A text about the conversation, such as its title, to be kept elsewhere under this `name`."""
        return seal(self.key, text.encode(), label_aad(self.id, name))

    def open_label(self, name: str, sealed: bytes) -> str:
        """Raises `SealBroken`, also for a label of another name or conversation."""
        return unseal(self.key, sealed, label_aad(self.id, name)).decode()


def _opened(cipher: AESGCM, row: ContentRow) -> str:
    if is_dropped(row.ciphertext):
        raise Dropped
    opened = unseal_with(cipher, row.ciphertext, content_aad(row.audit_id, row.position, row.kind, row.conversation))
    blind, plaintext = opened[:KEY_BYTES], opened[KEY_BYTES:]
    if not hmac.compare_digest(hmac.digest(blind, plaintext, hashlib.sha256), row.commitment):
        raise SealBroken("content: its commitment is of another text")
    return plaintext.decode()


@dataclass(frozen=True, slots=True)
class Subject:
    """A person as the ledger knows them: a random pseudonym and a random key."""

    pseudonym: str
    key: bytes = field(repr=False)

    @property
    def cache_salt(self) -> str:
        """What a model server's prefix cache is parted by: equal for the person's own requests, for nobody else's.
        Hex of `HMAC-SHA-256(subject key, "usher cache salt")`, so that it tells nothing and dies with the key."""
        return hmac.digest(self.key, b"usher cache salt", hashlib.sha256).hex()

    def digest(self, text: str) -> bytes:
        """What finds a text again among the person's own, and tells nothing of it to whoever has not their key:
        `HMAC-SHA-256(subject key, "usher digest " || text)`."""
        return hmac.digest(self.key, b"usher digest " + text.encode(), hashlib.sha256)

    def conversation(self, id: str) -> Conversation:
        """The conversation with its key, `HKDF-SHA-256(subject key, info = conversation id)`."""
        derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=conversation_info(id))
        return Conversation(self.pseudonym, id, derive.derive(self.key))
