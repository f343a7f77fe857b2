"""A base model's files, and the digest over them by which an adapter names what it was trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from usher_lora.canonical import folder_digest
from usher_lora.faults import AdapterFault

_CHUNK: Final = 1 << 22


def base_files(folder: Path) -> dict[str, Path]:
    """The files of a base model by name: those of the folder itself, hidden ones left out. Raises `AdapterFault`."""
    try:
        found = {one.name: one for one in folder.iterdir() if not one.name.startswith(".") and one.is_file()}
    except OSError:
        found = {}
    if not found:
        remedy = "name the folder that holds its files, or bring it back"
        raise AdapterFault("base model", "is not there, or cannot be read", remedy)
    return found


def base_digest(folder: Path) -> str:
    """The digest over a base model's files. Reads all of them. Raises `AdapterFault`."""
    try:
        return folder_digest({name: _hashed(path) for name, path in base_files(folder).items()})
    except OSError:
        raise AdapterFault("base model", "cannot be read", "give the server the right to read its files") from None


def _hashed(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            digest.update(data)
    return digest.hexdigest()
