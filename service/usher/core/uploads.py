"""What a person may put where: documents about which one collection alone decides, under plain paths."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from enum import StrEnum

MAX_PATH = 1000


class Verdict(StrEnum):
    """Whether a person may change a document; UNKNOWN: not even know of it."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"


def sole_collection(requirements: frozenset[str]) -> str | None:
    """The `coll:` name of a document without readers and markings. The operator alone changes any other."""
    only = next(iter(requirements)) if len(requirements) == 1 else ""
    return only if only.startswith("coll:") else None


def judge(requirements: frozenset[str], readable: bool, may_ingest: Callable[[str], bool]) -> Verdict:
    """Whether somebody who may (or may not) read the document may change it: the right on its collection decides."""
    collection = sole_collection(requirements)
    if collection is not None and may_ingest(collection):
        return Verdict.ALLOWED
    return Verdict.FORBIDDEN if readable else Verdict.UNKNOWN


def document_path(text: str) -> str:
    """A relative path in its plain form, composed (NFC), such as `travel/hotels.md`. Raises `ValueError`."""
    path = unicodedata.normalize("NFC", text)
    if not 0 < len(path) <= MAX_PATH:
        raise ValueError(f"has {len(path)} characters, not 1 to {MAX_PATH}")
    if any(unicodedata.category(character)[0] == "C" for character in path):
        raise ValueError("has a control or invisible character")
    if "\\" in path or any(part.strip() in ("", ".", "..") for part in path.split("/")):
        raise ValueError("leads elsewhere, or is not in the plain form travel/hotels.md")
    return path
