"""What is told of reviewers' cases. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from usher.core.cases import Case, Op, Review, Step
from usher.ports.audit_exchanges import Exchange
from usher.ports.cases import CaseRecord


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change came to: the case's version after it. `added` are exchanges that were not in it before; `next`,
    of a query, goes into its `after` for what follows."""

    id: UUID
    version: int
    added: int = 0
    next: int | None = None


@dataclass(frozen=True, slots=True)
class StepTold:
    """`text` is null where nothing was typed, it may not be told, or it was erased; `exchanges` are those added."""

    version: int
    op: Op
    by: str
    at: datetime
    exchanges: tuple[str, ...]
    review: Review | None
    text: str | None
    user: str | None


@dataclass(frozen=True, slots=True)
class ExchangeTold:
    """An exchange of a case, as other questions tell of it."""

    audit_id: str
    number: int
    time: str
    kind: str
    pseudonym: str | None
    outcome: str | None
    user: str | None


@dataclass(frozen=True, slots=True)
class CaseTold:
    """A case as its reader gets it: `count` exchanges, which a list does not name, nor the steps. Change it with its
    `version`."""

    id: UUID
    version: int
    title: str | None
    opened_at: datetime
    opener: str
    review: Review | None
    closed: bool
    erased: bool
    count: int
    exchanges: tuple[ExchangeTold, ...] = ()
    steps: tuple[StepTold, ...] = ()


@dataclass(frozen=True, slots=True)
class CasePage:
    """Newest first. `next` goes into `after` for the page that follows; null at the end. `damaged` are cases of which
    what is stored was changed by somebody else, for whoever may know of all: nothing of them can be told."""

    cases: list[CaseTold]
    next: UUID | None
    damaged: list[UUID]


@dataclass(frozen=True, slots=True)
class Seen:
    """A case with those of its exchanges that its reader may know. `whole`: nothing in any of its exchanges is out of
    the reader's reach."""

    record: CaseRecord
    case: Case
    exchanges: tuple[Exchange, ...]
    whole: bool

    def text(self, step: Step, by: str) -> str | None:
        """What was typed at a step, for whoever typed it or may know all of the case."""
        return self.record.texts.get(step.version) if self.whole or step.by == by else None


def listed(seen: Seen, by: str) -> CaseTold:
    """A case in a list."""
    case, record = seen.case, seen.record
    return CaseTold(
        id=record.id,
        version=case.version,
        title=seen.text(record.steps[0], by),
        opened_at=case.opened_at,
        opener=case.opener,
        review=case.review,
        closed=case.closed,
        erased=record.erased,
        count=len(seen.exchanges),
    )


def told(seen: Seen, by: str, users: Mapping[str, str | None]) -> CaseTold:
    """A case with its exchanges and steps; `users` are the names behind pseudonyms."""
    near = {exchange.audit_id for exchange in seen.exchanges}
    return replace(
        listed(seen, by),
        exchanges=tuple(_exchange(exchange, users) for exchange in seen.exchanges),
        steps=tuple(_step(step, near, seen.text(step, by), users) for step in seen.record.steps),
    )


def _exchange(exchange: Exchange, users: Mapping[str, str | None]) -> ExchangeTold:
    return ExchangeTold(
        audit_id=exchange.audit_id,
        number=exchange.number,
        time=exchange.time,
        kind=exchange.kind,
        pseudonym=exchange.pseudonym,
        outcome=exchange.outcome,
        user=users.get(exchange.pseudonym or ""),
    )


def _step(step: Step, near: set[str], text: str | None, users: Mapping[str, str | None]) -> StepTold:
    added = tuple(ident for ident in step.exchanges if ident in near)
    return StepTold(step.version, step.op, step.by, step.at, added, step.review, text, users.get(step.by))
