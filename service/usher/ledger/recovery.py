"""What happens to a stored log before anything is added to it: it is checked, and what was interrupted is closed."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence

from usher.ledger.checkpoint import BadCheckpoint, Checkpoint, open_note
from usher.ledger.log import (
    LedgerDamaged,
    OpenExchange,
    Ring,
    Stored,
    StoredCheckpoint,
    StoredEvent,
    SubjectRow,
    Tail,
)
from usher.ledger.merkle import Tree
from usher.ledger.record import Entry, EventType, Who, leaf_hash, micros_of, subject_key_aad, tail_text
from usher.ledger.sealing import SealBroken

LOOKED_AT = 100
"""People whose keys are tried at an opening."""
_REMEDY = "run `usher audit verify`, then restore the data folder from a backup"
_KNOWN_REMEDY = (
    "put the newer data folder back; to go on from this one all the same, move the kept checkpoint away, and keep it: "
    "it proves that something is missing"
)


def check_tail(tail: Tail, ring: Ring) -> tuple[Tree, int]:
    """The tree at the log's end and the time of its last event (microseconds; 0 for an empty log).

    Every event after `tail.base` is hashed again and must lead from that checkpoint's edge to the stored one, through
    the newest checkpoint's root; and the end must be the one that was committed last with this ring, so that nothing
    is signed that was put there without it. Raises `LedgerDamaged`.
    """
    public_key = ring.signing_key.public_key().public_bytes_raw()
    # 1. The stored edge fits the size, and no checkpoint is ahead of it.
    end = _tree(tail.size, tail.edge)
    if tail.newest and tail.newest.size > tail.size:
        raise LedgerDamaged(f"ledger: a checkpoint covers {tail.newest.size} events, {tail.size} are left; {_REMEDY}")
    # 2. The checkpoints are this log's and signed with this ring's key.
    newest_root = _signed_root(tail.newest, tail.origin, public_key)
    base_root = _signed_root(tail.base, tail.origin, public_key)
    tree = _tree(tail.base.size, tail.base.edge) if tail.base else Tree()
    if base_root is not None and tree.root() != base_root:
        raise LedgerDamaged(f"ledger: the edge stored with checkpoint {tree.size} is not of its root; {_REMEDY}")
    # 3. The events from there on are all there, unchanged, and lead to both roots.
    last: StoredEvent | None = None
    for last in tail.events:
        whole = type(last.event) is bytes and leaf_hash(last.event) == last.leaf
        if last.number != tree.size + 1 or not whole:
            raise LedgerDamaged(f"ledger: event {tree.size + 1} is missing or changed; {_REMEDY}")
        tree.append(last.leaf)
        if tail.newest and tree.size == tail.newest.size and tree.root() != newest_root:
            raise LedgerDamaged(f"ledger: the events up to {tree.size} do not have their checkpoint's root; {_REMEDY}")
    if (tree.size, tree.edge_bytes()) != (end.size, end.edge_bytes()):
        raise LedgerDamaged(f"ledger: its events end at {tree.size} and its tree at {end.size}, or differ; {_REMEDY}")
    # 4. Whoever committed this end had the ring. A log that was only just made has no commit yet.
    if tree.size or tail.newest or tail.mac:
        check_mac(tail, ring)
    return tree, _time(last) if last else 0


def check_mac(tail: Tail, ring: Ring) -> None:
    """The end was committed with this key ring. Raises `LedgerDamaged`."""
    tree = _tree(tail.size, tail.edge)
    if not hmac.compare_digest(tail.mac, ring.tail_mac(tail_text(tail.origin, tree.size, tree.root()))):
        raise LedgerDamaged(f"ledger: its last events were not committed with this key ring; {_REMEDY}")


def check_ring(log: Stored, ring: Ring) -> None:
    """The keys of people open with this ring: it is not one from before the last erasure, by which nothing may be
    wrapped any more. They are looked at in the order in which an erasure wraps them anew. A few that somebody tampered
    with hold nobody up. Raises `LedgerDamaged`, `LogFailed`."""
    live = [row for row in log.subjects("", LOOKED_AT) if not row.erased]
    shut = sum(not _opens(row, ring) for row in live)
    if shut * 2 > len(live):
        raise LedgerDamaged(
            f"ledger: of the keys of {len(live)} people, {shut} do not open with this key ring: it is a copy from "
            "before the last erasure, or this is an older copy of the data; put the newest key ring back in its place "
            "(with several servers, that of the one that erased), or the newer data"
        )


def _opens(row: SubjectRow, ring: Ring) -> bool:
    try:
        ring.unwrap(row.wrapped_key, subject_key_aad(row.pseudonym))
    except SealBroken:
        return False
    return True


def known_size(note: str, tail: Tail, ring: Ring) -> int:
    """How many events the newest checkpoint that is known elsewhere covers. Raises `LedgerDamaged` for one of another
    log or key."""
    return _known(note, tail, ring).size


def check_known(note: str, tail: Tail, stored: StoredCheckpoint | None, ring: Ring) -> None:
    """The log holds the checkpoint that is known elsewhere; `stored` is its newest up to that one's size.

    Each checkpoint is stored before it is told to anybody, so a log without it is an older copy, or another history.
    Raises `LedgerDamaged`.
    """
    known = _known(note, tail, ring)
    if stored is None or stored.size != known.size:
        raise LedgerDamaged(
            f"ledger: it has {tail.size} events and not the checkpoint over {known.size} that is kept beside the key "
            f"ring: it is an older copy, or went on from one; {_KNOWN_REMEDY}"
        )
    if _signed_root(stored, tail.origin, ring.signing_key.public_key().public_bytes_raw()) != known.root:
        raise LedgerDamaged(
            f"ledger: its first {known.size} events are not those of the checkpoint that is kept beside the key ring: "
            f"it is another history; {_KNOWN_REMEDY}"
        )


def _known(note: str, tail: Tail, ring: Ring) -> Checkpoint:
    try:
        return open_note(note, tail.origin, ring.signing_key.public_key().public_bytes_raw())
    except BadCheckpoint as error:
        raise LedgerDamaged(
            f"ledger: the checkpoint that is kept beside the key ring is not of this log: {error}; {_KNOWN_REMEDY}"
        ) from None


def closing_entries(interrupted: Sequence[OpenExchange]) -> list[list[Entry]]:
    """The entries, one append each, that close what a crash left open, and the `recovery` event that says so."""
    answers = [
        [Entry(EventType.ANSWER, exchange.audit_id, _who(exchange.request), {"outcome": "interrupted"})]
        for exchange in interrupted
    ]
    return [*answers, [Entry(EventType.RECOVERY, body={"outcome": "recovered", "interrupted": len(interrupted)})]]


def _tree(size: int, edge: bytes) -> Tree:
    try:
        return Tree.from_bytes(size, edge)
    except ValueError:
        raise LedgerDamaged(f"ledger: the stored edge is not of a tree of {size} events; {_REMEDY}") from None


def _signed_root(stored: StoredCheckpoint | None, origin: str, public_key: bytes) -> bytes | None:
    if stored is None:
        return None
    try:
        checkpoint = open_note(stored.note, origin, public_key)
    except BadCheckpoint as error:
        raise LedgerDamaged(
            f"ledger: {error}; if the key ring is another one, put back the one of this data folder, else {_REMEDY}"
        ) from None
    if checkpoint.size != stored.size:
        raise LedgerDamaged(f"ledger: the checkpoint stored for {stored.size} is of {checkpoint.size}; {_REMEDY}")
    return checkpoint.root


def _time(last: StoredEvent) -> int:
    try:
        return micros_of(json.loads(last.event)["time"])
    except (ValueError, KeyError, TypeError):
        raise LedgerDamaged(f"ledger: event {last.number} has no time; {_REMEDY}") from None


def _who(request: bytes) -> Who | None:
    who = json.loads(request)["who"]
    return Who(who["pseudonym"], tuple(who["roles"]), who["credential"]) if who else None
