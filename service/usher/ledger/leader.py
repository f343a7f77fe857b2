"""The one of several servers that gives acknowledged events their place in the log that they share.

Each server runs a `Leader`; the storage lets one of them lead. That one takes what is pending, in the order in which
it was acknowledged, gives numbers and times, grows the tree and makes the checkpoints. It also ends the exchanges of
servers that are gone. The others see that it does, and one of them takes over when it is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from usher.ledger.end import End
from usher.ledger.exchanges import restored
from usher.ledger.log import Batch, LedgerDamaged, LogFailed, OpenExchange, Ring, StoredCheckpoint, Tail
from usher.ledger.recovery import check_known, check_tail, closing_entries, known_size
from usher.ledger.sequencing import Sequencing, Turn
from usher.ledger.waiting import Pending, of_the_leader, parted, said_of

TURN_SECONDS = 0.05
"""Between two turns of the server that leads: what is acknowledged has its place about that much later."""
WATCH_SECONDS = 0.5
"""How often another one tries to lead."""
GONE_SECONDS = 5.0
"""A server whose session nobody holds for that long is gone: one that only lost its connection comes back sooner."""
STUCK_SECONDS = 3.0
"""A leader is looked into by the others when it has given nothing its place for that long."""
LAG_SECONDS = 10.0
"""When nothing has been given its place for that long, though something waits, nothing more is acknowledged."""
MAX_TAKEN = 4096
MAX_UNCOVERED = 20_000
"""Events after which there is a checkpoint before its time, so that whoever takes over has not many to read."""


class Leader:
    """A thread: `start`, then `stop`. What it could not do shows in `trouble`, and it goes on trying."""

    def __init__(self, log: Sequencing, ring: Ring, *, every: float, clock: Callable[[], int] = time.time_ns) -> None:
        """`every`: seconds between checkpoints; `clock`: nanoseconds since 1970."""
        self._log, self._ring, self._every, self._clock = log, ring, every, clock
        self._end: End | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usher-sequencer", daemon=True)
        self._due = self._look_at = 0.0
        self._seen_free: dict[int, float] = {}
        self._mark, self._more = 0, False
        self._good = time.monotonic()
        self._failed: str | None = None
        self._damaged: LedgerDamaged | None = None
        self.reached = 0
        self.known: str | None = None
        """The newest checkpoint that is known to this server, which the log must hold."""
        self.newest: StoredCheckpoint | None = None
        """The newest one that this server saw in the log."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take a last turn if it leads, with a checkpoint, and let another one lead."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(LAG_SECONDS)  # a database that hangs is left behind: the thread is a daemon

    def trouble(self) -> str | None:
        """None, or why nothing may be acknowledged now."""
        if self._damaged is not None:
            return str(self._damaged)
        if time.monotonic() - self._good > LAG_SECONDS:
            return f"nothing was given its place in the log for {LAG_SECONDS:g} s ({self._failed or 'nobody leads'})"
        return None

    def begun(self) -> bool:
        """Whether some server has led, so that the log has its first checkpoint. Raises what kept this one from it:
        `LedgerDamaged`, `LogFailed`."""
        if self._damaged is not None:
            raise self._damaged
        if self._failed is not None:
            raise LogFailed(self._failed)
        return self.newest is not None

    def check(self, tail: Tail, reached: int) -> None:
        """The log is no older than what was known of it to this server, which had seen it `reached` so many events,
        before its `tail` was read. Raises `LedgerDamaged`, `LogFailed`."""
        if known := self.known:  # one and the same throughout: both threads check, and one of them learns newer ones
            size = known_size(known, tail, self._ring)
            check_known(known, tail, self._log.newest_checkpoint(size), self._ring)
        if tail.size < reached:
            raise LedgerDamaged(
                f"ledger: it has {tail.size} events and this server has seen {reached}: it is older, from a "
                "backup or a replica; put the newer database back, or restart Usher to go on from this one"
            )
        self.reached = max(self.reached, tail.size)

    # From here on: the thread.

    def _run(self) -> None:
        while not self._stopping.wait(self._pause()):
            self._guard(self._round)
        if self._end is not None:
            self._guard(self._last_turn)
        self._log.release()

    def _pause(self) -> float:
        """None while more waits than one turn takes: but all else that is due comes between two turns."""
        if self._more:
            return 0
        return WATCH_SECONDS if self._end is None and self.newest is not None else TURN_SECONDS

    def _guard(self, act: Callable[[], None]) -> None:
        """After a failure the end is read again, with the checks of an opening, by whoever leads then."""
        try:
            act()
            self._failed = self._damaged = None
        except Exception as error:
            self._end, self._more = None, False
            self._log.release()
            self._damaged = error if isinstance(error, LedgerDamaged) else None
            self._failed = str(error) if isinstance(error, LogFailed | LedgerDamaged) else type(error).__name__

    def _round(self) -> None:
        if self._end is None and not self._begin():
            self._watch()
            return
        self._more = self._turn() == MAX_TAKEN
        now = time.monotonic()
        if now >= self._look_at:
            self._end_gone(now)
            self._look_at = now + WATCH_SECONDS
        if now >= self._due or self._led().uncovered >= MAX_UNCOVERED:
            self._checkpoint()
            self._due = now + self._every
        self._good = now

    def _last_turn(self) -> None:
        while self._turn() == MAX_TAKEN:
            pass
        self._checkpoint()

    def _begin(self) -> bool:
        """Lead, if no other server does, from a log that was checked."""
        if not self._log.lead():
            return False
        tail = self._log.load()
        try:
            tree, micros = check_tail(tail, self._ring)
        except (TypeError, AttributeError) as error:
            raise LedgerDamaged("ledger: a stored value is not of its type; run `usher audit verify`") from error
        self.check(tail, self.reached)
        self._seen_free = {}  # sessions that were free when this server led before may have been held since
        self._end = End(tail.origin, tree, micros, tail.newest, tail.mac)
        self._checkpoint()
        return True

    def _learn(self, newest: StoredCheckpoint) -> None:
        if self.newest is not None and newest.size < self.newest.size:
            self.check(self._log.load(), self.reached)
        self.newest, self.known = newest, newest.note

    def _watch(self) -> None:
        """See that the server that leads gives places: what waited at the last look waits no more."""
        newest, waiting = self._log.newest_checkpoint(), self._log.waiting()
        if newest is not None:
            self._learn(newest)
        if waiting is None or waiting[0] > self._mark:
            self._mark = waiting[1] if waiting else 0
            self._good = time.monotonic()
        elif time.monotonic() - self._good > STUCK_SECONDS:
            self._log.depose()

    def _turn(self) -> int:
        """Give what waits its place; how many were taken."""
        if self._log.waiting() is None:
            return 0
        end = self._led()
        with self._log.turn(end.tree.size, end.mac) as turn:
            taken = turn.take(MAX_TAKEN)
            genuine, others = parted(taken, end.origin, self._ring, end.reached)
            if others:
                turn.set_aside(others)
            rows = [*end.of_the_clock(self._clock()), *genuine, *([said_of(others)] if others else [])]
            checkpoint = self._store(turn, end, rows, asked=any(row.part is None for row in genuine))
        if checkpoint is not None:
            end.newest = checkpoint
            self._learn(checkpoint)
        self.reached = end.tree.size
        return len(taken)

    def _end_gone(self, now: float) -> None:
        """Close what was open at servers that are gone, each exchange as interrupted."""
        free = self._log.unheld()
        self._seen_free = {session: self._seen_free.get(session, now) for session in free}
        gone = [session for session, since in self._seen_free.items() if now - since >= GONE_SECONDS]
        if not gone:
            return
        end = self._led()
        with self._log.turn(end.tree.size, end.mac) as turn:
            left = turn.end(gone)
            if left is not None:
                self._store(turn, end, _closing(left))

    def _checkpoint(self) -> None:
        end = self._led()
        if end.uncovered or end.newest is None:
            with self._log.turn(end.tree.size, end.mac) as turn:
                end.newest = self._store(turn, end, (), asked=True)
        if end.newest is not None:
            self._learn(end.newest)

    def _store(self, turn: Turn, end: End, rows: Sequence[Pending], asked: bool = False) -> StoredCheckpoint | None:
        """Everything that these rows do, and a checkpoint if it is asked for and there is something new in it."""
        events = end.place(rows, self._ring, self._clock)
        opened = {row.opens: event.number for row, event in events if row.opens}
        closed = [row.closes for row, _ in events if row.closes]
        at_once = opened.keys() & set(closed)
        checkpoint = end.signed(self._ring) if asked and (end.uncovered or end.newest is None) else None
        turn.store(
            Batch(
                end.tree.size,
                end.tree.edge_bytes(),
                end.mac,
                [event for _, event in events],
                opened=[(audit_id, number) for audit_id, number in opened.items() if audit_id not in at_once],
                closed=[audit_id for audit_id in closed if audit_id not in at_once],
                checkpoint=checkpoint,
                dropped=[place for row, _ in events for place in row.dropped],
            ),
            {row.opens: row.session for row, _ in events if row.opens},
        )
        return checkpoint

    def _led(self) -> End:
        assert self._end is not None  # noqa: S101  # asked only while this server leads; for the type checker
        return self._end


def _closing(left: Sequence[OpenExchange]) -> list[Pending]:
    """The answers that end these exchanges, over the rows that there are, and the event that says so."""
    *answers, [recovery] = closing_entries(left)
    rows = [
        of_the_leader(answer, restored(exchange).commitment(), closes=exchange.audit_id)
        for exchange, [answer] in zip(left, answers, strict=True)
    ]
    return [*rows, of_the_leader(recovery)]
