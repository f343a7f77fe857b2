"""What an adapter has learned, as exposures and the record name it: one id for all its documents of one access class.

An answer of an adapter has shown all that the adapter learned, which may be ten thousand documents. They are not
written out at each answer: a part stands for them, and has every access class that any of them has now.
"""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

_VERSION: Final = 8
"""Of RFC 9562, for ids of one's own making. Documents have another, so that no part is ever a document."""


def part_of(adapter: str, access_class: int) -> UUID:
    """The part of what an adapter (the digest of its identity) learned that had this access class then."""
    digest = hashlib.sha256(f"usher learned\0{adapter}\0{access_class}".encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | _VERSION << 76
    return UUID(int=number & ~(0b11 << 62) | 0b10 << 62)


def is_part(ident: UUID) -> bool:
    return ident.version == _VERSION


def names_part(document: str) -> bool:
    """Whether an id as text is that of a part."""
    return document[14:15] == str(_VERSION)
