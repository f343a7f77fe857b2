"""The life of an adapter as a pure function: draft, evaluated, approved, published, retired or quarantined.

An entry is a value; `step` gives the next one or says why not. Whoever keeps entries keeps what `step` gave, and
nothing else. Nobody approves what they made; what learned something that may no longer be known never serves again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from usher_lora.gates import Bounds, Outcome, judge
from usher_lora.lineage import Stale
from usher_lora.manifest import Gate


class State(StrEnum):
    """Where an adapter stands. Only a published one is served."""

    DRAFT = "draft"
    EVALUATED = "evaluated"
    APPROVED = "approved"
    PUBLISHED = "published"
    RETIRED = "retired"
    QUARANTINED = "quarantined"


class Alarm(StrEnum):
    """Why an adapter is quarantined. After `integrity` (bytes that are not those of its name) it never comes back: a
    model server may have loaded the other bytes under that name. Made or imported anew, it has another name."""

    INTEGRITY = "integrity"
    GATE = "gate"
    LINEAGE = "lineage"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class Entry:
    """One adapter in the registry. `name` is its served name, so every digest of it; `author` and `approver` are
    pseudonyms; `alarm` is set while it is quarantined, `stale` once something that it learned has gone."""

    name: str
    author: str
    state: State = State.DRAFT
    gate: Gate | None = None
    approver: str | None = None
    alarm: Alarm | None = None
    stale: tuple[Stale, ...] = ()

    @property
    def served(self) -> bool:
        return self.state is State.PUBLISHED


@dataclass(frozen=True, slots=True)
class Evaluate:
    """The gate has been run; its figures are judged by the bounds that it names."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class Approve:
    """`by` takes it on; `bounds` are those in force."""

    by: str
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Publish:
    """It is to be served; `bounds` are those in force."""

    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Retire:
    """It is to be served no more."""


@dataclass(frozen=True, slots=True)
class GoStale:
    """Something that it learned may no longer be known."""

    causes: tuple[Stale, ...]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Stop it everywhere, now."""

    alarm: Alarm


@dataclass(frozen=True, slots=True)
class Reopen:
    """Let it begin again, as a draft without gate or approval."""

    by: str


Step = Evaluate | Approve | Publish | Retire | GoStale | Quarantine | Reopen


@dataclass(frozen=True, slots=True)
class Refused:
    """`problem` follows "the adapter", `remedy` is what to do."""

    problem: str
    remedy: str


def step(entry: Entry, taken: Step) -> Entry | Refused:
    """The entry after a step, or why it cannot be taken. Equal arguments give equal results."""
    match taken:
        case Quarantine(alarm):
            return _quarantined(entry, alarm)
        case GoStale(causes):
            return _stale(entry, causes)
        case Evaluate(gate):
            return _evaluated(entry, gate)
        case Approve(by, bounds):
            return _approved(entry, by, bounds)
        case Publish(bounds):
            return _published(entry, bounds)
        case Retire():
            return _retired(entry)
        case Reopen(by):
            return _reopened(entry, by)
        case _:
            assert_never(taken)


def _quarantined(entry: Entry, alarm: Alarm) -> Entry:
    """From any state, for any reason. The gravest reason stays: `integrity` is never replaced."""
    graver = Alarm.INTEGRITY if Alarm.INTEGRITY in (entry.alarm, alarm) else alarm
    return replace(entry, state=State.QUARANTINED, alarm=graver)


def _stale(entry: Entry, causes: tuple[Stale, ...]) -> Entry | Refused:
    """It is retired, whatever it was; a quarantined one stays that, and stale."""
    if not causes:
        return Refused("has learned nothing of what went", "name what went")
    state = State.QUARANTINED if entry.state is State.QUARANTINED else State.RETIRED
    return replace(entry, state=state, stale=tuple(sorted({*entry.stale, *causes})))


def _evaluated(entry: Entry, gate: Gate) -> Entry | Refused:
    """A gate that was not passed is kept too: it says why the adapter stays a draft."""
    if entry.state not in (State.DRAFT, State.EVALUATED):
        return Refused(f"is {entry.state}", "evaluate a draft, or reopen it first")
    if gate.adapter != entry.name:
        return Refused("is not the one that the gate was run on", "evaluate this one: its name holds its digests")
    if gate.verdict != judge(gate.bounds, gate.measured):
        return Refused("has a verdict that its figures do not give", "evaluate it anew")
    state = State.EVALUATED if gate.verdict.outcome is Outcome.PASSED else State.DRAFT
    return replace(entry, state=state, gate=gate)


def _approved(entry: Entry, by: str, bounds: Bounds) -> Entry | Refused:
    if entry.state is not State.EVALUATED:
        return Refused(f"is {entry.state}", "evaluate it, and pass the gate, before it is approved")
    if by == entry.author:
        return Refused("is to be approved by who made it", "let somebody else with adapter.approve look at it")
    return _not_fit(entry, bounds) or replace(entry, state=State.APPROVED, approver=by)


def _published(entry: Entry, bounds: Bounds) -> Entry | Refused:
    if entry.state is not State.APPROVED or entry.approver is None:
        return Refused(f"is {entry.state}", "have it approved before it is published")
    return _not_fit(entry, bounds) or replace(entry, state=State.PUBLISHED)


def _retired(entry: Entry) -> Entry | Refused:
    if entry.state in (State.RETIRED, State.QUARANTINED):
        return Refused(f"is {entry.state}", "leave it: it serves nobody")
    return replace(entry, state=State.RETIRED)


def _reopened(entry: Entry, by: str) -> Entry | Refused:
    if entry.state not in (State.RETIRED, State.QUARANTINED):
        return Refused(f"is {entry.state}", "go on from there")
    if entry.stale:
        return Refused("learned what may no longer be known", "train another one on what is there now")
    if entry.alarm is Alarm.INTEGRITY:
        return Refused("was found with other bytes under its name", "train or import it anew: it gets another name")
    if by == entry.author:
        return Refused("is to be reopened by who made it", "let somebody else with adapter.approve look at it")
    return Entry(entry.name, entry.author)


def _not_fit(entry: Entry, bounds: Bounds) -> Refused | None:
    """Whether something speaks against it by the bounds of now: they may be tighter than those it passed by."""
    if entry.stale:
        return Refused("learned what may no longer be known", "train another one on what is there now")
    if entry.gate is None or entry.gate.adapter != entry.name:
        return Refused("has passed no gate", "evaluate it")
    verdict = judge(bounds, entry.gate.measured)
    if verdict.outcome is not Outcome.PASSED:
        return Refused(f"does not pass the gate of now ({verdict.reasons[0]})", "train a better one, or see gates.yaml")
    return None
