"""What is acknowledged and waits for its place in a shared log, with the MAC that says that a server put it there."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import NamedTuple

from usher.ledger.log import Ring
from usher.ledger.record import Commitment, Entry, EventType, fragment

SET_ASIDE = "set_aside"
MAX_NAMED = 100
"""Rows that are named one by one in the event that says that they were set aside."""


class Pending(NamedTuple):
    """An acknowledged event without its number and time. `rows` and `digest` are its commitment to content; `opens` and
    `closes` name the chat that it begins or ends; `drops` is `Batch.dropped` as JSON. `place` counts what its `session`
    has acknowledged. Without a `part` it is no event, but asks for a checkpoint over all before it."""

    session: int
    place: int
    part: bytes | None
    rows: int | None = None
    digest: bytes | None = None
    opens: str | None = None
    closes: str | None = None
    drops: str | None = None
    mac: bytes = b""

    @property
    def commitment(self) -> Commitment | None:
        return None if self.digest is None else Commitment(self.rows or 0, self.digest)

    @property
    def dropped(self) -> list[tuple[str, int]]:
        return [(audit_id, position) for audit_id, position in json.loads(self.drops)] if self.drops else []

    def text(self, origin: str) -> bytes:
        """All that it says, in this log, as one string of bytes that no other row gives."""
        session, place, part, *rest, _ = self
        digest = None if part is None else hashlib.sha256(part).digest()
        said = (origin, session, place, digest, *rest)
        return b"usher ledger pending\n" + ascii(said).encode("ascii")  # quoted: it can be read in one way only

    def sealed(self, origin: str, ring: Ring) -> Pending:
        """With its MAC."""
        return Pending._make((*self[:-1], ring.tail_mac(self.text(origin))))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the row, its MAC included: what the record says of one that is set aside."""
        return hashlib.sha256(self.text("") + self.mac).hexdigest()


def of_the_leader(entry: Entry, content: Commitment | None = None, *, closes: str | None = None) -> Pending:
    """An event of the server that leads, which has its place at once."""
    rows, digest = (content.rows, content.digest) if content else (None, None)
    return Pending(0, 0, fragment(entry), rows, digest, closes=closes)


def parted(
    taken: Sequence[Pending], origin: str, ring: Ring, reached: dict[int, int]
) -> tuple[list[Pending], list[Pending]]:
    """Those that a server with this ring put there, each once, and the others. `reached` is how far each session has
    come; it is carried on."""
    genuine: list[Pending] = []
    others: list[Pending] = []
    for row in taken:
        whole = hmac.compare_digest(row.mac, ring.tail_mac(row.text(origin)))
        if whole and row.place > reached.get(row.session, 0):
            reached[row.session] = row.place
            genuine.append(row)
        else:
            others.append(row)
    return genuine, others


def said_of(others: Sequence[Pending]) -> Pending:
    """The event that says that these were set aside: how many, the first ones' fingerprints, and a digest of all."""
    prints = [row.fingerprint for row in others]
    whole = hashlib.sha256("".join(prints).encode()).hexdigest()
    body = {"outcome": SET_ASIDE, "rows": len(prints), "fingerprints": prints[:MAX_NAMED], "digest": whole}
    return of_the_leader(Entry(EventType.RECOVERY, body=body))
