"""Whether the record says that an act was granted: what is kept of it lies in a database that others may write to."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from usher.audit.review import EventLog, every
from usher.core import approval
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher.ports.proposals import Item

CLOCKS = timedelta(days=1)
"""How far the clocks of servers may be apart."""
_GRANTING = ("carried_out", "alone")
_log = structlog.stdlib.get_logger("usher.audit.grants")


class Grants:
    """Held against the ledger before anything is done."""

    def __init__(self, log: EventLog, ledger: Ledger) -> None:
        self._log, self._ledger = log, ledger

    async def stands(self, item: Item) -> bool:
        """Whether exactly this act was granted, by the event that says so. What was not is alarmed. Raises
        `LedgerUnavailable`."""
        same = approval.digest_of(item.kind, *(part.encode() for part in item.parts)) == item.stands.digest
        stands = same and await self._recorded(item)
        if not stands:
            _log.critical("grant_contradicts_the_record", id=str(item.id), kind=item.kind)
        return stands

    async def _recorded(self, item: Item) -> bool:
        await self._ledger.checkpoint()  # over all that came before it, and may yet wait for its place
        try:
            return await asyncio.to_thread(self._granted, item)
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error

    def _granted(self, item: Item) -> bool:
        wanted = (str(item.id), item.kind, item.stands.digest)
        return any(
            (event.get("proposal"), event.get("act_kind"), event.get("digest")) == wanted
            and event.get("act") in _GRANTING
            for event in every(self._log, EventType.APPROVAL, item.created_at - CLOCKS)
        )
