"""An adapter's folder on a disk. Nothing in it is followed: a link, a pipe or a device is told, never opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from usher_lora.faults import AdapterFault
from usher_lora.weights import Kind, Member

_MOST_MEMBERS = 1_000
_OF_THE_FILE = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENAMETOOLONG)
)
"""What speaks against a file. Anything else, such as too many files that are open, says nothing of it."""


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """A folder by its descriptor, so that it stays the same one whatever becomes of its path. Raises `OSError` where
    nothing can be said of its files just now."""

    descriptor: int

    def members(self) -> Iterator[Member]:
        with os.scandir(self.descriptor) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_MEMBERS:
                    raise AdapterFault("folder", f"has over {_MOST_MEMBERS} names", "import a folder of one adapter")
                status = entry.stat(follow_symlinks=False)
                yield Member(entry.name, _kind(status.st_mode), status.st_size)

    def open(self, name: str) -> BinaryIO:
        """A plain file of the folder. Raises `AdapterFault` for anything else."""
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.descriptor)
        except OSError as error:
            _refuse(error, name, "give the server the right to read a plain file")
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise AdapterFault(name, "is no plain file", "import plain files, no links or folders")
        return os.fdopen(file, "rb")


@contextmanager
def opened(path: Path) -> Iterator[OpenFolder]:
    """The folder at a path, which may be no link itself. Raises `AdapterFault`, `OSError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        _refuse(error, "folder", "name a folder, no link, that the server may read")
    try:
        yield OpenFolder(descriptor)
    finally:
        os.close(descriptor)


def _refuse(error: OSError, field: str, remedy: str) -> NoReturn:
    if error.errno not in _OF_THE_FILE:
        raise error
    raise AdapterFault(field, "cannot be opened", remedy) from None


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISLNK(mode):
        return Kind.LINK
    return Kind.FOLDER if stat.S_ISDIR(mode) else Kind.OTHER
