"""What a reviewer limited to collections is given of an event."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from usher.core.event_cut import ABOUT_NO_DOCUMENT
from usher.core.reach import Reach

_LISTS = ("passages", "documents")
_ENVELOPE = ("number", "time", "type", "audit_id", "who", "operation", "outcome", "policy_version")
"""What is kept, of an event about documents within reach, beside these documents."""
_OF_ONE_DOCUMENT = frozenset({"document", "label"})
_ITSELF = ("op", "document", "version", "access_class")
"""What is kept of those beside the envelope."""


def cut(event: Mapping[str, Any], reach: Reach, hidden: Collection[str] = ()) -> Mapping[str, Any] | None:
    """The event as far as it is within reach: the same object if all of it is, None if nothing is. `hidden` are
    documents that are out of reach now, whatever they were when they were shown.

    Of what lists documents, only what lists some within reach is given, with these, and without what says more than
    that. Within a reach of everything but some collections, so is what is about one document within reach or is of a
    type that is about none; what else there is may be of an exchange that showed nothing but what is out of reach.
    """
    if reach.whole:
        return event
    if reach.everything and event.get("type") in ABOUT_NO_DOCUMENT:
        return event
    if reach.everything and event.get("type") in _OF_ONE_DOCUMENT:
        return _only(event, (*_ENVELOPE, *_ITSELF)) if _within(event, reach, hidden) else None
    lists = {name: _kept(event[name], reach, hidden) for name in _LISTS if isinstance(event.get(name), list)}
    return _only(event, _ENVELOPE) | lists if any(lists.values()) else None


def _only(event: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: event[name] for name in names if name in event}


def documents_in(event: Mapping[str, Any]) -> Iterator[str]:
    """The documents that an event lists, or is about."""
    if isinstance(event.get("document"), str):
        yield event["document"]
    for name in _LISTS:
        for element in event.get(name) or ():
            if isinstance(element, Mapping) and isinstance(element.get("document"), str):
                yield element["document"]


def _kept(elements: Sequence[Any], reach: Reach, hidden: Collection[str]) -> list[Any]:
    return [e for e in elements if isinstance(e, Mapping) and _within(e, reach, hidden)]


def _within(element: Mapping[str, Any], reach: Reach, hidden: Collection[str]) -> bool:
    """What is of no known class is within no reach that leaves something out."""
    return element.get("access_class") in reach.classes and element.get("document") not in hidden
