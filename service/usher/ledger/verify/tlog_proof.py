"""Proofs as texts (C2SP `tlog-proof`, `tlog-witness`), checked with nothing but a key or a checkpoint that is held."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from usher.ledger.record import leaf_hash
from usher.ledger.verify.notes import BadNote, Note, read_note
from usher.ledger.verify.proof import BadProof, verify_consistency, verify_inclusion

_HASH = r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]="  # 32 bytes in the one way to write them
_HEAD = re.compile(
    rf"c2sp\.org/tlog-proof@v1\nextra (?P<leaf>{_HASH})\nindex (?P<index>0|[1-9][0-9]{{0,18}})\n"
    rf"(?P<hashes>(?:{_HASH}\n){{0,63}})\n(?P<note>(?s:.+))"
)
_OLD = re.compile(rf"old (?P<old>[1-9][0-9]{{0,18}})\n(?P<hashes>(?:{_HASH}\n){{0,64}})\n(?P<note>(?s:.+))")


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof shows: that event `number` has this leaf hash, in the log of that origin, among its first `size`."""

    origin: str
    number: int
    size: int
    leaf_hash: str


def check_inclusion(index: int, leaf: bytes, hashes: list[bytes], note: str, key: bytes | None) -> Note:
    """The checkpoint, if it is signed with that key and the event with this index (from 0) and leaf hash is among
    those that it covers. Raises `BadProof`."""
    signed = check_note(note, key)
    verify_inclusion(index, signed.size, leaf, hashes, signed.root)
    return signed


def check_note(note: str, key: bytes | None, whose: str = "the proof's") -> Note:
    """A checkpoint that is signed with that key. Raises `BadProof`."""
    try:
        return read_note(note, note.partition("\n")[0], key, f"{whose} checkpoint")
    except BadNote as error:
        raise BadProof(f"{whose} checkpoint: {error}") from None


@dataclass(frozen=True, slots=True)
class Consistent:
    """What a consistency proof shows: that the log of that origin had, when it had `size` events, the same first `old`
    ones as when the held checkpoint was made."""

    origin: str
    old: int
    size: int


def is_consistency(text: str) -> bool:
    """Whether a text is meant as a consistency proof."""
    return text.startswith("old ")


def check_consistency(text: str, held: str, key: bytes) -> Consistent:
    """What the proof shows. `held` is the text of the older checkpoint, `key` the public key that signed both. Raises
    `BadProof`."""
    match = _OLD.fullmatch(text)
    if match is None:
        raise BadProof("proof: it is not a consistency proof of a log")
    old, new = check_note(held, key, "the held"), check_note(match["note"], key)
    origins = {note.text.partition("\n")[0] for note in (old, new)}
    if len(origins) != 1:
        raise BadProof("checkpoint: the held one is of another log")
    if old.size != int(match["old"]):
        raise BadProof(f"proof: it is against a checkpoint over {match['old']} events, and the held one has {old.size}")
    hashes = [base64.b64decode(line) for line in match["hashes"].split()]
    verify_consistency(old.size, old.root, new.size, new.root, hashes)
    return Consistent(origins.pop(), old.size, new.size)


def check_tlog_proof(
    text: str, *, key: bytes | None = None, held: str | None = None, event: bytes | None = None
) -> Proven:
    """What the proof shows. `key` is the log's public key; `held` the text of a checkpoint kept elsewhere, the one that
    the proof is against; at least one of them is needed, for a proof vouches for itself to nobody. `event` are the
    event's bytes, where they are there. Raises `BadProof`.
    """
    match = _HEAD.fullmatch(text)
    if match is None:
        raise BadProof("proof: it is not a tlog-proof of an Usher event")
    if key is None and held is None:
        raise BadProof("proof: the log's public key or a held checkpoint is needed")
    leaf, note, index = base64.b64decode(match["leaf"]), match["note"], int(match["index"])
    hashes = [base64.b64decode(line) for line in match["hashes"].split()]
    if held is not None and _claim(held) != _claim(note):
        raise BadProof("checkpoint: it is not the held one; ask for a proof against that one, by its size")
    if event is not None and leaf_hash(event) != leaf:
        raise BadProof("event: its bytes do not have the proof's leaf hash")
    origin, size, root = _claim(note)
    if key is not None:
        check_inclusion(index, leaf, hashes, note, key)
    else:
        verify_inclusion(index, size, leaf, hashes, root)
    return Proven(origin, index + 1, size, leaf.hex())


def _claim(note: str) -> tuple[str, int, bytes]:
    """Origin, size and root, whoever signed. Raises `BadProof`."""
    lines = note.split("\n")
    try:
        if re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
            return lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
    except (IndexError, ValueError):
        pass
    raise BadProof("checkpoint: it is not an origin, a size and a root")
