"""Values as bytes in one way only, so that equal values have equal digests and no file reads in two ways.

The bytes are compact JSON in UTF-8, the fields in the order of their type, sets sorted. Bytes that are not exactly the
encoding of what they decode to are refused: a key given twice, white space or another order could read otherwise
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, TypeVar

import msgspec

from usher_lora.faults import AdapterFault

T = TypeVar("T")

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A SHA-256 in hex."""


def encode(value: object) -> bytes:
    return msgspec.json.encode(value)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def folder_digest(files: Mapping[str, str]) -> str:
    """The digest over a folder, a base model's for one: of its files' names and SHA-256, in the order of the names."""
    return sha256(encode(sorted(files.items())))


def decode(data: bytes, kind: type[T], what: str) -> T:
    """The value that these bytes are the encoding of. Raises `AdapterFault` with `what` as its field."""
    try:
        value = msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise AdapterFault(what, f"is not of its form ({error})", "take it as it was written") from None
    except (msgspec.DecodeError, RecursionError):
        raise AdapterFault(what, "is not JSON", "take it as it was written") from None
    if encode(value) != data:
        raise AdapterFault(what, "is not in its canonical form", "take it as it was written, byte by byte")
    return value


def in_order(field: str, listed: Sequence[Any]) -> None:
    """Raises `AdapterFault` unless each is less than the next: sorted, and none given twice."""
    if any(not one < other for one, other in pairwise(listed)):
        raise AdapterFault(field, "is not sorted, or repeats itself", "take it as it was written")


def foreign_json(data: bytes, field: str, remedy: str) -> dict[str, Any]:
    """A JSON object that somebody else wrote, in whatever form, but for what two readers could read in two ways: a name
    given twice, numbers that JSON does not have. Raises `AdapterFault`."""
    try:
        told = json.loads(data.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise AdapterFault(field, "is not JSON, or names something twice", remedy) from None
    if not isinstance(told, dict):
        raise AdapterFault(field, "is no mapping", remedy)
    return told


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
