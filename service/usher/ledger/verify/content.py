"""Content rows against the answers that commit to them, and, with a key ring, against their plaintext."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from usher.ledger.record import (
    ContentRow,
    Kind,
    content_aad,
    conversation_info,
    is_dropped,
    row_digest,
    subject_key_aad,
    subject_name_aad,
)
from usher.ledger.verify.findings import Findings
from usher.ledger.verify.source import Source

MAX_REMEMBERED = 4096
"""Chats of which it is remembered whether they are recorded."""
_WITHOUT_KEY = "SELECT pseudonym FROM subjects WHERE length(wrapped_key) = 0"


class Ring(Protocol):
    """The part of a key ring that opens content and vouches for the log's end."""

    @property
    def public_key(self) -> bytes: ...

    def unwrap(self, blob: bytes, aad: bytes) -> bytes: ...

    def lookup(self, name: str) -> bytes: ...

    def tail_mac(self, text: bytes) -> bytes: ...


class ContentCheck:
    """Reads content rows exchange by exchange, as their answers come."""

    def __init__(self, source: Source, findings: Findings, ring: Ring | None) -> None:
        self._source, self._findings, self._ring = source, findings, ring
        self._committed = 0
        self._keys: dict[str, bytes | None] = {}
        self._keyless: set[str] = set()
        self._unexplained: dict[str, int] = {}
        self._erased: dict[str, int] = {}
        """Whom an event erased, by pseudonym, and its number."""
        self.recorded = lru_cache(MAX_REMEMBERED)(self._recorded)  # a conversation names the same ones again and again

    def state(self) -> dict[str, Any]:
        """Where the check stands, as JSON values, for `restore`."""
        return {"committed": self._committed, "unexplained": dict(self._unexplained), "erased": dict(self._erased)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._committed, self._unexplained = int(state["committed"]), dict(state["unexplained"])
        self._erased = dict(state["erased"])

    @property
    def erased(self) -> int:
        """How many people were erased: what they said opens no more, and only its commitments are checked."""
        return len(self._erased)

    def rows_of(self, audit_id: str, number: int) -> tuple[int, str, bool]:
        """Count and digest of the rows of an exchange, and whether a question is the first; those that do not open
        are noted at event `number`."""
        digest, count, asked = hashlib.sha256(), 0, False
        for row in self._source.content(audit_id):
            if row.audit_id != audit_id or row.position != count or not _well_typed(row):
                self._findings.suspect(f"its content row {row.position} is out of place or damaged", number)
                continue
            asked = asked or (count == 0 and row.kind == Kind.QUESTION)
            digest.update(row_digest(row))
            count += 1
            if is_dropped(row.ciphertext):
                self._unexplained[audit_id] = number
            elif self._ring is not None and not self._opens(row):
                self._findings.suspect(f"its content row {row.position} is not what was committed to", number)
        self._committed += count
        return count, digest.hexdigest(), asked

    def _recorded(self, audit_id: str) -> bool:
        """Whether there is a chat of that id: each has a question, of which a row stays whatever is let go or erased.
        That each row is of a recorded exchange, `finish` checks."""
        return bool(self._source.content(audit_id))

    def taken_away(self, exchanges: object, number: int) -> None:
        """Event `number` says that the content of these exchanges was dropped with it, whose ends came before."""
        if not isinstance(exchanges, list) or not all(isinstance(audit_id, str) for audit_id in exchanges):
            self._findings.suspect("it does not name exchanges", number)
            return
        for audit_id in exchanges:
            self._unexplained.pop(audit_id, None)
            if not self.recorded(audit_id):
                self._findings.suspect(
                    f"it says that content was dropped of exchange {audit_id[:40]}, which has none", number
                )
            if not all(_well_typed(row) and is_dropped(row.ciphertext) for row in self._source.content(audit_id)):
                self._findings.suspect(f"content that it says was dropped is there, of exchange {audit_id}", number)

    def subject_erased(self, pseudonym: object, number: int) -> None:
        """Event `number` says that the key of this subject was destroyed with it."""
        self._erased[str(pseudonym)] = number

    def finish(self, open_chats: Mapping[str, int]) -> None:
        """Check that each dropped row was dropped by a later event, that no row is of an exchange that never was, and
        the subjects."""
        for number in self._unexplained.values():
            self._findings.suspect("its content was dropped, and no later event says so", number)
        there = next(self._source.rows("SELECT count(*) FROM content"))[0]
        waiting = sum(len(list(self._source.content(audit_id))) for audit_id in open_chats)
        if there != self._committed + waiting:
            extra = there - self._committed - waiting
            self._findings.add(f"{extra} content rows belong to no recorded exchange")
        without = {str(row[0]) for row in self._source.rows(_WITHOUT_KEY)}
        for pseudonym in sorted(without - self._erased.keys()):
            self._findings.add(f"subject {pseudonym}: its key is gone, and no event says that it was erased")
        for pseudonym in sorted(self._erased.keys() - without):
            self._findings.suspect(
                f"subject {pseudonym}, which it says was erased, is not kept as one", self._erased[pseudonym]
            )
        if self._ring is not None:
            self._subjects(self._ring)

    def _opens(self, row: ContentRow) -> bool:
        """True if the row opens under its subject's key and is the text of its commitment, and for a subject without
        a key: whether that was erased, `finish` checks."""
        subject = self._subject_key(row.pseudonym)
        if subject is None:
            return row.pseudonym in self._keyless
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=conversation_info(row.conversation))
        plain = _decrypted(
            derive.derive(subject),
            row.ciphertext,
            content_aad(row.audit_id, row.position, row.kind, row.conversation),
        )
        return plain is not None and hmac.digest(plain[:32], plain[32:], hashlib.sha256) == row.commitment

    def _subject_key(self, pseudonym: str) -> bytes | None:
        if pseudonym not in self._keys:
            row = next(self._source.rows("SELECT wrapped_key FROM subjects WHERE pseudonym = ?", pseudonym), None)
            self._keys[pseudonym] = self._unwrapped(row[0], pseudonym) if row else None
            if row is not None and row[0] == b"":
                self._keyless.add(pseudonym)
        return self._keys[pseudonym]

    def _unwrapped(self, blob: bytes, pseudonym: str) -> bytes | None:
        assert self._ring is not None  # noqa: S101  # for the type checker: only called with a ring
        try:
            return self._ring.unwrap(blob, subject_key_aad(pseudonym))
        except Exception:  # the ring's own kinds of refusal are not this module's to know
            return None

    def _subjects(self, ring: Ring) -> None:
        """Each subject's name must open, and be the one that it is looked up by."""
        for lookup, pseudonym, sealed in self._source.rows("SELECT lookup, pseudonym, sealed_name FROM subjects"):
            key = self._subject_key(str(pseudonym))
            if str(pseudonym) in self._keyless and sealed == b"":
                continue
            name = _decrypted(key, sealed, subject_name_aad(str(pseudonym))) if key else None
            if name is None or ring.lookup(name.decode(errors="replace")) != lookup:
                self._findings.add(f"subject {pseudonym}: its key, name and look-up do not belong together")


def _decrypted(key: bytes, blob: object, aad: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(blob[:12], blob[12:], aad) if isinstance(blob, bytes) else None
    except Exception:  # any failure to open, malformed input included, is the same finding
        return None


def _well_typed(row: ContentRow) -> bool:
    texts = (row.audit_id, row.kind, row.conversation, row.pseudonym)
    return all(type(text) is str for text in texts) and type(row.commitment) is type(row.ciphertext) is bytes
