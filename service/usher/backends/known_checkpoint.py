"""The newest checkpoint, kept beside the key ring: what an older copy of the data folder does not have."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from usher.backends.checkpoint_sink import SinkFailed
from usher.errors import UserError


class KnownCheckpoint:
    """A file that holds one signed note. It lies where the key ring does, so no backup of the data folder brings back
    an older one."""

    def __init__(self, keyring: Path) -> None:
        self.path = keyring.with_name(f"{keyring.name}.checkpoint")

    def read(self) -> str | None:
        """The note, or None where none was kept yet. Raises `UserError`."""
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            problem = f"has a kept checkpoint beside it ({self.path}) that cannot be read ({type(error).__name__})"
            raise UserError("USHER_KEYRING", problem, "make it readable, or move it away") from None

    def keep(self, note: str) -> None:
        """Put a newer note in its place, durably, whole or not at all. Raises `SinkFailed`."""
        # Servers may share a folder. It is named as no draft of a key ring is: those are overwritten by the next one.
        draft = self.path.with_name(f"{self.path.name}.{os.urandom(6).hex()}.draft")
        try:
            _write(draft, note)
            draft.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise SinkFailed(f"cannot be kept beside the key ring ({error.strerror})") from error


def _write(path: Path, note: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
