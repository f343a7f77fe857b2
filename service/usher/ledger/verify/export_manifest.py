"""An export's manifest as the verifier reads it: who signed it, and what it says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from usher.ledger.verify.export_files import BadExport
from usher.ledger.verify.notes import BadNote, Note, key_of, read_note, signature_holds

FORMAT = "usher-export@v1"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_TIMES = ("from", "to")
_IDS = ("document", "pseudonym")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says, whoever signed it. Members that are not read further here stand in `body`."""

    body: Mapping[str, Any]
    origin: str
    query: Mapping[str, Any]
    files: Mapping[str, Any]
    checkpoint: str
    columns: Mapping[str, list[str]] | None

    @property
    def key(self) -> bytes | None:
        """The public key that it names itself."""
        return key_of(self.body.get("key"), self.origin)

    def checkpoint_of(self, key: bytes | None) -> Note:
        """Raises `BadNote`."""
        return read_note(self.checkpoint, self.origin, key, "the export's checkpoint")

    def consistency(self) -> tuple[int, list[bytes]] | None:
        """The size that its checkpoint continues, and the proof, if it has one. Raises `BadExport`."""
        given = self.body.get("consistency")
        if given is None:
            return None
        try:
            size, hashes = given["size"], [base64.b64decode(node, validate=True) for node in given["hashes"]]
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise BadExport("the manifest's proof of consistency cannot be read") from None
        if type(size) is not int:
            raise BadExport("the manifest's proof of consistency cannot be read")
        return size, hashes


def read_manifest(data: bytes) -> Manifest:
    """Raises `BadExport`."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise BadExport("its manifest is not JSON") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise BadExport(f"its manifest is not of the format {FORMAT}: it is no export, or of another version")
    origin, query, files, checkpoint = (body.get(name) for name in ("origin", "query", "files", "checkpoint"))
    fits = isinstance(origin, str) and isinstance(query, dict) and isinstance(files, dict)
    columns = body.get("columns")
    if not (fits and isinstance(checkpoint, str) and _query(query) and _columns(columns)):
        raise BadExport("its manifest does not say what one must")
    return Manifest(body, str(origin), query or {}, files or {}, checkpoint, columns)


def check_signature(note: bytes, manifest: bytes, origin: str, key: bytes | None) -> None:
    """Return if the note is over this manifest, signed for exports by that key. Raises `BadNote`."""
    name = f"{origin}/export"
    text, separator, signatures = note.decode("utf-8", "replace").rpartition("\n\n")
    digest = base64.b64encode(hashlib.sha256(manifest).digest()).decode("ascii")
    if not separator or text != f"{name}\n{FORMAT}\n{digest}":
        raise BadNote("the signed note is not over this manifest")
    lines = signatures.removesuffix("\n").split("\n")
    if key is None or not any(signature_holds(line, name, key, text + "\n") for line in lines):
        raise BadNote("no signature by this log's key holds for the manifest")


def claim(note: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint that its holder trusts, whoever signed it. Raises `BadNote`."""
    lines = note.split("\n")
    try:
        if _NUMBER.fullmatch(lines[1]):
            return lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
    except (IndexError, ValueError):
        pass
    raise BadNote("it is not an origin, a size and a root")


def _query(query: Any) -> bool:
    texts = [query.get(name) for name in (*_TIMES, *_IDS)]
    types = query.get("types")
    return all(text is None or isinstance(text, str) for text in texts) and _texts(types)


def _columns(columns: Any) -> bool:
    return columns is None or (isinstance(columns, dict) and all(map(_texts, columns.values())))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(element, str) for element in value)
