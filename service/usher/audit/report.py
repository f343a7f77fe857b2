"""The report that a reviewer prints: figures over a span of the log, and how to check the log that they are of."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from usher.audit.asking import Asking, Names
from usher.audit.export import event_time
from usher.audit.export_choice import head_of, numbers_between, said
from usher.audit.export_making import BATCH, ExportLog
from usher.audit.reviewers import Reviewer
from usher.audit.unseal import UNSEAL
from usher.authority import Authority, Clock, utc_now
from usher.core.reach import Reach
from usher.core.report import page
from usher.core.report_figures import DAY, Act, Figures, Looks, Report, width_of
from usher.errors import UserError
from usher.ledger.record import EventType
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action

T = TypeVar("T")

_MARK = "mark:"
_PSEUDONYM = re.compile(r"[0-9a-f-]{36}")
_TOLD = (
    "act",
    "question",
    "version",
    "digest",
    "exchange",
    "document",
    "subject",
    "rule",
    "proposal",
    "changeset",
    "case",
    "outcome",
)
MOST_LOOKS = 100_000
"""Readings of the log, of those that name no exchange, that are counted: the newest."""


class ReportIndex(Protocol):
    """The reviewers' index, as far as a report reads it."""

    def figures(self, first: int, last: int, width: int, markings: Mapping[str, Collection[int]]) -> Figures:
        """Of the events from one number to another. Raises `IndexUnreadable`."""


@dataclass(frozen=True, slots=True)
class Span:
    """From an instant (included) to another (excluded)."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a report lists of the log's acts."""

    changes: Sequence[Act]
    break_glass: Sequence[Act]
    unseals: Sequence[Act]
    looks: Sequence[Looks]


class Reports:
    """The use case. It takes rights that reach the whole log: a figure that leaves something out is a wrong one."""

    def __init__(
        self,
        log: ExportLog,
        index: ReportIndex,
        asking: Asking,
        names: Names,
        authority: Authority,
        clock: Clock = utc_now,
    ) -> None:
        self._log, self._index, self._asking = log, index, asking
        self._names, self._authority, self._clock = names, authority, clock

    async def page(self, reviewer: Reviewer, span: Span) -> str:
        """The report as one page of HTML.

        1. the right is judged, and the question durable in the record
        2. a checkpoint is made; the figures are of events that it covers
        3. the right is judged again

        Raises `UserError`, `NotPermitted`, `LedgerUnavailable`.
        """
        asked = {"from": event_time("from", span.since), "to": event_time("to", span.until)}
        if asked["from"] and asked["to"] and asked["from"] >= asked["to"]:
            raise UserError("to", "is not after `from`", "give a later time")
        _whole(await self._asking.reviewers.judged(reviewer))
        _whole(await self._asking.reviewers.admitted(reviewer, "report", asked))
        report = await self._report(reviewer, asked["from"], asked["to"])
        _whole(await self._asking.reviewers.again(reviewer))
        return await asyncio.to_thread(page, report)

    async def _report(self, reviewer: Reviewer, since: str | None, until: str | None) -> Report:
        await self._asking.ledger.checkpoint()
        checkpoint = await self._read(self._log.newest_checkpoint)
        assert checkpoint is not None  # noqa: S101  # one was just made
        first, last = await self._read(lambda: numbers_between(self._log, checkpoint.size, since, until))
        times = [await self._time(number) for number in (first, last) if first <= last]
        width = width_of(*times) if times else DAY
        await self._asking.follower.caught_up()
        markings = await self._markings()
        figures = await self._asking.reading(lambda: self._index.figures(first, last, width, markings))
        listed = await self._read(lambda: self._listed(figures))
        report = Report(
            origin=checkpoint.note.partition("\n")[0],
            key=checkpoint.key,
            checkpoint=checkpoint.note,
            size=checkpoint.size,
            made_at=self._clock().isoformat(timespec="seconds"),
            since=since,
            until=until,
            first=first,
            last=last,
            times=(times[0], times[1]) if times else None,
            width=width,
            figures=figures,
            changes=listed.changes,
            break_glass=listed.break_glass,
            unseals=listed.unseals,
            looks=listed.looks if await self._may_review(reviewer) else None,
        )
        return await self._named(report) if reviewer.names else report

    async def _read(self, read: Callable[[], T]) -> T:
        """What the log says, beside the event loop."""
        return await self._asking.opened(asyncio.to_thread(read))

    async def _time(self, number: int) -> str:
        found = await self._read(lambda: self._log.stored(number, number))
        return head_of(found[0]).time

    async def _markings(self) -> dict[str, list[int]]:
        """The access classes that have each marking."""
        _, snapshot = await self._authority.current()
        markings: dict[str, list[int]] = {}
        for number, names in snapshot.catalog.classes.items():
            for name in names:
                if name.startswith(_MARK):
                    markings.setdefault(name, []).append(number)
        return markings

    def _listed(self, figures: Figures) -> _Listed:
        """However often the log was looked at, every other act is listed. Raises `LogFailed`."""
        events: list[Mapping[str, Any]] = []
        for first, last in _runs(sorted((*figures.acts, *figures.looks[-MOST_LOOKS:]))):
            events += [said(one) for one in self._log.stored(first, last)]
        return _Listed(
            changes=_acts(event for event in events if event["type"] == EventType.POLICY),
            break_glass=_acts(event for event in events if _alone(event)),
            unseals=_acts(event for event in events if event.get("question") == UNSEAL),
            looks=_looks(events),
        )

    async def _may_review(self, reviewer: Reviewer) -> bool:
        """Whether they may know who looked at the log."""
        try:
            return (await self._asking.reviewers.judged(replace(reviewer, right=Action.AUDIT_REVIEW))).whole
        except NotPermitted:
            return False

    async def _named(self, report: Report) -> Report:
        acts = {act.pseudonym for act in (*report.changes, *report.break_glass, *report.unseals)}
        people = await self._names.of_people(acts | {look.pseudonym for look in report.looks or ()})
        found = await self._names.of_documents(one.document for one in report.figures.documents)
        titles = {ident: f"{name.source}: {name.path}" for ident, name in found.items()}
        return replace(report, people=people, titles=titles)


def _whole(reach: Reach) -> None:
    """Raises `NotPermitted`."""
    if not reach.whole:
        problem = "reaches a part of the log, and a report is of all of it"
        raise NotPermitted("key", problem, "ask somebody whose right has no limit, or ask single questions")


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Numbers in their order, as runs of at most `BATCH`."""
    start = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1 or at - start == BATCH:
            yield numbers[start], numbers[at - 1]
            start = at


def _alone(event: Mapping[str, Any]) -> bool:
    return event.get("break_glass") is True or event.get("rule") == "break_glass"


def _acts(events: Iterable[Mapping[str, Any]]) -> list[Act]:
    return [Act(event["number"], event["time"], *_by(event), _what(event)) for event in events]


def _by(event: Mapping[str, Any]) -> tuple[str | None, str]:
    """Whose pseudonym, and in what capacity. What was carried there by the outbox says it in `by`."""
    who, by = event["who"] or {}, str(event.get("by") or "operator:")
    if not who and not by.startswith("operator:"):
        return (by, "person") if _PSEUDONYM.fullmatch(by) else (None, by)
    return who.get("pseudonym"), str(event.get("actor") or who.get("credential") or "operator")


def _what(event: Mapping[str, Any]) -> str:
    """What an event says that it was about: its ids and numbers."""
    named = {name: event[name] for name in _TOLD if isinstance(event.get(name), str | int)}
    return ", ".join([event["type"], *(f"{name} {value}" for name, value in named.items())])


def _looks(events: Iterable[Mapping[str, Any]]) -> list[Looks]:
    counted: Counter[tuple[str | None, str, str]] = Counter()
    last: dict[tuple[str | None, str, str], str] = {}
    for event in events:
        if event["type"] == EventType.AUDIT_READ:
            key = (*_by(event), str(event.get("question") or "events"))
            counted[key] += 1
            last[key] = event["time"]
    return [Looks(*key, count, last[key]) for key, count in counted.most_common()]
