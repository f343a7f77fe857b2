"""What a reviewer limited to collections is given of an event."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from usher.core.reach import Reach

_LISTS = ("passages", "documents")
_ENVELOPE = ("number", "time", "type", "audit_id", "who", "operation", "outcome", "policy_version")
"""What is kept, of an event about documents within reach, beside these documents."""


def cut(event: Mapping[str, Any], reach: Reach, hidden: Collection[str] = ()) -> Mapping[str, Any] | None:
    """The event as far as it is within reach: the same object if all of it is, None if nothing is. `hidden` are
    documents that are out of reach now, whatever they were when they were shown.

    Within a reach of everything but some collections, an event only lacks what is of these. Within a reach of some
    collections, only events that list documents of these are given, without what says more than that.
    """
    lists = {name: _kept(event[name], reach, hidden) for name in _LISTS if isinstance(event.get(name), list)}
    if reach.everything:
        whole = all(len(kept) == len(event[name]) for name, kept in lists.items())
        return event if whole else {**event, **lists}
    if not any(lists.values()):
        return None
    return {name: event[name] for name in _ENVELOPE if name in event} | lists


def documents_in(event: Mapping[str, Any]) -> Iterator[str]:
    """The documents that an event lists."""
    for name in _LISTS:
        for element in event.get(name) or ():
            if isinstance(element, Mapping) and isinstance(element.get("document"), str):
                yield element["document"]


def _kept(elements: Sequence[Any], reach: Reach, hidden: Collection[str]) -> list[Any]:
    """An element that is no object, or of no known class, is within a reach of everything only."""
    return [e for e in elements if _within(e, reach, hidden)]


def _within(element: Any, reach: Reach, hidden: Collection[str]) -> bool:
    if not isinstance(element, Mapping):
        return reach.everything
    return reach.covers(element.get("access_class")) and element.get("document") not in hidden
