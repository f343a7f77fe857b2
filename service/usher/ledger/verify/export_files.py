"""Reading an export's files, from a folder or a ZIP, whatever they hold."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

MANIFEST = "manifest.json"
NOTE = "manifest.note"
EVENTS = "events.jsonl"
TABLE = "events.csv"
PROOF = "proof.txt"
NAMES = "names.json"

UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What reading a file of an export may raise: the last of a ZIP that is encrypted or packed in another way."""

LONGEST_LINE = 64 * 1024**2
"""Bytes. No event is as long."""
_BUFFER = 256 * 1024


class BadExport(Exception):
    """It is not an export, or not one that can be checked further; the message says why."""


class Files:
    """The files of an export. Their content is read in a stream, but for small ones."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        self._path, self._archive = path, archive
        listed = [entry.name for entry in path.iterdir()] if archive is None else archive.namelist()
        self.names = frozenset(listed)
        if doubled := [name for name, count in Counter(listed).items() if count > 1]:
            raise BadExport(f"the ZIP has {doubled[0]!r} more than once")

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """Raises `BadExport` for a file that is not there, and what is `UNREADABLE`."""
        if name not in self.names:
            raise BadExport(f"it has no file {name}")
        with (self._path / name).open("rb") if self._archive is None else self._archive.open(name) as file:
            yield file

    def small(self, name: str, limit: int) -> bytes:
        """A file of at most so many bytes. Raises as `opened`."""
        with self.opened(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise BadExport(f"{name} is larger than any that Usher makes")
        return data


@contextmanager
def opened(path: Path) -> Iterator[Files]:
    """The export in a folder or a ZIP. Raises `BadExport`, and what is `UNREADABLE`."""
    if path.is_dir():
        yield Files(path, None)
        return
    with zipfile.ZipFile(path) as archive:
        yield Files(path, archive)


def is_export(path: Path) -> bool:
    """Whether it is to be checked as an export: a ZIP, as it is or was to be, or a folder with a manifest."""
    if path.is_dir():
        return (path / MANIFEST).is_file()
    return path.is_file() and (path.suffix == ".zip" or zipfile.is_zipfile(path))


class Tally:
    """The length and digest of a file while it is read."""

    def __init__(self) -> None:
        self.length, self._digest = 0, hashlib.sha256()

    def add(self, data: bytes) -> bytes:
        self.length += len(data)
        self._digest.update(data)
        return data

    def fits(self, said: Any) -> bool:
        """Whether it is what a manifest says."""
        return bool(said == {"bytes": self.length, "sha256": self._digest.hexdigest()})


class Tallied(io.RawIOBase):
    """A file that is read once, and tallied."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.tally = file, Tally()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.tally.add(self._file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def lines(self) -> Iterator[bytes]:
        """Its lines, each with its end. Raises `BadExport` for one that no export has."""
        reader = io.BufferedReader(self, _BUFFER)
        while line := reader.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise BadExport("it has a line that is longer than any of an event")
            yield line

    def drain(self) -> None:
        """Read what is left."""
        while self.tally.add(self._file.read(_BUFFER)):
            pass
