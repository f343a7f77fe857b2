"""What may still be recorded when the storage runs short of space. Pure: no I/O.

The reserve is there for the ends of what has begun, for the refusals themselves, and for the administration that makes
room. A flood of refused questions cannot use up what administration needs: only half of it is for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from usher.ledger.exchanges import Step
from usher.ledger.log import Room
from usher.ledger.record import CHAT, EXCHANGE_TYPES, ContentRow, Entry, EventType

REFUSAL = {"outcome": "refused", "reason": "disk_reserve"}


def fits(room: Room, entries: Sequence[Entry], content: Sequence[ContentRow], step: Step) -> bool:
    """Whether an append may be recorded as it is. Short of space, what opens an exchange or goes on with one may not,
    and no document or old answer is viewed; what ends an exchange, and all else, may."""
    if room is Room.AMPLE:
        return True
    if room is Room.SCARCE and opens(step):
        return False
    touched = {entry.audit_id for entry in entries if entry.type in EXCHANGE_TYPES} | {row.audit_id for row in content}
    return touched <= set(step.closed) and all(entry.type is not EventType.VIEW for entry in entries)


def opens(step: Step) -> bool:
    """Whether an exchange begins here, also one that ends here too."""
    return bool(step.opened or step.searches)


def refusals(entries: Sequence[Entry]) -> list[Entry]:
    """The events that end the exchanges that these begin, as refused."""
    return [
        Entry(EventType.ANSWER, entry.audit_id, entry.who, REFUSAL)
        if entry.body["operation"] == CHAT
        else Entry(EventType.RETRIEVAL, entry.audit_id, entry.who, {**REFUSAL, "passages": []})
        for entry in entries
        if entry.type is EventType.REQUEST
    ]
