"""The order within an exchange, as the sequencer enforces it.

A `request` comes with its `decision` in one append. A chat is then open: `retrieval`, `generation` and content rows
may follow, until its `answer` closes it and commits to the rows. A search closes with its `retrieval`, or at once when
its decision denies; its `request` commits to the rows that come with it (the question).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from usher.ledger.log import OpenExchange, OutOfOrder
from usher.ledger.record import CHAT, EXCHANGE_TYPES, Commitment, ContentRow, Entry, EventType, row_digest

MAX_OPEN_SEARCHES = 10_000
"""A search that failed before its retrieval is forgotten when this many later ones are open."""


@dataclass(slots=True)
class Exchange:
    """A chat that is open: the number of its request, and a running digest over its content rows."""

    number: int
    rows: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, row: ContentRow) -> None:
        self.digest.update(row_digest(row))
        self.rows += 1

    def commitment(self) -> Commitment:
        return Commitment(self.rows, self.digest.digest())

    def copy(self) -> Exchange:
        return Exchange(self.number, self.rows, self.digest.copy())


@dataclass(slots=True)
class Step:
    """What one append does to the open exchanges: decided first, applied only when the append as a whole is in order.

    `commitments` has one element for each entry.
    """

    commitments: list[Commitment | None] = field(default_factory=list)
    chats: dict[str, Exchange] = field(default_factory=dict)
    opened: list[tuple[str, int]] = field(default_factory=list)
    searches: set[str] = field(default_factory=set)
    closed: list[str] = field(default_factory=list)
    asked: dict[str, list[ContentRow]] = field(default_factory=dict)


class Exchanges:
    """The exchanges that are open now."""

    def __init__(self, chats: Sequence[OpenExchange] = ()) -> None:
        self._chats = {chat.audit_id: restored(chat) for chat in chats}
        self._searches: dict[str, None] = {}

    def step(self, entries: Sequence[Entry], content: Sequence[ContentRow], first: int) -> Step:
        """What these do, their first event being number `first`. Raises `OutOfOrder`; changes nothing."""
        step = Step(asked=_by_search(entries, content))
        rows = iter([row for row in content if row.audit_id not in step.asked] if step.asked else content)
        for number, entry in enumerate(entries, first):
            if entry.type is EventType.ANSWER:
                self._add_rows(step, rows)
            step.commitments.append(self._enter(step, entries, entry, number))
        self._add_rows(step, rows)
        return step

    def apply(self, step: Step) -> None:
        """Take a step that was found in order."""
        self._chats.update(step.chats)
        if step.searches:
            self._searches.update(dict.fromkeys(step.searches))
        for audit_id in step.closed:
            self._chats.pop(audit_id, None)
            self._searches.pop(audit_id, None)
        while len(self._searches) > MAX_OPEN_SEARCHES:
            del self._searches[next(iter(self._searches))]

    def chats(self) -> frozenset[str]:
        """The chats that are open."""
        return frozenset(self._chats)

    def check_ended(self, audit_ids: Iterable[str]) -> None:
        """Raises `OutOfOrder` for a chat that is open: content is dropped only once an event has committed to it, which
        for a search its request does."""
        for audit_id in audit_ids:
            if audit_id in self._chats:
                raise OutOfOrder(f"exchange {audit_id} is open: nothing of it is dropped")

    def _enter(self, step: Step, entries: Sequence[Entry], entry: Entry, number: int) -> Commitment | None:
        if entry.type not in EXCHANGE_TYPES or entry.audit_id is None:
            return None
        if entry.type is EventType.REQUEST:
            return self._open(step, entries, entry, entry.audit_id, number)
        if entry.audit_id in step.searches or entry.audit_id in self._searches:
            self._advance_search(step, entry, entry.audit_id)
            return None
        chat = self._chat(step, entry.audit_id)
        if entry.type is EventType.DECISION and entry.audit_id not in dict(step.opened):
            raise OutOfOrder(f"decision: exchange {entry.audit_id} has one; it comes with the request")
        if entry.type is not EventType.ANSWER:
            return None
        step.closed.append(entry.audit_id)
        return chat.commitment()

    def _open(
        self, step: Step, entries: Sequence[Entry], entry: Entry, audit_id: str, number: int
    ) -> Commitment | None:
        if audit_id in self._chats or audit_id in step.chats or audit_id in self._searches:
            raise OutOfOrder(f"request: exchange {audit_id} is open already; use a new audit id")
        if not any(other.type is EventType.DECISION and other.audit_id == audit_id for other in entries):
            raise OutOfOrder("request: append it together with its decision")
        if entry.body["operation"] == CHAT:
            step.chats[audit_id] = Exchange(number)
            step.opened.append((audit_id, number))
            return None
        step.searches.add(audit_id)
        rows = Exchange(number)
        for row in step.asked[audit_id]:
            _in_place(row, rows)
            rows.add(row)
        return rows.commitment() if rows.rows else None

    def _advance_search(self, step: Step, entry: Entry, audit_id: str) -> None:
        if entry.type not in (EventType.DECISION, EventType.RETRIEVAL):
            raise OutOfOrder(f"{entry.type}: a search has a request, a decision and a retrieval only")
        if entry.type is EventType.RETRIEVAL or entry.body.get("effect") == "deny":
            step.closed.append(audit_id)

    def _add_rows(self, step: Step, rows: Iterator[ContentRow]) -> None:
        for row in rows:
            chat = self._chat(step, row.audit_id)
            _in_place(row, chat)
            chat.add(row)

    def _chat(self, step: Step, audit_id: str) -> Exchange:
        """The open chat as this step may change it."""
        if audit_id not in step.chats:
            known = self._chats.get(audit_id)
            if known is None or audit_id in step.closed:
                raise OutOfOrder(f"exchange {audit_id} is not open")
            step.chats[audit_id] = known.copy()
        elif audit_id in step.closed:
            raise OutOfOrder(f"exchange {audit_id} is not open")
        return step.chats[audit_id]


def _by_search(entries: Sequence[Entry], content: Sequence[ContentRow]) -> dict[str, list[ContentRow]]:
    """The rows of each search that these entries open: its request commits to them at once."""
    rows: dict[str, list[ContentRow]] = {}
    for entry in entries:
        if entry.type is EventType.REQUEST and entry.audit_id and entry.body["operation"] != CHAT:
            rows[entry.audit_id] = []
    for row in content if rows else ():
        if row.audit_id in rows:
            rows[row.audit_id].append(row)
    return rows


def _in_place(row: ContentRow, exchange: Exchange) -> None:
    if row.position != exchange.rows:
        raise OutOfOrder(f"content: position {row.position} given, {exchange.rows} is next in {row.audit_id}")


def restored(chat: OpenExchange) -> Exchange:
    """An exchange as its stored rows left it."""
    exchange = Exchange(chat.number)
    for row in chat.rows:
        exchange.add(row)
    return exchange
