"""The ledger as the service uses it: appends from many tasks, one writing thread, one commit for all that wait."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from usher.ledger.content import Subject
from usher.ledger.log import LedgerUnavailable, Log, Ring, SubjectRow
from usher.ledger.record import ContentRow, Entry
from usher.ledger.subjects import Subjects
from usher.ledger.writer import Receipt, Write, Writer, unavailable

CHECKPOINT_SECONDS = 10.0
PROBE_SECONDS = 1.0
"""How often the thread looks, while nothing is asked of it, whether writing works."""
MAX_GROUP = 512
"""Appends in one commit."""


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """An order in the queue: make a checkpoint now."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """An order in the queue, the last one."""


@dataclass(slots=True)
class _Order:
    """Something asked of the writing thread, and who waits for it."""

    what: Write | _Checkpoint | _Stop
    waiter: asyncio.Future[Receipt | str]


T = TypeVar("T")


class Ledger:
    """Records events. Made by `open`, used on one event loop, ended by `close`.

    `append` returns only when what it was given is durable, and raises `LedgerUnavailable` otherwise, within
    `deadline` seconds. A caller that is cancelled or runs out of time may still have been recorded.
    """

    def __init__(self, log: Log, writer: Writer, ring: Ring, *, capacity: int, deadline: float, every: float) -> None:
        """Use `open`."""
        self._log, self._writer, self._deadline, self._every = log, writer, deadline, every
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(capacity)
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="usher-ledger", daemon=True)
        self.subjects = Subjects(log, ring, self._add_subject)

    @classmethod
    async def open(
        cls,
        log: Log,
        ring: Ring,
        *,
        capacity: int = 4096,
        deadline: float = 10.0,
        every: float = CHECKPOINT_SECONDS,
        clock: Callable[[], int] = time.time_ns,
    ) -> Ledger:
        """Check the log's end, close interrupted exchanges, checkpoint, start. `capacity`: appends that may wait;
        `deadline`: seconds an append may take; `every`: seconds between checkpoints; `clock`: nanoseconds since 1970.

        Raises `LedgerDamaged` (the log contradicts itself or is newer) and `LogFailed` (it cannot be read or written).
        """
        writer = Writer(log, ring, clock)
        try:
            await asyncio.to_thread(writer.open)
        except BaseException:
            log.close()
            raise
        ledger = cls(log, writer, ring, capacity=capacity, deadline=deadline, every=every)
        ledger._thread.start()
        return ledger

    async def append(self, entries: Sequence[Entry], content: Sequence[ContentRow] = ()) -> Receipt:
        """Record events in their order and content rows, all or none; the rows count as before an `answer` beside
        them. Raises `LedgerUnavailable`; `OutOfOrder` or `ValueError` for a mistake of the caller."""
        receipt = await self._ask(Write.of(entries, content))
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

    async def checkpoint(self) -> str:
        """A signed note over everything recorded so far. Raises `LedgerUnavailable`."""
        note = await self._ask(_Checkpoint())
        assert isinstance(note, str)  # noqa: S101  # what the thread answers to a _Checkpoint
        return note

    def healthy(self) -> str | None:
        """None, or the reason why nothing can be recorded now. It passes by itself when writing works again."""
        return self._trouble

    async def close(self) -> None:
        """Record what waits, checkpoint, and release the log. Later appends raise `LedgerUnavailable`."""
        if self._closing:
            return
        self._closing = True
        self._orders.put(_Order(_Stop(), self._loop.create_future()))
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._log.close)
        self._trouble = "it is closed"  # after the thread's last word

    async def _add_subject(self, row: SubjectRow) -> None:
        await self._ask(Write((), (), subjects=(row,)))

    async def _ask(self, what: Write | _Checkpoint) -> Receipt | str:
        try:
            async with asyncio.timeout(self._deadline):
                await self._room.acquire()
                if self._closing:
                    self._room.release()
                    raise LedgerUnavailable("it is closed")
                order = _Order(what, self._loop.create_future())
                self._orders.put(order)
                return await order.waiter
        except TimeoutError:
            raise LedgerUnavailable(f"nothing durable within {self._deadline:g} s (queue full or disk slow)") from None

    # From here on, all but `_settle` runs in the writing thread.

    def _run(self) -> None:
        due, running = time.monotonic() + self._every, True
        while running:
            orders = self._take(min(PROBE_SECONDS, max(due - time.monotonic(), 0.0)))
            running = not any(isinstance(order.what, _Stop) for order in orders)
            if orders:
                self._carry_out(orders)
            else:
                self._guard(self._look)
            if not running or time.monotonic() >= due:
                self._guard(self._writer.checkpoint)
                due = time.monotonic() + self._every

    def _take(self, seconds: float) -> list[_Order]:
        """All orders that wait, up to a group; waits that long for the first."""
        orders: list[_Order] = []
        with contextlib.suppress(queue.Empty):
            orders.append(self._orders.get(timeout=seconds))
            while len(orders) < MAX_GROUP:
                orders.append(self._orders.get_nowait())
        return orders

    def _carry_out(self, orders: Sequence[_Order]) -> None:
        """One commit for all appends among the orders; then, if asked for, a checkpoint over them."""
        appends = [(order, order.what) for order in orders if isinstance(order.what, Write)]
        if appends:
            done = self._guard(lambda: self._writer.write([write for _, write in appends]))
            outcomes = done if isinstance(done, list) else [done] * len(appends)
            self._deliver([order for order, _ in appends], outcomes)
        asked = [order for order in orders if isinstance(order.what, _Checkpoint)]
        if asked:
            self._deliver(asked, [self._guard(self._writer.checkpoint)] * len(asked))

    def _look(self) -> None:
        """Nothing is asked: see that writing would work, or whether it does again."""
        if self._trouble is None:
            self._log.check()
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
        self._trouble = None
        return result

    def _deliver(self, orders: Sequence[_Order], outcomes: Sequence[Receipt | str | Exception]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, orders, outcomes)

    def _settle(self, orders: Sequence[_Order], outcomes: Sequence[Receipt | str | Exception]) -> None:
        for order, outcome in zip(orders, outcomes, strict=True):
            self._room.release()
            if order.waiter.done():  # its caller was cancelled
                continue
            if isinstance(outcome, Exception):
                order.waiter.set_exception(outcome)
            else:
                order.waiter.set_result(outcome)
