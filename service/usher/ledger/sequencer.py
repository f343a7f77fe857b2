"""The ledger as the service uses it: appends from many tasks, one writing thread, one commit for all that wait."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from usher.ledger.content import Subject
from usher.ledger.log import LedgerUnavailable, Log, LogFailed, Ring, Stored, SubjectRow
from usher.ledger.orders import Ask, Order, refuse
from usher.ledger.record import ContentRow, Entry
from usher.ledger.shared import Recorder, SharedLog, recorder
from usher.ledger.subjects import Subjects
from usher.ledger.writer import Receipt, Write, unavailable

CHECKPOINT_SECONDS = 10.0
PROBE_SECONDS = 1.0
"""How often the thread looks, while nothing is asked of it, whether writing works."""
MAX_GROUP = 512
"""Appends in one commit."""


T = TypeVar("T")
_CLOSED = "it is closed"


class Ledger:
    """Records events. Made by `open`, used on one event loop, ended by `close`.

    `append` returns only when what it was given is durable, and raises `LedgerUnavailable` otherwise, within
    `deadline` seconds. A caller that is cancelled or runs out of time may still have been recorded.
    """

    def __init__(
        self,
        log: Stored,
        writer: Recorder,
        ring: Ring,
        *,
        capacity: int,
        deadline: float,
        every: float,
        heard: Callable[[str], None] | None = None,
    ) -> None:
        """Use `open`."""
        self._heard, self._newest = heard, ""
        self._log, self._writer, self._deadline, self._every = log, writer, deadline, every
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._room = capacity
        self._line: deque[Order] = deque()
        self._asked: deque[Order] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="usher-ledger", daemon=True)
        self.subjects = Subjects(log, ring, self._add_subject)

    @classmethod
    async def open(
        cls,
        log: Log | SharedLog,
        ring: Ring,
        *,
        capacity: int = 4096,
        deadline: float = 10.0,
        every: float = CHECKPOINT_SECONDS,
        clock: Callable[[], int] = time.time_ns,
        heard: Callable[[str], None] | None = None,
        known: str | None = None,
    ) -> Ledger:
        """Check the log's end, close interrupted exchanges, checkpoint, start. `capacity`: appends that may wait;
        `deadline`: seconds an append may take; `every`: seconds between checkpoints; `clock`: nanoseconds since 1970;
        `heard`: gets each new checkpoint, at the start the newest, on the writing thread, which it must not hold up;
        `known`: the newest checkpoint that is kept elsewhere, which the log must hold.

        Raises `LedgerDamaged` (the log contradicts itself or is newer) and `LogFailed` (it cannot be read or written).
        """
        writer = recorder(log, ring, clock, every)
        try:
            await asyncio.to_thread(writer.open, known)
        except BaseException:
            log.close()
            raise
        ledger = cls(log, writer, ring, capacity=capacity, deadline=deadline, every=every, heard=heard)
        ledger._thread.start()
        return ledger

    async def append(
        self,
        entries: Sequence[Entry],
        content: Sequence[ContentRow] = (),
        *,
        dropped: Sequence[tuple[str, int]] = (),
        rewrapped: Sequence[tuple[str, bytes]] = (),
    ) -> Receipt:
        """Record events in their order and content rows, all or none; the rows count as before an `answer` beside
        them. The text of the content rows `dropped` (audit id and position) goes with the events, one of which names
        their exchanges; `rewrapped` are subjects' keys wrapped anew, as in `Batch`. Raises `LedgerUnavailable`;
        `OutOfOrder` or `ValueError` for a mistake of the caller."""
        receipt = await self._ask(Write.of(entries, content, dropped, rewrapped))
        assert isinstance(receipt, Receipt)  # noqa: S101  # what the thread answers to a Write
        return receipt

    async def subject(self, user: str) -> Subject:
        """The user's pseudonym and key, made durable at first sight. Raises `LedgerUnavailable`."""
        try:
            return await self.subjects.of(user)
        except LedgerUnavailable:
            raise
        except Exception as error:
            raise unavailable(error) from error

    async def pseudonym(self, user: str) -> str:
        """The user's pseudonym, made durable at first sight. Raises `LedgerUnavailable`."""
        return (await self.subject(user)).pseudonym

    async def content(self, audit_id: str) -> tuple[ContentRow, ...]:
        """The content rows of an exchange, in order. Raises `LogFailed`."""
        return await asyncio.to_thread(self._log.content, audit_id)

    async def contents(self, audit_ids: Sequence[str], work: Callable[[dict[str, tuple[ContentRow, ...]]], T]) -> T:
        """What `work` makes, beside the event loop, of the content rows of each of these exchanges that has any.
        Raises `LedgerUnavailable`, and what `work` raises."""
        try:
            return await asyncio.to_thread(lambda: work(self._log.contents(audit_ids)))
        except LogFailed as error:
            raise unavailable(error) from error

    async def checkpoint(self) -> str:
        """A signed note over everything recorded so far. Raises `LedgerUnavailable`."""
        note = await self._ask(Ask.CHECKPOINT)
        assert isinstance(note, str)  # noqa: S101  # what the thread answers to a checkpoint
        return note

    def healthy(self) -> str | None:
        """None, or the reason why nothing can be recorded now. It passes by itself when writing works again."""
        return self._trouble

    async def close(self) -> None:
        """Record what waits, checkpoint, and release the log. Later appends raise `LedgerUnavailable`."""
        if self._closing:
            return
        self._closing = True
        self._orders.put(Order(Ask.STOP, self._loop.create_future()))
        await asyncio.to_thread(self._thread.join, self._deadline)
        if not self._thread.is_alive():  # else its disk hangs: the process's end releases the file
            await asyncio.to_thread(self._log.close)
        while self._asked:
            refuse(self._asked.popleft(), _CLOSED)
        self._trouble = _CLOSED
        if self._alarm:
            self._alarm.cancel()

    async def _add_subject(self, row: SubjectRow) -> None:
        await self._ask(Write((), (), subjects=(row,)))

    async def _ask(self, what: Write | Ask) -> Receipt | str:
        """Put an order in line and wait for what comes of it. All have the same time, so they fall due in line."""
        if self._closing:
            raise LedgerUnavailable(_CLOSED)
        order = Order(what, self._loop.create_future(), self._loop.time() + self._deadline)
        self._asked.append(order)
        self._line.append(order)
        self._admit()
        if self._alarm is None:
            self._alarm = self._loop.call_at(order.due, self._expire)
        return await order.waiter

    def _admit(self) -> None:
        """Let orders into the queue while it has room; those whose caller has gone are dropped."""
        while self._line and self._room > 0:
            order = self._line.popleft()
            if not order.waiter.done():
                self._room -= 1
                self._orders.put(order)

    def _expire(self) -> None:
        """Refuse the orders whose time is over, and look again when the next one's is."""
        self._forget_settled()
        while self._asked and self._asked[0].due <= self._loop.time():
            self._trouble = f"nothing durable within {self._deadline:g} s (its queue is full or its disk hangs)"
            refuse(self._asked.popleft(), self._trouble)
            self._forget_settled()
        self._alarm = self._loop.call_at(self._asked[0].due, self._expire) if self._asked else None

    def _forget_settled(self) -> None:
        while self._asked and self._asked[0].waiter.done():
            self._asked.popleft()

    def _settle(self, orders: Sequence[Order], outcomes: Sequence[Receipt | str | Exception]) -> None:
        """Tell callers what came of their orders."""
        for order, outcome in zip(orders, outcomes, strict=True):
            if isinstance(outcome, LedgerUnavailable):
                refuse(order, outcome.reason)
            elif order.waiter.done():  # its caller was cancelled, or its time was over
                continue
            elif isinstance(outcome, Exception):
                order.waiter.set_exception(outcome)
            else:
                order.waiter.set_result(outcome)
        self._room += len(orders)
        self._forget_settled()
        self._admit()

    # From here on: the writing thread.

    def _run(self) -> None:
        self._guard(self._checkpoint)
        due, running = time.monotonic() + self._every, True
        while running:
            orders = self._take(min(PROBE_SECONDS, max(due - time.monotonic(), 0.0)))
            running = not any(order.what is Ask.STOP for order in orders)
            if orders:
                self._carry_out(orders)
            else:
                self._guard(self._look)
            if not running or time.monotonic() >= due:
                self._guard(self._checkpoint if running else self._last_checkpoint)
                due = time.monotonic() + self._every
        self._guard(self._writer.close)

    def _take(self, seconds: float) -> list[Order]:
        """All orders that wait, up to a group; waits that long for the first."""
        orders: list[Order] = []
        with contextlib.suppress(queue.Empty):
            orders.append(self._orders.get(timeout=seconds))
            while len(orders) < MAX_GROUP:
                orders.append(self._orders.get_nowait())
        return orders

    def _carry_out(self, orders: Sequence[Order]) -> None:
        """One commit for all appends among the orders; then, if asked for, a checkpoint over them."""
        appends = [(order, order.what) for order in orders if isinstance(order.what, Write)]
        if appends:
            done = self._guard(lambda: self._writer.write([write for _, write in appends]))
            outcomes = done if isinstance(done, list) else [done] * len(appends)
            self._deliver([order for order, _ in appends], outcomes)
        asked = [order for order in orders if order.what is Ask.CHECKPOINT]
        if asked:
            given = self._guard(self._writer.asked)
            if callable(given):
                threading.Thread(target=self._give, args=(asked, given), name="usher-checkpoint", daemon=True).start()
                return
            if isinstance(given, str):
                self._tell(given)
            self._deliver(asked, [given] * len(asked))

    def _give(self, orders: Sequence[Order], given: Callable[[], str]) -> None:
        """On a thread of its own: nothing that is to be recorded waits for it."""
        try:
            outcome: str | LedgerUnavailable = given()
        except Exception as error:
            outcome = unavailable(error)
        self._deliver(orders, [outcome] * len(orders))

    def _checkpoint(self) -> None:
        self._tell(self._writer.checkpoint())

    def _last_checkpoint(self) -> None:
        """Over everything, as the writing ends."""
        given = self._writer.asked()
        self._tell(given if isinstance(given, str) else given())

    def _tell(self, note: str) -> None:
        if self._heard is not None and note != self._newest:
            self._newest = note
            self._heard(note)

    def _look(self) -> None:
        """Nothing is asked: see that writing would work, or whether it does again."""
        if self._trouble == self._log.room().trouble:
            self._writer.check()
        else:
            self._writer.probe()

    def _guard(self, act: Callable[[], T]) -> T | LedgerUnavailable:
        """What `act` returns; or, whatever went wrong, the refusal, which is also the ledger's state from now on."""
        try:
            result = act()
        except Exception as error:
            refusal = unavailable(error)
            self._trouble = refusal.reason
            return refusal
        self._trouble = self._log.room().trouble
        return result

    def _deliver(self, orders: Sequence[Order], outcomes: Sequence[Receipt | str | Exception]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, orders, outcomes)
