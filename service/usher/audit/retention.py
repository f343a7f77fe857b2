"""Retention: what the rules of the active policy let go is dropped, in small steps, each with its event.

Of what is dropped its leaves stay, and its commitments; its text goes, in the log with the commit of the event that
names it, beside the log right after that. What a hold covers stays. A run that was cut off is gone on with by the next.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from usher.audit.holds import Holds
from usher.audit.kept import Recorded, Records
from usher.audit.recorded_rules import RecordedRules
from usher.audit.reviewers import Reviewer, Reviewers
from usher.authority import Authority, Clock, utc_now
from usher.core.holds import Hold
from usher.core.retention import Item, Retention, Rule, judge, jumped
from usher.ledger.record import ContentRow, Entry, EventType, is_dropped, uuid7
from usher.ledger.sequencer import Ledger
from usher.ports.holds import RetentionStore

EVERY = timedelta(days=1)
LOOK = 900.0
"""Seconds between two looks of the daily task at whether it is time; the first comes after `SETTLED`."""
SETTLED = 60.0
SERVER = "server"

_log = structlog.stdlib.get_logger("usher.audit.retention")


@dataclass(slots=True)
class Gone:
    """What one rule let go, of one type: how many, and when the oldest and the newest of it happened."""

    rule: str
    type: str
    count: int
    oldest: datetime
    newest: datetime


@dataclass(slots=True)
class Report:
    """`held` counts what is over its time and stays because of a hold."""

    dry_run: bool
    looked_at: int = 0
    held: int = 0
    gone: dict[tuple[str, str], Gone] = field(default_factory=dict)

    def add(self, rule: Rule, item: Item) -> None:
        key = (rule.name, item.type.value)
        one = self.gone.setdefault(key, Gone(*key, 0, item.at, item.at))
        one.count += 1
        one.oldest, one.newest = min(one.oldest, item.at), max(one.newest, item.at)

    def as_event(self) -> dict[str, Any]:
        gone = [asdict(self.gone[key]) for key in sorted(self.gone)]
        times = [one | {name: one[name].isoformat() for name in ("oldest", "newest")} for one in gone]
        return {
            "event": "report",
            "dry_run": self.dry_run,
            "looked_at": self.looked_at,
            "held": self.held,
            "gone": times,
        }


@dataclass(frozen=True, slots=True)
class _Run:
    """One walk over the log: for what it reports, or (with an `id`) by whom it is made."""

    report: Report
    actor: str = ""
    id: str = ""
    gently: bool = False


@dataclass(frozen=True, slots=True)
class _Going:
    """What goes now, by which rule: exchanges that still have text, with the positions of its rows, and feedback that
    still has words."""

    exchanges: tuple[tuple[Rule, Item, tuple[int, ...]], ...]
    feedback: tuple[tuple[Rule, Item], ...]
    held: int
    version: int

    @property
    def all(self) -> list[tuple[Rule, Item]]:
        return [*((rule, item) for rule, item, _ in self.exchanges), *self.feedback]

    def __bool__(self) -> bool:
        return bool(self.exchanges or self.feedback)


class RetentionRuns:
    """The use case. Raises `LedgerUnavailable`, `RulesContradict`; what was let go until then is recorded, and gone."""

    def __init__(
        self,
        ledger: Ledger,
        authority: Authority,
        records: Records,
        store: RetentionStore,
        holds: Holds,
        reviewers: Reviewers,
        recorded: RecordedRules,
        clock: Clock = utc_now,
    ) -> None:
        self._ledger, self._authority, self._records, self._recorded = ledger, authority, records, recorded
        self._store, self._holds, self._reviewers, self._clock = store, holds, reviewers, clock
        self._turn = asyncio.Lock()

    async def run(self, actor: str, *, gently: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Let go what is over its time; progress as it goes (`done` of about `total` events), then the report. `gently`
        pauses after each step as long as it took. One run at a time."""
        async with self._turn:
            await self._recover()
            await self._holds.settle()
            async for event in self._walk(_Run(Report(dry_run=False), actor, uuid7(), gently)):
                yield event
            await self._store.overwritten()
            await self._store.ran(self._clock())

    async def preview(self, by: Reviewer) -> AsyncIterator[dict[str, Any]]:
        """What a run would let go now. That it was asked is recorded."""
        await self._reviewers.admitted(by, "retention", {})
        async for event in self._walk(_Run(Report(dry_run=True))):
            yield event

    async def daily(self) -> None:
        """A run a day, for ever, and first of all what an earlier process left undone. One that fails is logged, and
        made again at the next look. None is made where the clock has jumped ahead."""
        await asyncio.sleep(SETTLED)
        while True:
            try:
                async with self._turn:
                    await self._recover()
                if await self._is_time():
                    async for _ in self.run(SERVER, gently=True):
                        pass
            except Exception as error:  # whatever it is, the next may succeed
                _log.error("retention_failed", error=type(error).__name__)
            await asyncio.sleep(LOOK)

    async def _is_time(self) -> bool:
        """Where the clock may have jumped it never is, until the operator has made a run."""
        last, now = await self._store.last_run(), self._clock()
        if jumped(now, last):
            _log.critical("retention_waits_for_the_operator", last_run=last, now=now)
            return False
        return last is None or not timedelta() <= now - last < EVERY

    async def _walk(self, run: _Run) -> AsyncIterator[dict[str, Any]]:
        _, documents = await self._authority.documents()
        days = documents.retention.shortest
        if days is not None:
            now = self._clock()  # of the whole run: should the clock jump meanwhile, it does not follow
            total = await self._ledger_size()
            async for done, found in self._records.pages(now - timedelta(days=days)):
                began = time.monotonic()
                run.report.looked_at += len(found)
                await self._step(run, found, now)
                yield {"event": "progress", "done": done, "total": max(total, done)}
                if run.gently:
                    await asyncio.sleep(time.monotonic() - began)
        yield run.report.as_event()

    async def _step(self, run: _Run, found: Sequence[Recorded], now: datetime) -> None:
        """One page. What would go is judged once more where no hold can come between, and dropped there."""
        going = await self._going(found, now)
        if going and not run.report.dry_run:
            async with self._holds.gate():
                going = await self._going(found, now)
                if going:
                    await self._drop(going, run)
        run.report.held += going.held
        for rule, item in going.all:
            run.report.add(rule, item)

    async def _going(self, found: Sequence[Recorded], now: datetime) -> _Going:
        versions, documents = await self._authority.documents()
        retention = documents.retention & await self._recorded.retention(versions.in_force(now))
        holds = await self._holds.binding()
        judged = [one for one in await self._records.judged(found) if one.told]
        over = [(one, judge(one.exchange, retention, holds, now)) for one in judged]
        leaving = {one.exchange.id: verdict.rule for one, verdict in over if verdict.goes}
        rows = await self._rows([one.exchange.id for one, verdict in over if verdict.rule and not one.dropped])
        exchanges = tuple(
            (rule, one.exchange, rows[one.exchange.id])
            for one in judged
            if (rule := leaving.get(one.exchange.id)) is not None and one.exchange.id in rows
        )
        feedback = tuple(
            (rule, item)
            for one in judged
            for item in one.feedback
            if (rule := leaving.get(one.exchange.id) or _rule(item, retention, holds, now)) is not None
        )
        held = sum(bool(verdict.holds) and one.exchange.id in rows for one, verdict in over)
        return _Going(exchanges, feedback, held, versions.in_force(now))

    async def _rows(self, exchanges: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """The positions of the rows of each exchange that still has text."""
        return await self._ledger.contents(exchanges, _with_text)

    async def _drop(self, going: _Going, run: _Run) -> None:
        counted = Counter(rule.name for rule, _ in going.all)
        body = {
            "actor": run.actor,
            "run": run.id,
            "policy_version": going.version,
            "rules": dict(sorted(counted.items())),
            "exchanges": [item.id for _, item, _ in going.exchanges],
            "feedback": [item.id for _, item in going.feedback],
        }
        rows = [(item.id, position) for _, item, positions in going.exchanges for position in positions]
        receipt = await self._ledger.append([Entry(EventType.RETENTION, body=body)], dropped=rows)
        await self._forget(receipt.numbers[-1] if receipt.numbers else 0, body)  # its number may come later

    async def _recover(self) -> None:
        """Forget what an event says is gone, and was cut off before it was forgotten."""
        size = await self._ledger_size()
        async for number, event in self._records.of_type(EventType.RETENTION, await self._store.forgotten()):
            await self._forget(number, event)
        await self._store.forget(size, [], [], self._clock())  # up to here nobody need look again

    async def _forget(self, number: int, event: Any) -> None:
        exchanges, feedback = ([UUID(ident) for ident in event[name]] for name in ("exchanges", "feedback"))
        await self._store.forget(number, exchanges, feedback, self._clock())

    async def _ledger_size(self) -> int:
        receipt = await self._ledger.checkpoint()
        return int(receipt.split("\n")[1])


def _with_text(contents: dict[str, tuple[ContentRow, ...]]) -> dict[str, tuple[int, ...]]:
    kept = {ident: [row.position for row in rows if not is_dropped(row.ciphertext)] for ident, rows in contents.items()}
    return {ident: tuple(positions) for ident, positions in kept.items() if positions}


def _rule(item: Item, retention: Retention, holds: Sequence[Hold], now: datetime) -> Rule | None:
    verdict = judge(item, retention, holds, now)
    return verdict.rule if verdict.goes else None
