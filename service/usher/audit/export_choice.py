"""Which events an export takes, and as which bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from usher.audit.review import StoredEvents
from usher.core.event_cut import cut_alone, documents_in
from usher.core.reach import Reach
from usher.ledger.log import LogFailed, StoredEvent
from usher.ledger.record import leaf_hash

_HEAD = re.compile(
    rb'\{"number":([1-9][0-9]{0,18}),"time":"([^"]{1,40})","type":"([a-z_]{1,40})","audit_id":(?:null|"([^"]{1,64})")[,}]'
)


@dataclass(frozen=True, slots=True)
class Head:
    """What every event begins with."""

    number: int
    time: str
    type: str
    audit_id: str | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """An event of an export: its leaf hash, its line, and what it says."""

    number: int
    leaf: bytes
    line: bytes
    event: Mapping[str, Any]


def head_of(stored: StoredEvent) -> Head:
    """Raises `LogFailed` for bytes that are no event, or not that one."""
    match = _HEAD.match(stored.event)
    if match is None or int(match[1]) != stored.number:
        raise LogFailed(f"event {stored.number} is not as it was written; run `usher audit verify`")
    audit_id = None if match[4] is None else match[4].decode("ascii", "replace")
    return Head(stored.number, match[2].decode("ascii", "replace"), match[3].decode("ascii"), audit_id)


def numbers_between(log: StoredEvents, size: int, since: str | None, until: str | None) -> tuple[int, int]:
    """The numbers of the first and the last event in a span of time, of the first `size` (the last before the first:
    there is none). Raises `LogFailed`."""
    return _before(log, size, since, 0) + 1, _before(log, size, until, size)


def _before(log: StoredEvents, size: int, moment: str | None, otherwise: int) -> int:
    """How many events are older than a moment, by bisection: times rise with numbers."""
    if moment is None:
        return otherwise
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        found = log.stored(middle, middle)
        if not found:
            raise LogFailed("events are missing; run `usher audit verify`")
        low, high = (middle, high) if head_of(found[0]).time < moment else (low, middle - 1)
    return low


class Choice:
    """Events of some types (none: of all) that name each of some ids, themselves or elsewhere in their exchange.

    With `names`, every event must be `heard` first, in any order, before any is asked for. Whoever's reach is not
    `whole` (None) is given events cut to it, and a choice of what is left of them.
    """

    def __init__(self, types: Iterable[str], names: Iterable[str], reach: Reach | None) -> None:
        self._types = frozenset(types)
        self._names = [name.encode("ascii") for name in names]
        self._reach = reach
        self._exchanges: dict[str, set[bytes]] = {}
        self._hidden: frozenset[str] = frozenset()

    def unknown(self, stored: Sequence[StoredEvent]) -> set[str]:
        """The documents that are within reach as they were when they were shown: as they are now, they may not be."""
        if self._reach is None:
            return set()
        left = (cut_alone(said(one), self._reach, self._hidden) for one in stored)
        return {document for event in left if event is not None for document in documents_in(event)}

    def hide(self, documents: Iterable[str]) -> None:
        """These are out of reach now."""
        self._hidden |= frozenset(documents)

    @property
    def needs_hearing(self) -> bool:
        return bool(self._names)

    def hear(self, stored: Sequence[StoredEvent]) -> None:
        """Note which exchanges name what. Raises `LogFailed`."""
        for one in stored:
            if any(name in one.event for name in self._names) and (audit_id := head_of(one).audit_id):
                line = self._line(one)
                found = {name for name in self._names if line is not None and name in line[0]}
                self._exchanges.setdefault(audit_id, set()).update(found)

    def of(self, stored: Sequence[StoredEvent]) -> Iterator[Chosen]:
        """Those that are chosen, in their order. Raises `LogFailed`."""
        for one in stored:
            head = head_of(one)
            if self._types and head.type not in self._types:
                continue
            if (made := self._line(one)) is not None and self._named(head, made[0]):
                yield Chosen(one.number, leaf_hash(one.event), *made)

    def _named(self, head: Head, line: bytes) -> bool:
        elsewhere = self._exchanges.get(head.audit_id or "", ())
        return all(name in line or name in elsewhere for name in self._names)

    def _line(self, one: StoredEvent) -> tuple[bytes, Mapping[str, Any]] | None:
        """An event's bytes, or what is left of it with its leaf hash; None where nothing is left."""
        event = said(one)
        if self._reach is None:
            return one.event, event
        left = cut_alone(event, self._reach, self._hidden)
        if left is None or left is event:
            return None if left is None else (one.event, event)
        line = json.dumps({"cut": leaf_hash(one.event).hex(), "event": left}, separators=(",", ":"))
        return line.encode("ascii"), left


def said(one: StoredEvent) -> Mapping[str, Any]:
    """What an event says. Raises `LogFailed`."""
    try:
        event = json.loads(one.event)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise LogFailed(f"event {one.number} is not as it was written; run `usher audit verify`")
    return event
