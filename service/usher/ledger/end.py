"""The end of a log that grows: where the next events get their numbers, times and leaves. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from usher.ledger.checkpoint import Checkpoint, sign, verifier_key
from usher.ledger.log import Ring, StoredCheckpoint, StoredEvent
from usher.ledger.merkle import Tree
from usher.ledger.record import Entry, EventType, encode, leaf_hash, tail_text
from usher.ledger.waiting import Pending, of_the_leader
from usher.ledger.writer import CLOCK_BEHIND, CLOCK_TOLERANCE


@dataclass(slots=True)
class End:
    """`micros` is the last event's time, `newest` the newest checkpoint, `mac` what is stored with the tree, `reached`
    the place up to which each session's events were taken."""

    origin: str
    tree: Tree
    micros: int
    newest: StoredCheckpoint | None
    mac: bytes
    behind: bool = False
    reached: dict[int, int] = field(default_factory=dict)

    def place(self, rows: Iterable[Pending], ring: Ring, clock: Callable[[], int]) -> list[tuple[Pending, StoredEvent]]:
        """Give them their places, those without a `part` apart. Times rise strictly, whatever the clock does."""
        placed = []
        for row in rows:
            if row.part is not None:
                self.micros = max(clock() // 1000, self.micros + 1)
                event = encode(self.tree.size + 1, self.micros, row.part, row.commitment)
                leaf = leaf_hash(event)
                self.tree.append(leaf)
                placed.append((row, StoredEvent(self.tree.size, leaf, event)))
        self.mac = ring.tail_mac(tail_text(self.origin, self.tree.size, self.tree.root()))
        return placed

    def of_the_clock(self, now: int) -> Iterator[Pending]:
        """What is to be said, once, of a clock (nanoseconds since 1970) that is behind the record."""
        late = self.micros - now // 1000
        if late > CLOCK_TOLERANCE and not self.behind:
            body = {"outcome": CLOCK_BEHIND, "seconds": round(late / 1_000_000)}
            yield of_the_leader(Entry(EventType.RECOVERY, body=body))
        self.behind = late > CLOCK_TOLERANCE or (self.behind and late > 0)

    def signed(self, ring: Ring) -> StoredCheckpoint:
        """A checkpoint over everything that has its place."""
        tree, key = self.tree, ring.signing_key
        note = sign(Checkpoint(self.origin, tree.size, tree.root()), key)
        public_key = key.public_key().public_bytes_raw()
        return StoredCheckpoint(tree.size, tree.edge_bytes(), note, verifier_key(self.origin, public_key))

    @property
    def uncovered(self) -> int:
        """How many events are in no checkpoint yet."""
        return self.tree.size - (self.newest.size if self.newest else 0)
