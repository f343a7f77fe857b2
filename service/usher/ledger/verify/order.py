"""Each event's own claims: number, time, type, and its place in its exchange."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from usher.ledger.record import CHAT, EXCHANGE_TYPES, SEARCH, TAKES_AWAY, EventType
from usher.ledger.verify.findings import Findings

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_TYPES = frozenset(EventType)


class _Event(msgspec.Struct):
    """The members that are checked; the rest of the object is only hashed."""

    number: int
    time: str
    type: str
    audit_id: str | None
    operation: Any = None
    effect: Any = None
    content: Any = None
    exchanges: Any = None
    exchange: Any = None
    subject: Any = None
    asks_again: Any = None
    history: Any = None
    leaned_on: Any = None


@dataclass(slots=True)
class _Exchange:
    number: int
    operation: str
    decided: bool = False


RowsOf = Callable[[str, int], tuple[int, str, bool]]
"""Audit id and number of the event that commits to them, to count and digest (hex) of the content rows there are, and
whether a question is the first."""
Taken = Callable[[object, int], None]
"""The exchanges that an event takes the content of, and its number."""
Erased = Callable[[object, int], None]
"""The pseudonym of whom an event says that they were erased, and its number."""
Recorded = Callable[[str], bool]
"""Whether a chat of that audit id is there."""
_REFERS = frozenset({EventType.REQUEST, EventType.GENERATION, EventType.VIEW, EventType.FEEDBACK})
"""Events that may name earlier chats: asked once more, in the prompt, read again, or what was said of one."""


class OrderCheck:
    """Follows the events in order and remembers the exchanges that are open."""

    def __init__(self, findings: Findings, rows_of: RowsOf, taken: Taken, erased: Erased, recorded: Recorded) -> None:
        self._findings, self._rows_of, self._taken, self._erased = findings, rows_of, taken, erased
        self._recorded = recorded
        self._decode = msgspec.json.Decoder(_Event).decode
        self._time = ""
        self._open: dict[str, _Exchange] = {}

    def check(self, number: int, raw: bytes) -> None:
        """Check one event's bytes."""
        try:
            event = self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._findings.add("its bytes are not an event in JSON", number)
            return
        if event.number != number or not raw.isascii():
            self._findings.add(f"it says that it is number {event.number}, or is not ASCII", number)
        if event.time <= self._time or not _TIME.fullmatch(event.time):
            self._findings.suspect("its time is not after that of the event before it", number)
        self._time = event.time
        if event.type not in _TYPES:
            self._findings.suspect("its type is unknown", number)
        if event.type in _REFERS:
            self._references(number, event)
        if event.type in EXCHANGE_TYPES:
            self._in_exchange(number, event)
        elif event.type in TAKES_AWAY:
            if event.exchanges is not None:
                self._taken(event.exchanges, number)
            if event.type == EventType.ERASURE and event.subject is not None:
                self._erased(event.subject, number)

    def _references(self, number: int, event: _Event) -> None:
        """What it names is recorded. A place in a list that holds nothing is a placeholder, which showed nothing."""
        named = [event.asks_again, event.exchange]
        for some in (event.history, event.leaned_on, event.exchanges):
            named += some if isinstance(some, list) else []
        for ident in named:
            if ident is not None and not (isinstance(ident, str) and self._recorded(ident)):
                self._findings.suspect(f"it refers to exchange {str(ident)[:40]}, which is not recorded", number)

    def state(self) -> dict[str, Any]:
        """Where the check stands, as JSON values, for `restore`."""
        chats = [[ident, chat.number, chat.operation, chat.decided] for ident, chat in self._open.items()]
        return {"time": self._time, "open": chats}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Raises `TypeError`, `ValueError`, `KeyError`."""
        self._time = str(state["time"])
        self._open = {str(ident): _Exchange(int(n), str(what), bool(done)) for ident, n, what, done in state["open"]}

    def open_chats(self) -> dict[str, int]:
        """The chats without an answer, and the numbers of their requests."""
        return {ident: chat.number for ident, chat in self._open.items() if chat.operation == CHAT}

    def _in_exchange(self, number: int, event: _Event) -> None:
        ident, exchange = event.audit_id or "", self._open.get(event.audit_id or "")
        if event.type == EventType.REQUEST:
            if exchange is not None or not ident or event.operation not in (CHAT, SEARCH):
                self._findings.suspect("a request without an operation or id, or of an open exchange", number)
            self._open[ident] = _Exchange(number, str(event.operation))
            if event.operation == SEARCH:
                self._committed(number, event, ident)
        elif exchange is None:
            self._findings.suspect(f"it is the {event.type} of an exchange that has no request or has ended", number)
        elif event.type == EventType.DECISION:
            if exchange.decided:
                self._findings.suspect("a second decision in its exchange", number)
            exchange.decided = True
            if exchange.operation == SEARCH and event.effect == "deny":
                del self._open[ident]
        elif not exchange.decided:
            self._findings.suspect(f"it is the {event.type} of an exchange that has no decision yet", number)
        elif exchange.operation == SEARCH:
            self._in_search(number, event, ident)
        elif event.type == EventType.ANSWER:
            self._end(number, event, ident)

    def _in_search(self, number: int, event: _Event, ident: str) -> None:
        if event.type != EventType.RETRIEVAL:
            self._findings.suspect(f"a {event.type} in a search", number)
        del self._open[ident]

    def _end(self, number: int, event: _Event, ident: str) -> None:
        del self._open[ident]
        if not self._committed(number, event, ident):
            self._findings.suspect("its exchange has no question: each chat is recorded with one", number)

    def _committed(self, number: int, event: _Event, ident: str) -> bool:
        """Hold the content rows against what the event commits to; True if there is a question."""
        rows, digest, asked = self._rows_of(ident, number)
        if event.content != {"rows": rows, "digest": digest} and (rows or event.content or event.type != "request"):
            self._findings.suspect(f"its content rows ({rows} are there) are not those that it commits to", number)
        return asked
