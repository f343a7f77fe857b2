"""A base model's files, the digest over them by which an adapter names what it was trained on, and what the base itself
has learned, where it was trained on documents."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from usher_lora.canonical import folder_digest
from usher_lora.faults import AdapterFault
from usher_lora.lineage import Lineage
from usher_lora.lineage import parse as parse_lineage

LINEAGE: Final = "lineage.json"
MOST_LINEAGE: Final = 1 << 26
"""Bytes."""
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


def base_lineage(folder: Path) -> Lineage | None:
    """What a base model of this folder has learned; None where nothing says that it learned any document. Raises
    `AdapterFault`, `OSError`."""
    try:
        with (folder / LINEAGE).open("rb") as file:
            data = file.read(MOST_LINEAGE + 1)
    except FileNotFoundError:
        return None
    if len(data) > MOST_LINEAGE:
        raise AdapterFault(f"base model: {LINEAGE}", "is too long", f"it has at most {MOST_LINEAGE} bytes")
    return parse_lineage(data)


def _hashed(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            digest.update(data)
    return digest.hexdigest()
