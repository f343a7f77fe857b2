"""Tickets for WebSockets: a key's holder gets one over HTTP, and a browser puts it into the socket's address."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from usher.authority import Authority, Clock, Grant, utc_now
from usher.ports import Tickets

SECONDS = 30
"""How long a ticket can be used, once."""


class TicketOffice:
    """A ticket is no more than its key: whatever ends the key ends it too."""

    def __init__(self, tickets: Tickets, authority: Authority, clock: Clock = utc_now) -> None:
        self._tickets = tickets
        self._authority = authority
        self._clock = clock

    async def issue(self, grant: Grant) -> str:
        """A ticket (256 random bits as text) for whoever holds this grant."""
        ticket, now = secrets.token_urlsafe(32), self._clock()
        await self._tickets.put(_digest(ticket), grant.credential, now + timedelta(seconds=SECONDS), now)
        return ticket

    async def redeem(self, ticket: str) -> Grant | None:
        """What its key may do now; None for what is no ticket, or none any more. A second time there is none."""
        credential = await self._tickets.take(_digest(ticket), self._clock())
        return None if credential is None else await self._authority.admit_as(credential)


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
