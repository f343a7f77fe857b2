"""Carry changes from the database they were made in to the ledger, and back to active.

pending (one transaction with its outbox row) -> event in the ledger, carrying the row's id -> active. What was cut off
on the way, by a kill, a cancelled caller or a ledger that could not write, is finished before the next change is
carried, and at start: a change whose event is already recorded is not recorded twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from usher.audit.review import EventLog, every
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType
from usher.ports import Change, Outbox


class ChangePending(LedgerUnavailable):
    """The ledger cannot record now, and a change was already made: it is kept, and completed before the next change
    or at the next start. Until then both the old state and the new one must allow."""


class Recorder(Protocol):
    """What carrying needs of the ledger."""

    async def append(self, entries: Sequence[Entry]) -> object: ...

    async def pseudonym(self, user: str) -> str: ...


class Courier:
    """Carries changes, one batch at a time. One for each outbox."""

    def __init__(self, outbox: Outbox, ledger: Recorder, log: EventLog) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._log = log
        self._turn = asyncio.Lock()
        self._cut_off = True  # an earlier process may have left something

    async def carry(self, changes: Sequence[Change]) -> None:
        """Record the changes, then make them active. One that a later change has replaced meanwhile is left out.

        Raises `ChangePending`: they are finished before the next ones.
        """
        async with self._turn:
            try:
                async with self._outbox.turn():
                    await self._carry(changes)
            except BaseException as error:
                self._cut_off = True  # also where it was cut off while another server had its turn
                if isinstance(error, LedgerUnavailable):
                    raise ChangePending(error.reason) from error
                raise

    async def _carry(self, changes: Sequence[Change]) -> None:
        if self._cut_off:
            await self._recover()
            return
        waiting = {change.id for change in await self._outbox.pending()}
        await self._finish([change for change in changes if change.id in waiting], frozenset())

    async def recover(self) -> int:
        """Finish every change that was cut off; returns how many. Costs nothing where none was."""
        async with self._turn:
            if not self._cut_off:
                return 0
            async with self._outbox.turn():
                return await self._recover()

    async def _recover(self) -> int:
        changes = await self._outbox.pending()
        recorded: set[int] = set()
        if changes:
            await self._ledger.append([])  # in line behind an append that was given up and may yet be written
            recorded = await asyncio.to_thread(_recorded, self._log, {EventType(change.kind) for change in changes})
        await self._finish(changes, recorded)
        return len(changes)

    async def _finish(self, changes: Sequence[Change], recorded: Collection[int]) -> None:
        self._cut_off = True
        if changes:
            unrecorded = [await _entry(change, self._ledger) for change in changes if change.id not in recorded]
            await self._ledger.append(unrecorded)
            await self._outbox.finish(changes)
        self._cut_off = False


def _recorded(log: EventLog, kinds: Iterable[EventType]) -> set[int]:
    """The outbox rows that have their event in the log."""
    return {event["outbox"] for kind in kinds for event in every(log, kind) if "outbox" in event}


async def _entry(change: Change, ledger: Recorder) -> Entry:
    """The event of a change: a person appears by pseudonym, groups by their number.

    Never by name, nor by a digest of names: who may read the ledger could guess them from it.
    """
    body: dict[str, Any] = {"outbox": change.id, **_without_names(change.payload)}
    if "user" in change.payload:
        body["subject"] = await ledger.pseudonym(change.payload["user"])
    return Entry(EventType(change.kind), body=body)


def _without_names(payload: Mapping[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in payload.items() if name not in ("user", "groups")}
    if "groups" in payload:
        body["groups"] = len(payload["groups"])
    return body
