"""A folder whose files are read at a pace that leaves the disk to others. For a thread of its own: it sleeps."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

from usher_lora.adapter_files import OpenFolder
from usher_lora.weights import Member

PIECE: Final = 1 << 20
"""Bytes between two pauses."""


class PacedFolder:
    """The `AdapterFolder` over another one, at `pace` bytes a second."""

    def __init__(self, folder: OpenFolder, pace: int) -> None:
        self._folder, self._pace = folder, pace

    def members(self) -> Iterator[Member]:
        return self._folder.members()

    def open(self, name: str) -> BinaryIO:
        # A BufferedReader is a BinaryIO in all but its declared type.
        return cast(BinaryIO, io.BufferedReader(_Paced(self._folder.open(name), self._pace), PIECE))


class _Paced(io.RawIOBase):
    def __init__(self, file: BinaryIO, pace: int) -> None:
        super().__init__()
        self._file, self._pace = file, pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast(bytearray, buffer))
        data = self._file.read(min(len(view), PIECE))
        view[: len(data)] = data
        time.sleep(len(data) / self._pace)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
