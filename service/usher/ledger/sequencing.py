"""What the one of several servers that leads asks of the storage that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from usher.ledger.log import Batch, OpenExchange, StoredCheckpoint, Tail
from usher.ledger.waiting import Pending


class Turn(Protocol):
    """One transaction of the server that leads: all of it is stored at its end, durably, or nothing."""

    def take(self, limit: int) -> list[Pending]:
        """What waits, in the order in which it was acknowledged, and waits no more; whoever put it there."""

    def set_aside(self, rows: Sequence[Pending]) -> None:
        """Keep these, which were taken and get no place, for whoever looks into it."""

    def end(self, sessions: Sequence[int]) -> tuple[OpenExchange, ...] | None:
        """End these sessions and return their open exchanges; None, and nothing is ended, while one of them is held or
        something that it acknowledged still waits."""

    def store(self, batch: Batch, sessions: Mapping[str, int]) -> None:
        """`sessions` are those of the exchanges that this opens, by audit id."""


class Sequencing(Protocol):
    """The storage of a shared log, for the thread that leads or would. All methods raise `LogFailed`."""

    def lead(self) -> bool:
        """Become the one that leads, if no other is; true also if it is this one already."""

    def depose(self) -> None:
        """End the lead of a server that takes no answer from the storage: one that stands still. Others go on."""

    def load(self) -> Tail:
        """The log's end. Raises `LedgerDamaged`."""

    def turn(self, size: int, mac: bytes) -> AbstractContextManager[Turn]:
        """A turn on a log that ends as given. Fails when it does not, for then another one has led meanwhile."""

    def waiting(self) -> tuple[int, int] | None:
        """The first and last of what is acknowledged and has no place yet, by numbers that rise; None: nothing."""

    def unheld(self) -> frozenset[int]:
        """Sessions that have not ended, and that no server holds now."""

    def newest_checkpoint(self, up_to: int | None = None) -> StoredCheckpoint | None: ...

    def release(self) -> None:
        """Lead no more. Raises nothing."""
