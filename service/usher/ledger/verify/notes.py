"""Signed notes as the verifier reads them (C2SP `signed-note` and `tlog-checkpoint`, Ed25519)."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_TEXT = re.compile(r"(?P<origin>[^\n]+)\n(?P<size>0|[1-9][0-9]{0,18})\n(?P<root>[A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*")
_SIGNATURE = re.compile(r"\u2014 (?P<name>\S+) (?P<blob>[A-Za-z0-9+/]+={0,2})")


class BadNote(Exception):
    """The note says nothing that can be relied on; the message says why."""


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint whose signature holds, and its text. `name` says where it came from, `edge` is what is stored with
    it, if any."""

    name: str
    size: int
    root: bytes
    text: str
    edge: object = None


def key_of(verifier_key: object, origin: str) -> bytes | None:
    """The public key in `name+id+base64`, if it is an Ed25519 key of that name."""
    if not isinstance(verifier_key, str) or not verifier_key.startswith(origin + "+"):
        return None
    ident, _, encoded = verifier_key[len(origin) + 1 :].partition("+")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    fits = blob[:1] == b"\x01" and len(blob) == 33 and ident == _key_id(origin, blob[1:]).hex()
    return blob[1:] if fits else None


def read_note(note: object, origin: str, key: bytes | None, name: str, edge: object = None) -> Note:
    """What a note says. Raises `BadNote`."""
    if not isinstance(note, str) or key is None:
        raise BadNote("it is not a text, or has no valid key")
    text, separator, signatures = note.rpartition("\n\n")
    match = _TEXT.fullmatch(text + "\n")
    if not separator or not match or not signatures.endswith("\n"):
        raise BadNote("it is not a signed checkpoint")
    if match["origin"] != origin:
        raise BadNote("it is of another log")
    if not any(signature_holds(line, origin, key, text + "\n") for line in signatures[:-1].split("\n")):
        raise BadNote("no signature by this log's key holds")
    return Note(name, int(match["size"]), base64.b64decode(match["root"]), note, edge)


def notes_in(text: str, origin: str) -> list[str]:
    """Each whole note of that log in a text, such as a file to which checkpoints were appended, where a torn one may
    stand between them; the text itself where there is none."""
    name = re.escape(origin)
    more = rf"(?:(?!{name}\n)[^\n]+\n)*"
    one = rf"{name}\n[0-9]{{1,19}}\n[A-Za-z0-9+/]{{43}}=\n{more}\n(?:\u2014 \S+ [A-Za-z0-9+/=]+\n)+"
    return re.findall(one, text) or [text]


def signature_holds(line: str, origin: str, key: bytes, text: str) -> bool:
    """Whether a note's signature line is of that name, and by that key over the text."""
    match = _SIGNATURE.fullmatch(line)
    if not match or match["name"] != origin:
        return False
    try:
        blob = base64.b64decode(match["blob"], validate=True)
        Ed25519PublicKey.from_public_bytes(key).verify(blob[4:], text.encode())
    except (ValueError, InvalidSignature):
        return False
    return blob[:4] == _key_id(origin, key)


def _key_id(name: str, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]
