"""What the service asks of the ledger's writing thread, and how it is refused."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto

from usher.ledger.log import LedgerUnavailable
from usher.ledger.writer import Receipt, Write


class Ask(Enum):
    """What is asked beside appends. `STOP` is the last order in the queue."""

    CHECKPOINT = auto()
    STOP = auto()


@dataclass(slots=True)
class Order:
    """Something asked of the writing thread, who waits for it, and until when (on the event loop's clock)."""

    what: Write | Ask
    waiter: asyncio.Future[Receipt | str]
    due: float = 0.0


def refuse(order: Order, reason: str) -> None:
    """Fail an order's caller, each with an error of its own (a shared one would gather all their tracebacks)."""
    if not order.waiter.done():
        order.waiter.set_exception(LedgerUnavailable(reason))
