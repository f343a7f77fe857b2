"""The files of an export, in one ZIP that is sent while it is made."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from usher.audit.export_choice import Chosen
from usher.core import csv_safe
from usher.ledger.manifest import Multiproof

EVENTS = "events.jsonl"
TABLE = "events.csv"
NAMES = "names.json"
PROOF = "proof.txt"
MANIFEST = "manifest.json"
NOTE = "manifest.note"
_IN_MEMORY = 8 * 1024**2
"""Bytes of a file that waits for its turn; longer ones wait in a temporary file without a name."""
_CHUNK = 256 * 1024


class _Sink(io.RawIOBase):
    """Where the ZIP is written to: what was written since it was last taken."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._bytes += data
        return len(data)

    def taken(self) -> bytes:
        taken, self._bytes = bytes(self._bytes), bytearray()
        return taken


class _File:
    """A file of the export as it is written, with its length and digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._digest, self._length = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self._digest.update(data)
        self._length += len(data)

    def as_json(self) -> dict[str, Any]:
        return {"bytes": self._length, "sha256": self._digest.hexdigest()}


class Pack:
    """`put` events in their order, then `end`; the bytes to send come from both. Close it, whatever happens."""

    def __init__(self, proof: Multiproof, *, table: bool, names: bool) -> None:
        self._proof, self._names = proof, names
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w")
        self._files = {EVENTS: _File(self._entry(EVENTS)), PROOF: _File(_waiting())}
        self.count, self.first, self.last = 0, 0, 0
        if table:
            self._files[TABLE] = _File(_waiting())
            self._files[TABLE].write((csv_safe.BOM + csv_safe.line(csv_safe.header(names))).encode())

    def put(self, chosen: Sequence[Chosen], users: Mapping[str, str]) -> bytes:
        """Raises `LogFailed`."""
        for one in chosen:
            self._add_hashes(self._proof.take(one.number, one.leaf))
            self._files[EVENTS].write(one.line + b"\n")
            self.count, self.first, self.last = self.count + 1, self.first or one.number, one.number
            if TABLE in self._files:
                self._files[TABLE].write(csv_safe.line(self._row(one.event, users)).encode())
        return self._sink.taken()

    def proven(self) -> bytes:
        """The root that the whole proof leads to. Raises `LogFailed`."""
        self._add_hashes(self._proof.rest())
        return self._proof.root()

    def rest(self, names: bytes | None) -> Iterator[bytes]:
        """What follows the events, as bytes to send."""
        self._files[EVENTS].file.close()
        if names is not None:
            self._files[NAMES] = _File(_waiting())
            self._files[NAMES].write(names)
        for name, file in self._files.items():
            if name != EVENTS:
                yield from self._copied(name, file.file)
        yield self._sink.taken()

    def files(self) -> dict[str, dict[str, Any]]:
        """Each file's length and digest."""
        return {name: file.as_json() for name, file in self._files.items()}

    def end(self, manifest: bytes, note: str) -> bytes:
        """The manifest and its signature, the last bytes to send."""
        for name, data in ((MANIFEST, manifest), (NOTE, note.encode())):
            with self._entry(name) as entry:
                entry.write(data)
        self._zip.close()
        return self._sink.taken()

    def close(self) -> None:
        """Drop what waits. What was sent without `end`'s bytes is no ZIP."""
        for file in self._files.values():
            file.file.close()
        self._zip.close()

    def _add_hashes(self, hashes: Sequence[bytes]) -> None:
        self._files[PROOF].write(b"".join(base64.b64encode(node) + b"\n" for node in hashes))

    def _row(self, event: Mapping[str, Any], users: Mapping[str, str]) -> list[str]:
        user = [users.get(str((event.get("who") or {}).get("pseudonym")), "")] if self._names else []
        return csv_safe.cells(event) + user

    def _entry(self, name: str) -> IO[bytes]:
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o600 << 16
        return self._zip.open(entry, "w", force_zip64=True)

    def _copied(self, name: str, file: IO[bytes]) -> Iterator[bytes]:
        file.seek(0)
        with self._entry(name) as entry:
            while part := file.read(_CHUNK):
                entry.write(part)
                yield self._sink.taken()


def _waiting() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(_IN_MEMORY)


def names_file(people: Mapping[str, str], documents: Mapping[str, Mapping[str, Any]]) -> bytes:
    return json.dumps({"people": people, "documents": documents}, ensure_ascii=False, indent=1).encode()
