"""Proofs that an event is in the log, and that the log still begins as it did, for reviewers: recorded before they are
given, as every reading of the log is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog

from usher.audit.reviewers import Reviewer, Reviewers
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, LogFailed, StoredCheckpoint
from usher.ledger.proofs import Leaves, Prover, consistency_text, tlog_proof
from usher.ledger.sequencer import Ledger
from usher.ledger.verify.notes import key_of
from usher.ledger.verify.proof import BadProof, verify_consistency
from usher.ledger.verify.tlog_proof import check_inclusion, check_note

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


@dataclass(frozen=True, slots=True)
class Consistency:
    """That the first `old` events are the beginning of the first `size`: the hashes that lead from the root over the
    ones, which its reader holds, to that in `checkpoint`, a note signed with the key of `key`."""

    old: int
    size: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    key: str

    def text(self) -> str:
        """As what a C2SP `tlog-witness` is given."""
        return consistency_text(self.old, self.hashes, self.checkpoint)


class Proofs:
    """The use case. One proof is made at a time: the first after a start reads the hashes of the whole log."""

    def __init__(self, log: ProofLog, ledger: Ledger, reviewers: Reviewers) -> None:
        self._log, self._ledger, self._reviewers = log, ledger, reviewers
        self._prover = Prover(log)
        self._turn = asyncio.Lock()

    async def of(self, number: int, size: int | None, reviewer: Reviewer) -> Proof:
        """The proof of an event against the newest checkpoint, or against the one of that size.

        Raises `UserError`, `NotPermitted`, `LedgerUnavailable`. An event that no checkpoint covers yet gets one.
        """
        if not 1 <= number <= _MAX_NUMBER:
            raise UserError("number", "is no event's number", "give one from 1 on, as `usher audit events` lists them")
        if size is not None and not number <= size <= _MAX_NUMBER:
            raise UserError("size", "is of a checkpoint before that event", "give that of a newer one, or leave it out")
        await self._reviewers.admitted(reviewer, "proof", {"proof": number, "checkpoint_size": size})
        try:
            stored = await self._checkpoint(number, size)
            async with self._turn:
                proof = await asyncio.to_thread(self._made, number, stored)
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error
        await self._reviewers.again(reviewer)
        return proof

    async def consistency(self, old: int, reviewer: Reviewer) -> Consistency:
        """The proof that the first `old` events, as many as a checkpoint covers that the reviewer holds, are the
        beginning of the newest checkpoint's. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""
        if not 1 <= old <= _MAX_NUMBER:
            raise UserError("size", "is of a checkpoint that covers no event", "give the second line of one that does")
        await self._reviewers.admitted(reviewer, "consistency", {"checkpoint_size": old})
        try:
            stored = await self._newest(old)
            if stored is None:
                raise NotThere(
                    "size", "is of more events than the log has", "an older log was put back: keep that note"
                )
            async with self._turn:
                made = await asyncio.to_thread(self._consistent, old, stored)
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error
        await self._reviewers.again(reviewer)
        return made

    async def _checkpoint(self, number: int, size: int | None) -> StoredCheckpoint:
        if size is None:
            stored = await self._newest(number)
            if stored is None:
                raise NotThere("number", "is that of no event", "`usher audit events` lists the events there are")
            return stored
        stored = await asyncio.to_thread(self._log.newest_checkpoint, size)
        if stored is None or stored.size != size:
            raise NotThere("size", "is that of no checkpoint", "give the second line of a checkpoint of this log")
        return stored

    async def _newest(self, number: int) -> StoredCheckpoint | None:
        """The newest checkpoint, if it covers that event; where none does yet, one is made."""
        stored = await asyncio.to_thread(self._log.newest_checkpoint)
        if stored is None or stored.size < number:
            await self._ledger.checkpoint()
            stored = await asyncio.to_thread(self._log.newest_checkpoint)
        return None if stored is None or stored.size < number else stored

    def _made(self, number: int, stored: StoredCheckpoint) -> Proof:
        """The proof, checked as its reader will check it."""
        leaf, hashes = self._prover.leaf(number), self._prover.inclusion(number, stored.size)
        try:
            check_inclusion(number - 1, leaf, hashes, stored.note, _key(stored))
        except BadProof as error:
            raise self._contradiction("number", stored, error) from None
        return Proof(number, number - 1, stored.size, leaf, tuple(hashes), stored.note, stored.key)

    def _consistent(self, old: int, stored: StoredCheckpoint) -> Consistency:
        """The same; the reader holds the root over the old events, which here is that of the stored hashes."""
        hashes, root = self._prover.consistency(old, stored.size), self._prover.over(stored.size)(0, old)
        try:
            signed = check_note(stored.note, _key(stored))
            verify_consistency(old, root, signed.size, signed.root, hashes)
        except BadProof as error:
            raise self._contradiction("size", stored, error) from None
        return Consistency(old, stored.size, tuple(hashes), stored.note, stored.key)

    def _contradiction(self, field: str, stored: StoredCheckpoint, error: BadProof) -> Contradiction:
        self._prover.forget()
        _log.error("proof_contradicts_checkpoint", size=stored.size, problem=str(error))
        problem = "cannot be proven: the record contradicts its checkpoint"
        return Contradiction(field, problem, "run `usher audit verify`")


def _key(stored: StoredCheckpoint) -> bytes | None:
    return key_of(stored.key, stored.note.partition("\n")[0])
