"""Exchanges whose server was lost: the ledger has ended them, and their conversations do not know it yet."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from usher.ledger.log import LogFailed
from usher.ports import ConversationIndex

EVERY_SECONDS = 10.0
_log = structlog.stdlib.get_logger("usher.interrupted")


class OpenExchanges(Protocol):
    """The log's own read."""

    def open_exchanges(self) -> frozenset[str]:
        """The chats that some server answers now, by audit id. Raises `LogFailed`."""


async def end_interrupted(index: ConversationIndex, log: OpenExchanges) -> int:
    """Give the outcome `interrupted` to those that no server answers any more; returns how many. Raises `LogFailed`.

    An exchange is in the ledger before it is in its conversation, and has ended there first. So one that was seen
    without an outcome, and after that is not open in the ledger, is not being answered; should its end be on the way
    from there, that is written over this.
    """
    waiting = await index.unended()
    if not waiting:
        return 0
    still = await asyncio.to_thread(log.open_exchanges)
    return await index.interrupted([ident for ident in waiting if str(ident) not in still])


async def keep_ending(index: ConversationIndex, log: OpenExchanges) -> None:
    """The same again and again: other servers on the same ledger may be lost while this one runs."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await end_interrupted(index, log)
        except LogFailed as error:
            _log.warning("interrupted_unknown", problem=str(error))
        except Exception:
            _log.exception("interrupted_unknown")
