"""Opening a ledger's file for reading, wherever it lies, without leaving a trace beside it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from usher.ledger.verify.source import SqliteSource, Unreadable


@contextmanager
def opened(path: Path) -> Iterator[SqliteSource]:
    """The ledger in one read transaction: what was committed when it began. Raises `OSError`, `Unreadable`.

    SQLite would make a `-shm` file to read a write-ahead log; so the one of a running server is used as it is, and
    where a log was copied without it, file and log are copied to a temporary folder first.
    """
    if not has_log(path):
        with _connected(path, "mode=ro&immutable=1") as source:
            yield source
    elif _beside(path, "-shm").exists():
        with _connected(path, "mode=ro&readonly_shm=1") as source:
            yield source
    else:
        with tempfile.TemporaryDirectory() as folder:
            for file in (path, _beside(path, "-wal")):
                shutil.copy(file, folder)
            with _connected(Path(folder) / path.name, "mode=ro") as source:
                yield source


def has_log(path: Path) -> bool:
    """True if something is in the file's write-ahead log."""
    path.stat()
    with suppress(FileNotFoundError):
        return _beside(path, "-wal").stat().st_size > 0
    return False


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def _connected(path: Path, options: str) -> Iterator[SqliteSource]:
    uri = f"file:{quote(str(path.resolve()))}?{options}"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            yield SqliteSource(connection)
    except sqlite3.Error as error:
        raise Unreadable(str(error)) from error
