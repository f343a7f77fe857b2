"""The data folder: private to its user, and owned by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from usher.errors import DataFolderBusy, UserError

_MARKS = frozenset({"lock", "ledger.sqlite"})
"""One of these stands in every folder that Usher has used."""

_SOCKET_PATH_LIMIT = 107
"""Bytes in a Unix socket's address on Linux, without the closing zero."""


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Own the data folder (made if absent) until the end of the block, or of the process however it ends.

    Files that the process makes meanwhile, whichever library makes them, are its user's alone: they stay so when they
    are copied out of the folder.

    Raises:
        DataFolderBusy: another process owns it.
        UserError: the folder is not Usher's, or cannot be made private.
    """
    _prepare(home)
    before = os.umask(0o077)
    try:
        with _locked(home):
            yield
    finally:
        os.umask(before)


@contextmanager
def private(home: Path) -> Iterator[None]:
    """As `hold`, but without owning it: for a process that owns a part of it.

    Raises:
        UserError: the folder is not Usher's, or cannot be made private.
    """
    _prepare(home)
    before = os.umask(0o077)
    try:
        (home / "lock").touch()  # it marks the folder as Usher's
        yield
    finally:
        os.umask(before)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, home)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, home: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
        raise DataFolderBusy(
            "USHER_HOME",
            f"({home}) is in use by another Usher, process {owner}",
            "stop that one, or set USHER_HOME to another folder",
        ) from None


def is_held(home: Path) -> bool:
    """True if some process owns the folder at this moment. Leaves no trace."""
    try:
        descriptor = os.open(home / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _prepare(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(home)
        if home.stat().st_mode & 0o077:
            home.chmod(0o700)
    except OSError as error:
        raise UserError(
            "USHER_HOME",
            f"({home}) cannot be made a private folder ({error.strerror})",
            "name a folder that this user may create, or one inside it",
        ) from None


def _refuse_foreign(home: Path) -> None:
    """A slip such as USHER_HOME=/tmp must not turn somebody else's folder private."""
    names = set(os.listdir(home)) - {"lost+found"}  # noqa: PTH208 - one call, names only
    if names and not names & _MARKS:
        raise UserError("USHER_HOME", f"({home}) holds files that are not Usher's", "name a new or empty folder")


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for a Unix socket at `path`, also where the path is longer than the kernel takes.

    Such an address leads through a descriptor of the folder, so it holds for this process and this block only.
    """
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
