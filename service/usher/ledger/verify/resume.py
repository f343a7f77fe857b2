"""Where a verification stands, in a small file, so that the next one goes on from there."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from usher.ledger.verify.content import Ring
from usher.ledger.verify.notes import Note
from usher.ledger.verify.tree import Roots

VERSION = 1
_BEGINNING = b'{"version":'
"""Of the file, whatever else is damaged in it."""
_SECONDS = 2.0
"""How often where a verification stands is kept, at most."""


class NotUsable(Exception):
    """The saved state cannot be gone on from; the message says why."""


class Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was known after the first `size` events, at a stored checkpoint whose root held.

    `order` and `content` are the checks' own. `held` is a digest of the held checkpoints that were compared before.
    `mac` is by the key ring, where there was one: without it, whoever can write the file decides what is skipped.
    """

    version: int
    origin: str
    size: int
    edge: str
    checkpoint: str
    order: dict[str, Any]
    content: dict[str, Any]
    held: str
    mac: str = ""

    def roots(self) -> Roots:
        """Raises `ValueError`."""
        return Roots.of(self.size, bytes.fromhex(self.edge))


def load(path: Path, ring: Ring | None) -> Saved | None:
    """What is saved, None where nothing is yet. Raises `NotUsable`."""
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=Saved)
        saved.roots()
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise NotUsable(f"it is damaged, or no saved verification ({type(error).__name__})") from None
    if saved.version != VERSION:
        raise NotUsable("it is of another version")
    if ring is not None and not hmac.compare_digest(_mac(saved, ring), saved.mac):
        raise NotUsable("it was not written with this key ring")
    return saved


def save(path: Path, saved: Saved, ring: Ring | None) -> None:
    """Put it in the file's place, whole or not at all; never in that of a file of another kind, such as the ledger's.
    Raises `OSError`."""
    with suppress(FileNotFoundError), path.open("rb") as there:
        if there.read(len(_BEGINNING)) not in (b"", _BEGINNING):
            raise FileExistsError(errno.EEXIST, "what is there is no saved verification: name another file")
    if ring is not None:
        saved = msgspec.structs.replace(saved, mac=_mac(saved, ring))
    beside = path.with_name(path.name + ".new")
    beside.touch(0o600)
    with beside.open("wb") as file:
        file.write(msgspec.json.encode(saved))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


class Keeper:
    """Keeps where a verification stands; does nothing without a file."""

    def __init__(self, path: Path | None, ring: Ring | None, *, at_once: bool) -> None:
        """`at_once`: as it goes on, so that one that is cut off can be gone on with; else only a whole one."""
        self._path, self._ring, self._at_once = path, ring, at_once
        self._taken: Saved | None = None
        self._when = 0.0
        self.problem: str | None = None

    def due(self, *, last: bool) -> bool:
        """Whether to take where it stands; at the `last` chance, always."""
        return self._path is not None and (last or time.monotonic() - self._when > _SECONDS)

    def take(self, saved: Saved) -> None:
        self._taken, self._when = saved, time.monotonic()
        if self._at_once:
            self.write(whole=False)

    def write(self, whole: bool) -> None:
        """Write what was taken last, if it may be written yet."""
        if self._path is None or self._taken is None or not (whole or self._at_once):
            return
        try:
            save(self._path, self._taken, self._ring)
        except OSError as error:
            self.problem = error.strerror or type(error).__name__
        self._taken = None


def digest_of(notes: Iterable[Note]) -> str:
    """A digest of checkpoints, for one to say that these are those."""
    claims = "".join(f"{note.size} {note.root.hex()}\n" for note in notes)
    return hashlib.sha256(claims.encode()).hexdigest()


def _mac(saved: Saved, ring: Ring) -> str:
    text = msgspec.json.encode(msgspec.structs.replace(saved, mac=""))
    return ring.tail_mac(b"usher saved verification\n" + text).hex()
