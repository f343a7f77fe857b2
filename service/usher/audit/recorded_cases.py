"""Cases held against the record: what stands of them beside it lies in a database that others may write to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import structlog

from usher.audit.recorded_events import GrowingLog, RecordedEvents
from usher.audit.review import Event
from usher.core.cases import Step
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher.ports import Change
from usher.ports.cases import CaseRecord, CaseStore

Settle = Callable[[], Awaitable[object]]
_log = structlog.stdlib.get_logger("usher.audit.cases")


@dataclass(frozen=True, slots=True)
class _Said:
    """What an event says of a step; `typed`: whether anything was."""

    op: str
    by: str
    exchanges: tuple[str, ...]
    review: str | None
    typed: bool

    @classmethod
    def of(cls, event: Event) -> Self:
        """Raises `KeyError`, `TypeError`."""
        typed = event["commitment"] is not None
        return cls(event["op"], event["by"], tuple(event["exchanges"]), event["review"], typed)

    def is_that(self, step: Step) -> bool:
        said = (step.op.value, step.by, step.exchanges, step.review and step.review.value)
        return said == (self.op, self.by, self.exchanges, self.review)


class RecordedCases:
    """A `CaseStore` over another one: a case whose steps are not those of the record, or that is there no more, is
    damaged. Each event is read once, the first time all of the log. Readings raise `LedgerUnavailable`."""

    def __init__(self, store: CaseStore, log: GrowingLog, ledger: Ledger, settle: Settle) -> None:
        """`settle` finishes what was recorded and is not active yet."""
        self._store, self._ledger, self._settle = store, ledger, settle
        self._said: dict[UUID, dict[int, _Said]] = {}
        self._events = RecordedEvents(log, EventType.CASE, self._take)

    async def open(self, case: UUID, step: Step, title: str) -> Change:
        return await self._store.open(case, step, title)

    async def put(self, case: UUID, step: Step, text: str | None, count: int) -> Change | Step | None:
        return await self._store.put(case, step, text, count)

    async def read(self, case: UUID) -> CaseRecord | None:
        async def look() -> list[CaseRecord]:
            found = await self._store.read(case)
            await self._events.read()
            if found is None:
                return [_damaged(case)] if case in self._said else []
            return [self._held(found, titles_only=False)]

        return next(iter(await self._settled(look)), None)

    async def page(self, before: UUID | None, limit: int) -> list[CaseRecord]:
        """Those too that are there no more."""

        async def look() -> list[CaseRecord]:
            found = await self._store.page(before, limit)
            await self._events.read()
            after = found[-1].id if len(found) == limit else UUID(int=0)
            there = {record.id for record in found}
            gone = [
                case for case in self._said if case not in there and after < case and not (before and case >= before)
            ]
            held = [self._held(record, titles_only=True) for record in found]
            return sorted([*held, *map(_damaged, gone)], key=lambda record: record.id, reverse=True)

        return await self._settled(look)

    async def _settled(self, look: Callable[[], Awaitable[list[CaseRecord]]]) -> list[CaseRecord]:
        """What is found, once all that is on its way has arrived, if something does not fit."""
        found = await look()
        if any(record.damaged for record in found):
            await self._settle()
            await self._ledger.checkpoint()
            found = await look()
            if damaged := [str(record.id) for record in found if record.damaged]:
                _log.critical("cases_contradict_the_record", ids=damaged)
        return found

    def _held(self, record: CaseRecord, *, titles_only: bool) -> CaseRecord:
        said = self._said.get(record.id, {})
        whole = said.keys() == {step.version for step in record.steps}
        if not whole or not all(said[step.version].is_that(step) for step in record.steps):
            return _damaged(record.id)
        typed = {version for version, one in said.items() if one.typed and (version == 1 or not titles_only)}
        kept = record.erased or typed <= record.texts.keys()
        return record if kept and not record.damaged else _damaged(record.id)

    def _take(self, event: Event) -> None:
        try:
            case, version, said = UUID(event["case"]), int(event["version"]), _Said.of(event)
        except (KeyError, TypeError, ValueError, AttributeError):  # no server writes such a one
            _log.critical("case_event_is_not_understood", number=event["number"])
        else:
            self._said.setdefault(case, {}).setdefault(version, said)


def _damaged(case: UUID) -> CaseRecord:
    return CaseRecord(case, (), {}, damaged=True)
