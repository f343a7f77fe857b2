"""The one writer of a log: gives numbers and times, grows the tree, commits groups whole. No threads, no await."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from usher.ledger.checkpoint import Checkpoint, sign, verifier_key
from usher.ledger.exchanges import Exchanges, Step
from usher.ledger.log import (
    Batch,
    LedgerDamaged,
    LedgerUnavailable,
    Log,
    LogFailed,
    OutOfOrder,
    Ring,
    Room,
    StoredCheckpoint,
    StoredEvent,
    SubjectRow,
    Tail,
)
from usher.ledger.merkle import Tree
from usher.ledger.record import TAKES_AWAY, ContentRow, Entry, EventType, encode, fragment, leaf_hash, tail_text
from usher.ledger.recovery import check_known, check_ring, check_tail, closing_entries, known_size
from usher.ledger.reserve import fits, opens, refusals

CLOCK_TOLERANCE = 1_000_000
"""Microseconds that the clock may be behind the newest event before the record says so."""
CLOCK_BEHIND = "clock_behind"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was recorded: the numbers of the events (empty if there were none), durable when this exists."""

    numbers: range


class Write(NamedTuple):
    """One append. `parts` are the entries' fragments; `dropped` and `rewrapped` as in `Batch`."""

    entries: Sequence[Entry]
    parts: Sequence[bytes]
    content: Sequence[ContentRow] = ()
    subjects: Sequence[SubjectRow] = ()
    dropped: Sequence[tuple[str, int]] = ()
    rewrapped: Sequence[tuple[str, bytes]] = ()

    @classmethod
    def of(
        cls,
        entries: Sequence[Entry],
        content: Sequence[ContentRow] = (),
        dropped: Sequence[tuple[str, int]] = (),
        rewrapped: Sequence[tuple[str, bytes]] = (),
    ) -> Write:
        """Raises `ValueError` for an entry that cannot be an event, and for content that no entry says is dropped."""
        if dropped:
            named = {name for entry in entries if entry.type in TAKES_AWAY for name in _names(entry)}
            if not named.issuperset(audit_id for audit_id, _ in dropped):
                raise ValueError("dropped: content goes only with an event whose `exchanges` name it")
        parts = [fragment(entry) for entry in entries]
        return cls(entries, parts, content, dropped=dropped, rewrapped=rewrapped)


def _names(entry: Entry) -> Sequence[str]:
    named = entry.body.get("exchanges")
    return named if isinstance(named, list | tuple) else ()


@dataclass(slots=True)
class _State:
    """The log's end as the last commit left it."""

    origin: str
    tree: Tree
    micros: int
    exchanges: Exchanges
    newest: StoredCheckpoint | None
    behind: bool = False


class _Group:
    """What one commit will hold."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.content: list[ContentRow] = []
        self.subjects: list[SubjectRow] = []
        self.opened: list[tuple[str, int]] = []
        self.closed: list[str] = []
        self.dropped: list[tuple[str, int]] = []
        self.rewrapped: list[tuple[str, bytes]] = []

    def __bool__(self) -> bool:
        return bool(self.events or self.content or self.subjects or self.rewrapped)


class Writer:
    """Appends to one log, from one thread.

    The state in memory is never ahead of the log for long: when a commit fails it is dropped, and read again (with
    the checks of an opening) before the next one, because a commit that failed may still have been stored whole.
    """

    def __init__(self, log: Log, ring: Ring, clock: Callable[[], int] = time.time_ns) -> None:
        self._log, self._ring, self._clock = log, ring, clock
        self._public_key = ring.signing_key.public_key().public_bytes_raw()
        self._loaded: _State | None = None

    def open(self, known: str | None = None) -> None:
        """Check the log's end, and that it holds the checkpoint `known` elsewhere; close what was interrupted. Raises
        `LedgerDamaged`, `LogFailed`."""
        self._loaded, tail = self._load()
        check_ring(self._log, self._ring)
        if known is not None:
            check_known(known, tail, self._log.newest_checkpoint(known_size(known, tail, self._ring)), self._ring)
        stopped_cleanly = tail.size == (tail.newest.size if tail.newest else 0)
        if tail.open or not stopped_cleanly:
            self._recover(closing_entries(tail.open))
        self.checkpoint()

    def write(self, writes: Sequence[Write]) -> list[Receipt | OutOfOrder | LedgerUnavailable]:
        """Record them in one commit, durable on return; one that is out of order, or for which the space that is left
        is not, is refused alone.

        Raises `LogFailed` or `LedgerDamaged`: none is acknowledged.
        """
        state = self._state()
        try:
            group, room = _Group(), self._log.room()
            self._judge_clock(state, group)
            outcomes = [self._enter(state, group, write, room) for write in writes]
            if group:
                self._log.commit(self._batch(state, group))
        except BaseException:
            self._loaded = None
            raise
        return outcomes

    def asked(self) -> str:
        """As `checkpoint`, which needs no waiting."""
        return self.checkpoint()

    def checkpoint(self) -> str:
        """A signed note over everything recorded, stored. Raises `LogFailed`, `LedgerDamaged`."""
        state = self._state()
        if state.newest is None or state.newest.size != state.tree.size:
            self._commit_checkpoint(state)
        assert state.newest is not None  # noqa: S101  # just made; for the type checker
        return state.newest.note

    def check(self) -> None:
        """Raises `LogFailed` where a commit is known to fail."""
        self._log.check()

    def close(self) -> None:
        """Nothing is held."""

    def probe(self) -> None:
        """Find out if writing works again, by a commit that adds nothing. Raises `LogFailed`, `LedgerDamaged`."""
        state = self._state()
        try:
            self._log.commit(self._batch(state, _Group()))
        except BaseException:
            self._loaded = None
            raise

    def _batch(self, state: _State, group: _Group) -> Batch:
        parts = (group.events, group.content, group.subjects, group.opened, group.closed)
        tree, mac, less = state.tree, self._mac(state), (group.dropped, group.rewrapped)
        return Batch(tree.size, tree.edge_bytes(), mac, *parts, None, *less)

    def _mac(self, state: _State) -> bytes:
        return self._ring.tail_mac(tail_text(state.origin, state.tree.size, state.tree.root()))

    def _state(self) -> _State:
        if self._loaded is None:
            self._loaded, _ = self._load()
        return self._loaded

    def _load(self) -> tuple[_State, Tail]:
        try:
            tail = self._log.load()
            tree, micros = check_tail(tail, self._ring)
            return _State(tail.origin, tree, micros, Exchanges(tail.open), tail.newest), tail
        except (TypeError, AttributeError) as error:
            raise LedgerDamaged("ledger: a stored value is not of its type; run `usher audit verify`") from error

    def _enter(
        self, state: _State, group: _Group, write: Write, room: Room
    ) -> Receipt | OutOfOrder | LedgerUnavailable:
        first = state.tree.size + 1
        try:
            step = state.exchanges.step(write.entries, write.content, first)
            if write.dropped:
                state.exchanges.check_ended(audit_id for audit_id, _ in write.dropped)
        except OutOfOrder as refusal:
            return refusal
        if not fits(room, write.entries, write.content, step):
            if room is Room.SHORT and opens(step):  # that it was refused is recorded, in place of what was asked for
                ended = Write.of([*write.entries, *refusals(write.entries)], write.content)
                self._enter(state, group, ended, Room.AMPLE)
            return LedgerUnavailable(room)
        state.exchanges.apply(step)
        self._add_events(state, group, write, step)
        group.content.extend(write.content)
        group.subjects.extend(write.subjects)
        group.opened.extend(step.opened)
        group.closed.extend(step.closed)
        group.dropped.extend(write.dropped)
        group.rewrapped.extend(write.rewrapped)
        return Receipt(range(first, state.tree.size + 1))

    def _judge_clock(self, state: _State, group: _Group) -> None:
        """Say once in the record that the clock is behind it: until it has caught up, times tell the order only."""
        behind = state.micros - self._clock() // 1000
        if behind > CLOCK_TOLERANCE and not state.behind:
            said = Entry(EventType.RECOVERY, body={"outcome": CLOCK_BEHIND, "seconds": round(behind / 1_000_000)})
            self._enter(state, group, Write.of([said]), Room.AMPLE)
        state.behind = behind > CLOCK_TOLERANCE or (state.behind and behind > 0)

    def _add_events(self, state: _State, group: _Group, write: Write, step: Step) -> None:
        tree, micros, now = state.tree, state.micros, self._clock() // 1000
        for part, commitment in zip(write.parts, step.commitments, strict=True):
            # A clock that stands still or goes back must not: times rise strictly, so they tell the order too.
            micros = max(now, micros + 1)
            event = encode(tree.size + 1, micros, part, commitment)
            leaf = leaf_hash(event)
            tree.append(leaf)
            group.events.append(StoredEvent(tree.size, leaf, event))
        state.micros = micros

    def _commit_checkpoint(self, state: _State) -> None:
        tree = state.tree
        note = sign(Checkpoint(state.origin, tree.size, tree.root()), self._ring.signing_key)
        stored = StoredCheckpoint(tree.size, tree.edge_bytes(), note, verifier_key(state.origin, self._public_key))
        try:
            self._log.commit(Batch(tree.size, tree.edge_bytes(), self._mac(state), checkpoint=stored))
        except BaseException:
            self._loaded = None
            raise
        state.newest = stored

    def _recover(self, appends: Sequence[Sequence[Entry]]) -> None:
        for outcome in self.write([Write.of(entries) for entries in appends]):
            if not isinstance(outcome, Receipt):
                raise LedgerDamaged(f"ledger: an interrupted exchange cannot be closed: {outcome}")


def unavailable(error: Exception) -> LedgerUnavailable:
    """An error of the storage as callers see it."""
    if isinstance(error, LogFailed | LedgerDamaged):
        return LedgerUnavailable(str(error))
    return LedgerUnavailable(f"internal error ({type(error).__name__})")
