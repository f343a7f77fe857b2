"""A folder as a source of documents: what is in it, and each file read whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from usher.ports import BadFile, FileRefused, FoundFile

SUFFIXES = frozenset({".md", ".markdown", ".txt", ".html", ".htm", ".csv", ".pdf", ".docx", ".pptx", ".xlsx"})

_LINK = ("it is a link, or lies behind one", "put a copy of the file in its place, or name the file where it lies")
"""Problem and remedy."""


class RealFolder:
    """The files below a real path. Hidden ones (a leading dot) are no documents.

    A symbolic link is none either, wherever it leads: it would be shelved by its own path, and its text is another
    file's. A hard link is a file like any other (backups and package stores are full of them): who makes one there
    could as well have made a copy.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def walk(self) -> Iterator[FoundFile | BadFile]:
        """Every file in path order. Raises OSError if the root, or a folder below it, cannot be read."""
        for folder, folders, files in os.walk(self.root, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for name in sorted([*files, *links]):
                if not name.startswith("."):
                    yield self._entry(Path(folder, name))

    def _entry(self, file: Path) -> FoundFile | BadFile:
        path = file.relative_to(self.root).as_posix()
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = path.encode("utf-8", "backslashreplace").decode()
            return BadFile(shown, "its name is not UTF-8", "rename it")
        if len(path) > 2000 or any(ord(character) < 32 for character in path):
            return BadFile(path[:200], "its path is too long or has a control character", "rename it")
        if file.is_symlink():
            return BadFile(path, *_LINK)
        if file.suffix.lower() not in SUFFIXES:
            return FoundFile(path, False, 0)
        try:
            status = file.stat()
        except OSError as error:
            return BadFile(path, f"it cannot be read ({error.strerror})", "check that it is there and readable")
        return FoundFile(path, stat.S_ISREG(status.st_mode), status.st_size)

    def read(self, path: str, limit: int) -> bytes:
        """The file's bytes, as they were at one time. Raises `FileRefused`."""
        try:
            with (self.root / path).open("rb") as file:
                if os.path.realpath(f"/proc/self/fd/{file.fileno()}") != str(self.root / path):
                    raise FileRefused(*_LINK)
                before = os.fstat(file.fileno())
                data = file.read(limit + 1)
                after = os.fstat(file.fileno())
        except OSError as error:
            raise FileRefused(f"it cannot be read ({error.strerror})", "check that it is there and readable") from error
        if len(data) > limit:
            raise FileRefused(f"it is larger than {limit} bytes", "split it, or raise USHER_MAX_FILE_SIZE")
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size) or len(data) != after.st_size:
            raise FileRefused("it changed while it was read", "run the ingest again when it is at rest")
        return data


def _raise(error: OSError) -> None:
    raise error
