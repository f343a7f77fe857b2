"""What an event says of who was shown what: rows for the reviewers' index, made of one event alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from usher.core.learned import part_of
from usher.ledger.record import EventType

LEARNED = "learned"
"""The `act` of the events that say which documents an adapter was trained on, before it is registered."""
VIEW = "view"
"""The kind of an entry that is a view; others are of their request's `operation`."""
Ref = str | int
"""An exchange by its audit id, or a view by its event's number."""

_NO_DENIAL = frozenset(
    {"answered", "no_answer", "found", "nothing", "cancelled", "interrupted", "failed", "unrecorded"}
    | {"model_unavailable", "conversation_deleted", "not_asked"}
)
"""Outcomes that are no denial. An outcome that is not known here counts as one: it is rather listed than missed."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An exchange (by its request) or a view. `time` is as in the event, `roles` as they were evaluated."""

    number: int
    kind: str
    audit_id: str | None
    time: str
    pseudonym: str | None
    roles: tuple[str, ...]
    policy_version: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """Event `number` is of this exchange or view, or about it."""

    of: Ref
    number: int


@dataclass(frozen=True, slots=True)
class Act:
    """Any other event: who acted, and whom, which document and which exchange it is about, as far as it says so."""

    number: int
    type: str
    pseudonym: str | None
    subject: str | None
    document: str | None
    access_class: int | None
    break_glass: bool
    exchange: str | None


@dataclass(frozen=True, slots=True)
class Decided:
    audit_id: str
    effect: str
    reason: str
    policy_version: int | None
    route: str | None


@dataclass(frozen=True, slots=True)
class Generated:
    audit_id: str
    model: str | None
    adapter: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of an exchange so far: that of its last event that has one."""

    audit_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The event that denied or refused an exchange. One that is refused for two reasons keeps the first."""

    audit_id: str
    number: int
    reason: str
    action: str | None
    object: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One passage of an exchange, or one document or passage of a view. `number` is its event's, in which
    `position` counts from 1. `in_prompt` is None for a view."""

    of: Ref
    number: int
    position: int
    document: str
    version: int | None
    chunk: str | None
    access_class: int | None
    rank: int | None
    in_prompt: bool | None


@dataclass(frozen=True, slots=True)
class Cited:
    """Of an exchange: the ranks of the passages that its answer cites."""

    audit_id: str
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Inherits:
    """`of` had an earlier exchange in its prompt, or shows it again: what that showed, it shows too."""

    of: Ref
    earlier: str


@dataclass(frozen=True, slots=True)
class Learned:
    """An adapter was trained on this version of a document: whatever shows the part shows it (`core/learned.py`)."""

    document: str
    part: str
    version: int


Row = Begun | Decided | Generated | Outcome | Denied | Shown | Cited | Inherits | Step | Act | Learned


def rows_of(event: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of one event, in the order in which they are to be stored.

    A conversation's name and its place in a list are no exposure here: a view of these alone is an entry that shows
    nothing. Raises `KeyError`, `TypeError` or `ValueError` for an event that this release does not understand.
    """
    make = _ROWS.get(event["type"])
    if make is None:
        yield _act(event)
        yield from _learned(event)
        return
    yield from make(event)
    yield Step(_entry(event), event["number"])


def _entry(event: Mapping[str, Any]) -> Ref:
    """What the event is of; feedback is about an exchange."""
    of: Ref = event["exchange"] if event["type"] == EventType.FEEDBACK else event["audit_id"] or event["number"]
    return of


def _act(event: Mapping[str, Any]) -> Act:
    who, access_class = event["who"] or {}, event.get("access_class")
    return Act(
        event["number"],
        event["type"],
        who.get("pseudonym"),
        _id(event.get("subject")),
        _id(event.get("document")),
        access_class if isinstance(access_class, int) else None,
        event.get("break_glass") is True or event.get("rule") == "break_glass",
        _id(event.get("exchange")),
    )


def _learned(event: Mapping[str, Any]) -> Iterator[Row]:
    if event["type"] == EventType.ADAPTER and event.get("act") == LEARNED:
        adapter = event["adapter"].rpartition("@sha256:")[2]
        parts = {number: str(part_of(adapter, number)) for number in {one[2] for one in event["documents"]}}
        for document, version, access_class in event["documents"]:
            yield Learned(document, parts[access_class], version)


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _request(event: Mapping[str, Any]) -> Iterator[Row]:
    """A question that is asked once more inherits what the exchange has shown that it is of."""
    yield _begun(event, event["operation"], event["audit_id"])
    yield from _inherited(event["audit_id"], [event.get("asks_again")])


def _begun(event: Mapping[str, Any], kind: str, audit_id: str | None) -> Begun:
    who = event["who"] or {}
    place = (event["number"], kind, audit_id, event["time"])
    return Begun(*place, who.get("pseudonym"), tuple(who.get("roles", ())), event.get("policy_version"))


def _decision(event: Mapping[str, Any]) -> Iterator[Row]:
    audit_id, effect, reason = event["audit_id"], event["effect"], event["reason"]
    yield Decided(audit_id, effect, reason, event.get("policy_version"), (event.get("route") or {}).get("kind"))
    if effect != "allow":
        yield Denied(audit_id, event["number"], reason, event.get("action"), event.get("object"))


def _retrieval(event: Mapping[str, Any]) -> Iterator[Row]:
    """What an adapter has learned (`core/learned.py`) stands after the passages."""
    yield from _outcome(event)
    for position, passage in enumerate([*event["passages"], *(event.get("documents") or ())], 1):
        yield _shown(event["audit_id"], event["number"], position, passage)


def _shown(of: Ref, number: int, position: int, passage: Mapping[str, Any]) -> Shown:
    return Shown(
        of,
        number,
        position,
        passage["document"],
        passage.get("version"),
        passage.get("chunk"),
        passage.get("access_class"),
        passage.get("rank"),
        passage.get("in_prompt"),
    )


def _generation(event: Mapping[str, Any]) -> Iterator[Row]:
    """One that rewrites the question counts too: what it held came by way of the question into the search."""
    audit_id = event["audit_id"]
    if event.get("purpose") == "answer":
        yield Generated(audit_id, event.get("gen_ai.request.model"), _name(event.get("adapter")))
    yield from _inherited(audit_id, [*(event.get("history") or ()), *(event.get("leaned_on") or ())])


def _name(adapter: Any) -> str | None:
    """The name that it was served by: the policy's with the digest of all that it was."""
    if isinstance(adapter, Mapping):
        return f"{adapter['name']}@sha256:{adapter['digest']}"
    return None if adapter is None else str(adapter)


def _inherited(of: Ref, history: Sequence[str | None]) -> Iterator[Row]:
    for earlier in dict.fromkeys(history):
        if earlier is not None:  # a placeholder showed nothing
            yield Inherits(of, earlier)


def _answer(event: Mapping[str, Any]) -> Iterator[Row]:
    yield from _outcome(event)
    if ranks := event.get("cited"):
        yield Cited(event["audit_id"], tuple(ranks))


def _outcome(event: Mapping[str, Any]) -> Iterator[Row]:
    audit_id, outcome = event["audit_id"], event["outcome"]
    yield Outcome(audit_id, outcome)
    if outcome not in _NO_DENIAL:
        yield Denied(audit_id, event["number"], event.get("reason") or outcome, None, None)


def _view(event: Mapping[str, Any]) -> Iterator[Row]:
    number = event["number"]
    yield _begun(event, VIEW, None)
    for position, document in enumerate(event.get("documents") or (), 1):
        yield _shown(number, number, position, document)
    own = [event["exchange"]] if "exchange" in event else []
    yield from _inherited(number, [*own, *(event.get("exchanges") or ())])


def _feedback(event: Mapping[str, Any]) -> Iterator[Row]:
    """It is about its exchange, and shows nothing."""
    return iter(())


_ROWS = {
    EventType.REQUEST: _request,
    EventType.DECISION: _decision,
    EventType.RETRIEVAL: _retrieval,
    EventType.GENERATION: _generation,
    EventType.ANSWER: _answer,
    EventType.VIEW: _view,
    EventType.FEEDBACK: _feedback,
}
