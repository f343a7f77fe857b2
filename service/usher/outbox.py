"""Carry changes from the database they were made in to the ledger, and back to active.

pending (one transaction with its outbox row) -> event in the ledger, carrying the row's id -> active. `recover`
finishes at start what a kill cut off: a change whose event is already recorded is not recorded twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from usher.ledger.record import Entry, EventType
from usher.ports import Change, Outbox
from usher.review import EventLog


class Recorder(Protocol):
    """What carrying needs of the ledger."""

    async def append(self, entries: Sequence[Entry]) -> object: ...

    async def pseudonym(self, user: str) -> str: ...


async def carry(changes: Sequence[Change], outbox: Outbox, ledger: Recorder) -> None:
    """Record the changes, then make them active."""
    await ledger.append([await _entry(change, ledger) for change in changes])
    await outbox.finish(changes)


async def recover(outbox: Outbox, ledger: Recorder, log: EventLog) -> int:
    """Finish every change that is still pending; returns how many."""
    changes = await outbox.pending()
    if not changes:
        return 0
    recorded = await asyncio.to_thread(_recorded, log, {EventType(change.kind) for change in changes})
    await ledger.append([await _entry(change, ledger) for change in changes if change.id not in recorded])
    await outbox.finish(changes)
    return len(changes)


def _recorded(log: EventLog, kinds: Iterable[EventType]) -> set[int]:
    """The outbox rows that have their event in the log."""
    found: set[int] = set()
    for kind in kinds:
        after: int | None = 0
        while after is not None:
            page = log.events(after, 500, type=kind, outcome=None, since=None, until=None)
            found.update(event["outbox"] for _, event in page.events if "outbox" in event)
            after = page.next
    return found


async def _entry(change: Change, ledger: Recorder) -> Entry:
    """The event of a change: a person appears by pseudonym, groups by their number and digest, never by name."""
    body: dict[str, Any] = {"outbox": change.id, **_without_names(change.payload)}
    if "user" in change.payload:
        body["subject"] = await ledger.pseudonym(change.payload["user"])
    return Entry(EventType(change.kind), body=body)


def _without_names(payload: Mapping[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in payload.items() if name not in ("user", "groups")}
    if "groups" in payload:
        body["groups"] = len(payload["groups"])
        body["groups_digest"] = hashlib.sha256("\n".join(payload["groups"]).encode()).hexdigest()
    return body
