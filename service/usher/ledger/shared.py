"""Appending to a log that several servers share: what this server acknowledges waits there for its place.

A server enforces the order within the exchanges that it answers itself, and computes their commitments. Who gives the
events their place is the `leader`'s affair; an acknowledgement does not wait for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from usher.ledger.exchanges import Exchanges, Step
from usher.ledger.leader import LAG_SECONDS, Leader
from usher.ledger.log import (
    LedgerUnavailable,
    Log,
    LogFailed,
    OutOfOrder,
    Ring,
    Stored,
    StoredCheckpoint,
    SubjectRow,
    Tail,
)
from usher.ledger.record import ContentRow, EventType
from usher.ledger.recovery import check_mac, check_ring
from usher.ledger.sequencing import Sequencing
from usher.ledger.waiting import Pending
from usher.ledger.writer import Receipt, Write, Writer

POLL_SECONDS = 0.01


@dataclass(slots=True)
class Group:
    """What one commit acknowledges. `rewrapped` is as in `Batch`."""

    rows: list[Pending] = field(default_factory=list)
    content: list[ContentRow] = field(default_factory=list)
    subjects: list[SubjectRow] = field(default_factory=list)
    rewrapped: list[tuple[str, bytes]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.content or self.subjects or self.rewrapped)

    def add(self, write: Write, rows: Iterable[Pending]) -> None:
        """An append that is in order, and the rows of its events."""
        self.rows.extend(rows)
        self.content.extend(write.content)
        self.subjects.extend(write.subjects)
        self.rewrapped.extend(write.rewrapped)


@runtime_checkable
class SharedLog(Stored, Protocol):
    """Storage of one log for several servers. `join`, `append` and `leave` are called from one thread at a time.
    `session` is this server's, since it has joined."""

    session: int

    def prepare(self) -> None:
        """Make the tables where there are none. Raises `LogFailed`, `LedgerDamaged`."""

    def sequencing(self) -> Sequencing:
        """The part of the server that leads, on a connection of its own."""

    def join(self) -> Tail:
        """Hold this server's session (again): the log's end without its events, and this server's open exchanges with
        what waits counted in. Where the session was ended meanwhile, it is a new one without any. Raises `LogFailed`.
        """

    def append(self, group: Group) -> None:
        """Store all of it durably, or nothing. A subject whose name is there already is passed over: another server
        was faster. Raises `LogFailed`: it may be stored all the same."""

    def last_waiting(self) -> int:
        """The newest row that waits for its place, of whatever server; 0 if none does. Raises `LogFailed`."""

    def waits(self, number: int) -> bool:
        """Whether anything up to this row has no place yet. Raises `LogFailed`."""

    def open_exchanges(self) -> frozenset[str]:
        """The chats that any server answers now, or that one that is gone has left open. Raises `LogFailed`."""

    def leave(self) -> None:
        """End the session in good order. Raises nothing."""


class Recorder(Protocol):
    """What one server records with, from one thread. `write` and `checkpoint` are durable on return. All methods
    raise `LogFailed`, and all but `check` and `close` also `LedgerDamaged`."""

    def open(self, known: str | None) -> None:
        """Begin. `known` is a checkpoint that the log must hold."""

    def write(self, writes: Sequence[Write]) -> list[Receipt | OutOfOrder | LedgerUnavailable]: ...

    def checkpoint(self) -> str:
        """The newest signed note, or a new one."""

    def asked(self) -> str | Callable[[], str]:
        """A signed note over everything recorded so far; or, where it has to be waited for, what gives it. That is
        called on another thread, so that nothing that is to be recorded waits, and raises `LogFailed`."""

    def check(self) -> None:
        """See that a write would work."""

    def probe(self) -> None:
        """Find out if one works again."""

    def close(self) -> None: ...


def recorder(log: Log | SharedLog, ring: Ring, clock: Callable[[], int], every: float) -> Recorder:
    """The way to record in this log. `clock`: nanoseconds since 1970; `every`: seconds between checkpoints."""
    return SharedWriter(log, ring, clock, every) if isinstance(log, SharedLog) else Writer(log, ring, clock)


class SharedWriter:
    """Appends what this server records, from one thread, and makes it lead where no other server does.

    The state in memory is dropped when an append fails, and read again before the next one: it may have been stored.
    """

    def __init__(self, log: SharedLog, ring: Ring, clock: Callable[[], int], every: float) -> None:
        self._log, self._ring = log, ring
        self._leader = Leader(log.sequencing(), ring, every=every, clock=clock)
        self._joined: Exchanges | None = None
        self._origin, self._place = "", 0
        self._held: frozenset[str] = frozenset()
        self._lost: frozenset[str] = frozenset()

    def open(self, known: str | None) -> None:
        """Begin, once some server leads. `known` is a checkpoint that the log must hold. Raises `LedgerDamaged`,
        `LogFailed`."""
        self._log.prepare()
        check_ring(self._log, self._ring)
        self._leader.known = known
        self._leader.start()
        try:
            self._await(self._leader.begun)
            self._exchanges()
        except BaseException:
            self._leader.stop()
            raise

    def write(self, writes: Sequence[Write]) -> list[Receipt | OutOfOrder | LedgerUnavailable]:
        """Acknowledge them in one commit, durable on return; one that is out of order is refused alone.

        Raises `LogFailed` or `LedgerDamaged`: none is acknowledged.
        """
        self._refuse_in_trouble()
        exchanges = self._exchanges()
        try:
            group = Group()
            outcomes = [self._enter(exchanges, group, write) for write in writes]
            if group:
                self._log.append(group)
        except BaseException:
            self._drop()
            raise
        return outcomes

    def checkpoint(self) -> str:
        """The newest that is known here. Raises `LogFailed`, `LedgerDamaged`."""
        self._refuse_in_trouble()
        return _note(self._leader.newest)

    def asked(self) -> Callable[[], str]:
        """Raises `LogFailed`, `LedgerDamaged`."""
        self._exchanges()
        try:
            self._log.append(Group(rows=[self._row(None)]))
        except BaseException:
            self._drop()
            raise
        last = self._log.last_waiting()

        def note() -> str:
            self._await(lambda: not self._log.waits(last))
            return _note(self._log.newest_checkpoint())

        return note

    def check(self) -> None:
        """Raises `LogFailed` where an append would fail."""
        self._refuse_in_trouble()
        self._log.check()

    def probe(self) -> None:
        """Find out if appending works again. Raises `LogFailed`, `LedgerDamaged`."""
        self._refuse_in_trouble()
        if self._joined is not None:
            try:
                self._log.check()
            except LogFailed:
                self._drop()
        self._exchanges()

    def close(self) -> None:
        """End the session, and let another server lead."""
        self._log.leave()
        self._leader.stop()

    def _exchanges(self) -> Exchanges:
        """Those of this server's session, held (again)."""
        if self._joined is None:
            reached = self._leader.reached  # before the end is read: the leader goes on meanwhile
            end = self._log.join()
            check_mac(end, self._ring)
            self._leader.check(end, reached)
            self._joined, self._origin = Exchanges(end.open), end.origin
            self._lost = (self._lost | self._held) - self._joined.chats()
        return self._joined

    def _drop(self) -> None:
        if self._joined is not None:
            self._held, self._joined = self._joined.chats(), None

    def _enter(self, exchanges: Exchanges, group: Group, write: Write) -> Receipt | OutOfOrder | LedgerUnavailable:
        try:
            step = exchanges.step(write.entries, write.content, 0)
            if write.dropped:
                exchanges.check_ended(audit_id for audit_id, _ in write.dropped)
                self._check_ended_elsewhere({audit_id for audit_id, _ in write.dropped})
        except OutOfOrder as refusal:
            return self._cut_off(write) or refusal
        exchanges.apply(step)
        group.add(write, self._rows(write, step))
        return Receipt(range(0))

    def _rows(self, write: Write, step: Step) -> Iterator[Pending]:
        opened = dict(step.opened)
        drops = json.dumps(write.dropped) if write.dropped else None
        for entry, part, commitment in zip(write.entries, write.parts, step.commitments, strict=True):
            opens = entry.audit_id if entry.type is EventType.REQUEST and entry.audit_id in opened else None
            closes = entry.audit_id if entry.type is EventType.ANSWER else None
            rows, digest = (commitment.rows, commitment.digest) if commitment else (None, None)
            yield self._row(part, rows, digest, opens, closes, drops)
            drops = None

    def _row(self, part: bytes | None, *rest: Any) -> Pending:
        """The next row of this session, with its MAC; places rise also over those of an append that failed."""
        self._place += 1
        return Pending(self._log.session, self._place, part, *rest).sealed(self._origin, self._ring)

    def _check_ended_elsewhere(self, audit_ids: set[str]) -> None:
        """Nor does another server answer one of them, or has left one open."""
        if still := audit_ids & self._log.open_exchanges():
            raise OutOfOrder(f"exchange {min(still)} is open: nothing of it is dropped")

    def _cut_off(self, write: Write) -> LedgerUnavailable | None:
        touched = {entry.audit_id for entry in write.entries} | {row.audit_id for row in write.content}
        if touched & self._lost:
            return LedgerUnavailable("this server was cut off from the log, and the exchange ended as interrupted")
        return None

    def _refuse_in_trouble(self) -> None:
        if trouble := self._leader.trouble():
            raise LogFailed(trouble)

    def _await(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + LAG_SECONDS
        while not done():
            if time.monotonic() > until:
                raise LogFailed(f"no server gave what waits its place within {LAG_SECONDS:g} s")
            time.sleep(POLL_SECONDS)


def _note(checkpoint: StoredCheckpoint | None) -> str:
    if checkpoint is None:
        raise LogFailed("it has no checkpoint yet")
    return checkpoint.note
