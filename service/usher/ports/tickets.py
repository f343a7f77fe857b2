"""One-use tickets: what opens a WebSocket in a browser, which can send no header with it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from usher.core.standing import Credential


class Tickets(Protocol):
    """Only digests are stored, and a credential's public id: what it may do is judged when the ticket is used."""

    async def put(self, digest: bytes, credential: Credential, expires_at: datetime, now: datetime) -> None:
        """Keep a ticket, and forget those that have expired."""

    async def take(self, digest: bytes, now: datetime) -> Credential | None:
        """Whose ticket it is; None if there is none, or it has expired. To each ticket, one call gets an answer."""
