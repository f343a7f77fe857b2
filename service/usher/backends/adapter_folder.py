"""Where the weights of adapters lie: a folder by content, which a model server may only read.

`<digest>/` holds the two files of an adapter and nothing else; beside it stand `<digest>.manifest.json`, what is said
of it, and `<digest>.training.json`, the manifest of its training set. All is written whole or not at all: under a
hidden name first, synced, and then renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

from usher.backends.paced_folder import PacedFolder
from usher.ports.adapters import Package
from usher_lora.adapter_files import OpenFolder, opened
from usher_lora.base_files import base_digest, base_files, base_lineage
from usher_lora.canonical import sha256
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Lineage
from usher_lora.manifest import MOST_BYTES as MOST_MANIFEST
from usher_lora.manifest import SERVED_FILES, FileDigest
from usher_lora.peft_config import ServerLimits
from usher_lora.weights import changed, inspect

_CHUNK: Final = 1 << 22
_MOST: Final = {"manifest.json": MOST_MANIFEST, "lineage.json": 1 << 26, "training_set.json": 1 << 26}
"""Bytes of each file beside a training's weights."""
_OWN: Final = "training_lineage.json"
_ADAPTER: Final = "adapter"
_ID: Final = re.compile(r"[0-9a-f]{64}")
_PART: Final = re.compile(r"\.[0-9a-f]{64}(\.manifest\.json|\.training\.json)?\.part")
_READ_ONLY_FILE, _READ_ONLY_FOLDER = 0o444, 0o555


class AdapterWeights:
    """The `Weights` port, over a folder on a disk."""

    def __init__(self, root: Path, pace: int | None = None) -> None:
        """`pace`: bytes a second that `changed` reads at most, on the average; None: as fast as they come."""
        self._root, self._pace = root, pace

    def read(self, folder: Path, limits: ServerLimits) -> Package:
        with opened(folder) as outer:
            beside = {name: _text(outer, name, most) for name, most in _MOST.items()}
            own = beside["lineage.json"]
            if any(one.name == _OWN for one in outer.members()):
                own = _text(outer, _OWN, _MOST["lineage.json"])
            with _inside(outer) as inner:
                inspected = inspect(inner, limits)
        return Package(beside["manifest.json"], beside["lineage.json"], own, beside["training_set.json"], inspected)

    def keep(self, folder: Path, adapter: str, files: Sequence[FileDigest], training_set: bytes) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        if self.place(adapter).exists():
            problem = self.changed(adapter, files, sha256(training_set))
            if problem is None:
                return
            raise AdapterFault("adapter", f"lies there already, and {problem}", "take that folder away, and look why")
        self._write(f"{adapter}.training.json", training_set)
        part = self._root / f".{adapter}.part"
        _remove(part)
        part.mkdir(mode=0o700)
        try:
            with opened(folder) as outer, _inside(outer) as inner:
                for one in files:
                    with inner.open(one.name) as source:
                        _copy(source, part / one.name, one)
            _sync(part)
            part.chmod(_READ_ONLY_FOLDER)
            part.rename(self.place(adapter))
        except BaseException:
            self.drop(adapter)
            raise
        _sync(self._root)

    def keep_manifest(self, adapter: str, manifest: bytes) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        self._write(f"{adapter}.manifest.json", manifest)

    def manifest(self, adapter: str) -> bytes | None:
        return self._beside(f"{adapter}.manifest.json", MOST_MANIFEST + 1)

    def training_set(self, adapter: str) -> bytes | None:
        return self._beside(f"{adapter}.training.json", _MOST["training_set.json"] + 1)

    def changed(self, adapter: str, files: Sequence[FileDigest], training_set: str) -> str | None:
        try:
            with opened(self.place(adapter)) as folder:
                problem = changed(folder if self._pace is None else PacedFolder(folder, self._pace), files)
        except AdapterFault as fault:
            return str(fault)
        if problem is not None:
            return problem
        try:
            told = self.training_set(adapter)
        except AdapterFault as fault:
            return str(fault)
        if told is None:
            return "the manifest of its training set is not there"
        return None if sha256(told) == training_set else "the manifest of its training set is another file"

    def looks(self, adapter: str, *, beside: bool = True) -> object:
        place = self.place(adapter)
        inner = (place, *(place / name for name in SERVED_FILES))
        outer = (self._root / f"{adapter}.training.json", self._root / f"{adapter}.manifest.json")
        return tuple(_looks_or_not(path) for path in (*inner, *(outer if beside else ())))

    def kept(self) -> list[str]:
        names = {path.name.partition(".")[0] for path in self._listed()}
        return sorted(name for name in names if _ID.fullmatch(name))

    def drop(self, adapter: str) -> None:
        for name in (f".{adapter}.part", adapter, f"{adapter}.training.json", f"{adapter}.manifest.json"):
            _remove(self._root / name)
            _remove(self._root / f".{name}.part")

    def tidy(self) -> None:
        for path in self._listed():
            if _PART.fullmatch(path.name):
                _remove(path)

    def place(self, adapter: str) -> Path:
        return self._root / adapter

    def _beside(self, name: str, most: int) -> bytes | None:
        """A plain file of the folder, as far as `most` bytes; None where there is none. What stands in its place, such
        as a pipe that nobody writes to, is told and never waited for."""
        if not os.path.lexists(self._root / name):
            return None
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with OpenFolder(descriptor).open(name) as file:
                return file.read(most)
        finally:
            os.close(descriptor)

    def _listed(self) -> list[Path]:
        return list(self._root.iterdir()) if self._root.is_dir() else []

    def _write(self, name: str, data: bytes) -> None:
        part = self._root / f".{name}.part"
        _remove(part)
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(_READ_ONLY_FILE)
        part.replace(self._root / name)
        _sync(self._root)


class BaseModel:
    """The `BaseFiles` port, over a folder. Its files are read again only where one looks changed."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: tuple[object, str] | None = None
        self._reading = Lock()

    def digest(self) -> str | None:
        if self._folder is None:
            return None
        with self._reading:  # they are long: whoever comes meanwhile waits for the same
            looks = tuple(sorted((name, _looks(path)) for name, path in base_files(self._folder).items()))
            if self._known is None or self._known[0] != looks:
                self._known = (looks, base_digest(self._folder))
            return self._known[1]

    def lineage(self) -> Lineage | None:
        return None if self._folder is None else base_lineage(self._folder)


def _looks_or_not(path: Path) -> tuple[int, ...] | None:
    try:
        return _told(path.lstat())
    except OSError:
        return None


def _looks(path: Path) -> tuple[int, ...]:
    return _told(path.stat())


def _told(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@contextmanager
def _inside(outer: OpenFolder) -> Iterator[OpenFolder]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(_ADAPTER, flags, dir_fd=outer.descriptor)
    except OSError:
        remedy = "name the folder that a training wrote"
        raise AdapterFault("folder", f"has no folder {_ADAPTER!r}, or that is a link", remedy) from None
    try:
        yield OpenFolder(descriptor)
    finally:
        os.close(descriptor)


def _text(folder: OpenFolder, name: str, most: int) -> bytes:
    with folder.open(name) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise AdapterFault(name, "is too long", f"it has at most {most} bytes")
    return data


def _copy(source: BinaryIO, target: Path, told: FileDigest) -> None:
    """Raises `AdapterFault` for a file that is not the one that was looked at."""
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        while size <= told.size and (data := source.read(_CHUNK)):
            digest.update(data)
            size += len(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if (size, digest.hexdigest()) != (told.size, told.sha256):
        raise AdapterFault(told.name, "changed while it was copied", "write it once, and then register it")
    target.chmod(_READ_ONLY_FILE)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    path.chmod(0o700)
    shutil.rmtree(path)
