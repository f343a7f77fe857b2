"""A proof as a text (C2SP `tlog-proof`), checked with nothing but a key or a checkpoint that is held."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from usher.ledger.record import leaf_hash
from usher.ledger.verify.notes import BadNote, Note, read_note
from usher.ledger.verify.proof import BadProof, verify_inclusion

_HEAD = re.compile(
    r"c2sp\.org/tlog-proof@v1\nextra (?P<leaf>[A-Za-z0-9+/]{43}=)\nindex (?P<index>0|[1-9][0-9]{0,18})\n"
    r"(?P<hashes>(?:[A-Za-z0-9+/]{43}=\n){0,63})\n(?P<note>(?s:.+))"
)


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
    origin = note.partition("\n")[0]
    try:
        signed = read_note(note, origin, key, "the proof's checkpoint")
    except BadNote as error:
        raise BadProof(f"checkpoint: {error}") from None
    verify_inclusion(index, signed.size, leaf, hashes, signed.root)
    return signed


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
