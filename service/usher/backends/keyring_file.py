"""The key ring's file: private, made or replaced whole and durably; what it was before is overwritten."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from usher.ledger.sealing import RingUnusable


class KeyRingError(RingUnusable):
    """The key ring cannot be used; the message says why and the remedy, and quotes no key."""


def read_private(path: Path) -> bytes:
    """The file's bytes, if nobody but its owner may read or write them."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyRingError(f"key ring {path}: others may read it (mode {mode:04o}); run `chmod 600 {path}`")
            return file.read()
    except FileNotFoundError:
        raise KeyRingError(f"key ring {path}: it is missing; put it back, or set USHER_KEYRING to its place") from None
    except OSError as error:
        raise KeyRingError(f"key ring {path}: it cannot be read ({error.strerror}); check its owner") from None


def write_new(path: Path, data: bytes) -> None:
    """Make the file whole, durable and private, or not at all; never replace one."""
    try:
        with _draft(path, data) as draft:
            os.link(draft, path)  # unlike a rename, fails where a ring exists
        _sync_folder(path.parent)
    except FileExistsError:
        raise KeyRingError(f"key ring {path}: it exists already; move it away to make another") from None
    except OSError as error:
        raise _unwritable(path, error) from None


def replace(path: Path, data: bytes) -> None:
    """Put these bytes in the place of the file's, whole and durably or not at all, and overwrite what was there, as far
    as the disk overwrites in place. Drafts that an earlier process left are overwritten and taken away too."""
    path = path.resolve()  # where it is a link, the file that it leads to
    try:
        with path.open("r+b") as before:
            for left in path.parent.glob(f"{path.name}.*.new"):
                with left.open("r+b") as file:
                    _overwrite(file.fileno())
                left.unlink()
            with _draft(path, data) as draft:
                draft.rename(path)
            _sync_folder(path.parent)
            _overwrite(before.fileno())
    except OSError as error:
        raise _unwritable(path, error) from None


@contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    """A durable file of these bytes beside `path`, gone at the end unless it was moved."""
    draft = path.with_name(f"{path.name}.{os.urandom(6).hex()}.new")  # in containers all are process 1
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()


def _overwrite(descriptor: int) -> None:
    os.pwrite(descriptor, os.urandom(os.fstat(descriptor).st_size), 0)
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> KeyRingError:
    return KeyRingError(f"key ring {path}: it cannot be written ({error.strerror}); check its folder")
