"""An event of the log as somebody may read it whose right goes no further than some documents.

What may stay is named here; all else goes, also what a later release adds: its numbers, digests or ids might tell of
what is out of reach.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from usher.core.reach import Reach

ShownFrom = Callable[[Mapping[str, Any]], bool]
"""Whether a document or passage of an event is within reach."""

_ENVELOPE = frozenset({"number", "time", "type", "audit_id", "who", "policy_version", "label_version"})
_MAY_STAY: Mapping[str, frozenset[str]] = {
    "request": frozenset({"operation", "credential_id"}),
    "decision": frozenset({"action", "object", "effect", "reason", "rules", "policy_digest", "valid_until", "route"}),
    "retrieval": frozenset({"outcome", "reason"}),
    "generation": frozenset(
        {"purpose", "gen_ai.request.model", "gen_ai.request.max_tokens", "gen_ai.request.temperature"}
        | {"adapter", "template", "prompt_commitment"}
    ),
    "answer": frozenset({"outcome", "reason", "duration_ms", "content"}),
    "view": frozenset({"credential_id"}),
    "feedback": frozenset({"feedback", "exchange", "verdict", "commitment", "subject"}),
    "audit_read": frozenset(
        {"actor", "question", "names", "document", "version", "passage", "exchange", "use", "sealed_reason", "subject"}
        | {"after", "limit", "since", "until", "event_type", "event_outcome", "proof", "checkpoint_size"}
    ),
    "document": frozenset({"op", "document", "version", "access_class"}),
    "label": frozenset({"op", "document", "version", "access_class"}),
}
ABOUT_NO_DOCUMENT = frozenset({"policy", "key", "person", "recovery"})
"""Types whose events stay whole, for whoever may know of what is about no document."""
_OF_ONE_DOCUMENT = frozenset({"document", "label"})
_PASSAGES = ("passages", "documents")
_ONE_EARLIER = ("parent", "asks_again", "exchange")
_EARLIER = ("history", "leaned_on", "exchanges")
_OWN_EXCHANGE = frozenset({"feedback", "audit_read"})
"""Types whose `exchange` is what they are about."""


def cut(event: Mapping[str, Any], within: ShownFrom, known: Collection[str], cited: Collection[int]) -> dict[str, Any]:
    """The event without what is out of reach. `known` are the exchanges that are within it, `cited` the ranks that an
    answer may be known to cite."""
    kind = event["type"]
    if kind in ABOUT_NO_DOCUMENT:
        return dict(event)
    stays = _ENVELOPE | _MAY_STAY.get(kind, frozenset())
    made = {name: value for name, value in event.items() if name in stays}
    for name in _PASSAGES:
        if name in event:
            made[name] = [one for one in _elements(event[name]) if within(one)]
    for name in _EARLIER:
        if name in event:
            made[name] = [one for one in _list(event[name]) if one in known]
    for name in _ONE_EARLIER:
        if name in event and kind not in _OWN_EXCHANGE:
            made[name] = event[name] if event[name] in known else None
    if "cited" in event:
        made["cited"] = [rank for rank in _list(event["cited"]) if rank in cited]
    return made


def cut_alone(event: Mapping[str, Any], reach: Reach, hidden: Collection[str] = ()) -> Mapping[str, Any] | None:
    """An event as far as it can be known from itself to be within reach, without what it says of others: the same
    object if nothing is cut out, None if nothing is left. `hidden` are documents that are out of reach now, whatever
    they were when they were shown.

    Of what lists documents, only what lists some within reach is given. Within a reach of everything but some
    collections, so is what is about one document within reach or is of a type that is about none; what else there is
    may be of an exchange that showed nothing but what is out of reach.
    """
    kind = event.get("type")
    if reach.whole or (reach.everything and kind in ABOUT_NO_DOCUMENT):
        return event

    def within(one: Mapping[str, Any]) -> bool:
        return one.get("access_class") in reach.classes and one.get("document") not in hidden

    if kind in _OF_ONE_DOCUMENT:
        known = reach.everything and within(event)
    else:
        known = any(within(one) for name in _PASSAGES for one in _elements(event.get(name)))
    return cut(event, within, (), ()) if known else None


def documents_in(event: Mapping[str, Any]) -> Iterator[str]:
    """The documents that an event lists, or is about."""
    for one in (event, *(one for name in _PASSAGES for one in _elements(event.get(name)))):
        if isinstance(one.get("document"), str):
            yield one["document"]


def _elements(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in _list(value) if isinstance(one, Mapping)]


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
