"""Places in a person's own list, as text that a client keeps: made by this server for that person, or refused."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from usher.errors import UserError

Digest = Callable[[str], bytes]
"""A keyed digest under a key of the person's own."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE, _MAC = 24, 18
"""Bytes."""


def cursor_of(digest: Digest, instant: datetime, ident: UUID) -> str:
    """The place of an item in a list that is ordered by instant and id."""
    micros = (instant - _EPOCH) // timedelta(microseconds=1)
    place = micros.to_bytes(8, "big") + ident.bytes
    return urlsafe_b64encode(place + _mac(digest, place)).decode()


def place_of(digest: Digest, cursor: str) -> tuple[datetime, UUID]:
    """The inverse. Raises `UserError` for whatever `cursor_of` did not make with this digest."""
    try:
        raw = urlsafe_b64decode(cursor)
    except ValueError:
        raw = b""
    place, mac = raw[:_PLACE], raw[_PLACE:]
    if not hmac.compare_digest(mac, _mac(digest, place)):
        raise UserError("after", "is no place in your list", "give `next` of the page before, or leave it out")
    return _EPOCH + timedelta(microseconds=int.from_bytes(place[:8], "big")), UUID(bytes=place[8:])


def _mac(digest: Digest, place: bytes) -> bytes:
    return digest(f"place in a list {place.hex()}")[:_MAC]
