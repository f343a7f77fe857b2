"""A reviewers' case: a list of numbered steps, and what may be its next one.

Values and decisions only. A case is what its steps say in order: opened, exchanges added, notes, decisions. Each step
is taken upon the version that whoever takes it has seen. Who took a step is a pseudonym, or the operator.

Whoever is the subject of an exchange in a case decides nothing in it. Anybody else with the right may, also whoever
opened it, and also that it is a violation: a decision takes nothing from anybody, it is recorded with its author, and
another may follow. A second person would only delay that a violation stands in the record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from usher.errors import UserError

MAX_EXCHANGES = 2_000
"""In one case."""
MAX_STEPS, MAX_DECIDED = 1_000, 1_100
"""Steps of one case; the last ones are for decisions alone."""
MAX_TITLE, MAX_NOTE = 200, 10_000
"""Characters."""


class Op(StrEnum):
    """What a step does."""

    OPEN = "open"
    ADD = "add"
    NOTE = "note"
    DECIDE = "decide"


class Review(StrEnum):
    """What a review comes to. The first two close a case; the last keeps it open, or opens it again."""

    FINE = "fine"
    VIOLATION = "violation"
    NEEDS_MORE = "needs_more"


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a case; `version` counts them from 1. `subjects` are those of the `exchanges` added."""

    version: int
    op: Op
    by: str
    at: datetime
    exchanges: tuple[str, ...] = ()
    review: Review | None = None
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A case after some steps. `review` is the last decision and `reviewed_by` whoever took it."""

    version: int
    opener: str
    opened_at: datetime
    exchanges: tuple[str, ...] = ()
    subjects: frozenset[str] = frozenset()
    review: Review | None = None
    reviewed_by: str | None = None

    @property
    def closed(self) -> bool:
        return self.review in (Review.FINE, Review.VIOLATION)


class Closed(UserError):
    """What is decided is not changed under its decision."""

    status = 409


class Moved(UserError):
    """Somebody has changed the case meanwhile; the message names the change."""

    status = 409


class Damaged(UserError):
    """What is stored of the case was changed by somebody else."""

    status = 409


class Erased(UserError):
    """What was typed in the case is gone, for good."""

    status = 409


class NotDecidable(UserError):
    """Not by this person, or not in this state."""

    status = 403


def case_of(steps: Sequence[Step]) -> Case:
    """What the steps make; the first opens it, each takes the next number. Raises `ValueError` for others."""
    if not steps or steps[0].op is not Op.OPEN or [s.version for s in steps] != list(range(1, len(steps) + 1)):
        raise ValueError("steps: not those of a case, from its first on")
    case = Case(1, steps[0].by, steps[0].at)
    for step in steps[1:]:
        case = _after(case, step)
    return case


def _after(case: Case, step: Step) -> Case:
    case = replace(case, version=step.version)
    if step.op is Op.ADD:
        exchanges = tuple(dict.fromkeys((*case.exchanges, *step.exchanges)))
        return replace(case, exchanges=exchanges, subjects=case.subjects.union(step.subjects))
    if step.op is Op.DECIDE:
        return replace(case, review=step.review, reviewed_by=step.by)
    return case


def check_seen(seen: int, newest: Step) -> None:
    """Raises `Moved` unless a change is made upon the newest version."""
    if seen != newest.version:
        what = f"{newest.op} by {newest.by} at {newest.at.isoformat(timespec='seconds')}"
        problem = f"is {str(seen)[:20]}, and the case is at {newest.version}: {what}"
        raise Moved("version", problem, "look at the case again, then repeat the change with its version")


def check_open(case: Case) -> None:
    """Raises `Closed` where a decision stands."""
    if case.closed:
        raise Closed("case", f"is decided ({case.review})", "decide `needs_more` to open it again")


def check_room(case: Case, most: int) -> None:
    """Raises `Closed` where a case takes no more steps: whoever reads it, or a list of cases, reads all of them."""
    if case.version >= most:
        raise Closed("case", f"has {case.version} steps", "decide it, and open another for the rest")


def newly(case: Case, audit_ids: Iterable[str]) -> tuple[str, ...]:
    """Those that are not in the case yet, each once. Raises `UserError` for more than a case takes."""
    added = tuple(dict.fromkeys(ident for ident in audit_ids if ident not in set(case.exchanges)))
    if len(case.exchanges) + len(added) > MAX_EXCHANGES:
        raise UserError("exchanges", f"would be more than {MAX_EXCHANGES}", "open another case for the rest")
    return added


def check_decision(case: Case, by: str | None, *, all_seen: bool) -> None:
    """Raises `NotDecidable`. `by` is None for whoever is no person of the record; `all_seen`: whether all of the
    case's exchanges lie within the right of whoever decides."""
    if by is None:
        raise NotDecidable("key", "is missing: a decision is a person's", "give --key, or ask over the HTTP interface")
    if by in case.subjects:
        problem = "is of somebody whose own exchange is in the case"
        raise NotDecidable("key", problem, "somebody else with audit.review decides it")
    if not case.exchanges:
        raise NotDecidable("case", "holds no exchange", "add what is to be decided on")
    if not all_seen:
        raise NotDecidable("case", "holds more than your rights cover", "somebody with wider rights decides it")


def checked_text(field: str, text: str, most: int) -> str:
    """A typed text without outer white space. Raises `UserError` if it is empty or too long."""
    text = text.strip()
    if not text:
        raise UserError(field, "is empty", "write something")
    if len(text) > most:
        raise UserError(field, f"has {len(text)} characters, more than {most}", "shorten it")
    return text
