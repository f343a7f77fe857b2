"""Proofs that an event is in the log, for reviewers: recorded before they are given, as every read of the log is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog

from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, LogFailed, StoredCheckpoint
from usher.ledger.proofs import Leaves, Prover, tlog_proof
from usher.ledger.record import Entry, EventType, Who
from usher.ledger.sequencer import Ledger
from usher.ledger.verify.notes import key_of
from usher.ledger.verify.proof import BadProof
from usher.ledger.verify.tlog_proof import check_inclusion

_MAX_NUMBER = 2**63 - 1
_log = structlog.stdlib.get_logger("usher.audit.proof")


class NotThere(UserError):
    """The log has no such event, or no checkpoint of that size."""

    status = 404


class Contradiction(UserError):
    """What is stored does not lead to the root that was signed."""

    status = 500


class ProofLog(Leaves, Protocol):
    """The log's own reads."""

    def newest_checkpoint(self, up_to: int | None = None) -> StoredCheckpoint | None:
        """The newest, or the newest of at most that size. Raises `LogFailed`."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That event `number` is among the first `size`: leaf `index` (from 0), its hash, and the hashes that lead from it
    to the root in `checkpoint`, a note signed with the key of `key` (`name+id+base64`). Nothing of the event is told.
    """

    number: int
    index: int
    size: int
    leaf_hash: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str
    key: str

    def text(self) -> str:
        """As a C2SP `tlog-proof`."""
        return tlog_proof(self.index, self.leaf_hash, self.hashes, self.checkpoint)


class Proofs:
    """The use case. One proof is made at a time: the first after a start reads the hashes of the whole log."""

    def __init__(self, log: ProofLog, ledger: Ledger) -> None:
        self._log, self._ledger = log, ledger
        self._prover = Prover(log)
        self._turn = asyncio.Lock()

    async def of(self, number: int, size: int | None, by: Who | None, actor: str) -> Proof:
        """The proof of an event against the newest checkpoint, or against the one of that size.

        Raises `UserError`, `LedgerUnavailable`. An event that no checkpoint covers yet gets one.
        """
        if not 1 <= number <= _MAX_NUMBER:
            raise UserError("number", "is no event's number", "give one from 1 on, as `usher audit events` lists them")
        if size is not None and not number <= size <= _MAX_NUMBER:
            raise UserError("size", "is of a checkpoint before that event", "give that of a newer one, or leave it out")
        asked = {"actor": actor, "proof": number, "checkpoint_size": size}
        await self._ledger.append([Entry(EventType.AUDIT_READ, who=by, body=asked)])
        try:
            stored = await self._checkpoint(number, size)
            async with self._turn:
                return await asyncio.to_thread(self._made, number, stored)
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error

    async def _checkpoint(self, number: int, size: int | None) -> StoredCheckpoint:
        stored = await asyncio.to_thread(self._log.newest_checkpoint, size)
        if size is not None:
            if stored is None or stored.size != size:
                raise NotThere("size", "is that of no checkpoint", "give the second line of a checkpoint of this log")
            return stored
        if stored is None or stored.size < number:
            await self._ledger.checkpoint()
            stored = await asyncio.to_thread(self._log.newest_checkpoint)
        if stored is None or stored.size < number:
            raise NotThere("number", "is that of no event", "`usher audit events` lists the events there are")
        return stored

    def _made(self, number: int, stored: StoredCheckpoint) -> Proof:
        """The proof, checked as its reader will check it."""
        leaf, hashes = self._prover.leaf(number), self._prover.inclusion(number, stored.size)
        origin = stored.note.partition("\n")[0]
        try:
            check_inclusion(number - 1, leaf, hashes, stored.note, key_of(stored.key, origin))
        except BadProof as error:
            self._prover.forget()
            _log.error("proof_contradicts_checkpoint", number=number, size=stored.size, problem=str(error))
            problem = "cannot be proven: the record contradicts its checkpoint"
            raise Contradiction("number", problem, "run `usher audit verify`") from None
        return Proof(number, number - 1, stored.size, leaf, tuple(hashes), stored.note, stored.key)
