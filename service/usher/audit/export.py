"""Exports of the log that prove themselves, on a machine that has never seen it.

Events as they are stored, the hashes that lead from them to one checkpoint, and a manifest signed with the log's key:
`usher.ledger.verify.export` checks it. What an export cannot prove is that no other event fitted its query too: that is
the server's word, which it signs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from usher.audit.export_choice import numbers_between
from usher.audit.export_making import Export, ExportLog, Parts, Plan
from usher.audit.proof import NotThere
from usher.audit.ranges import utc
from usher.audit.reviewers import Reviewer, Reviewers
from usher.authority import Clock, utc_now
from usher.core.reach import Reach
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.proofs import Prover
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher.ports import Documents
from usher.ports.audit_index import DocumentNames
from usher_policy.vocabulary import Action


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """Events from `since` (included) to `until` (excluded), of some types (none: of all), that name a document and a
    person, themselves or elsewhere in their exchange. `table`: as CSV too. `held` is the size of a checkpoint that
    somebody holds."""

    since: datetime | None = None
    until: datetime | None = None
    types: tuple[str, ...] = ()
    document: UUID | None = None
    person: str | None = None
    pseudonym: UUID | None = None
    table: bool = False
    held: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As the record and the manifest say it, by ids. Raises `UserError`."""
        for name in self.types:
            if name not in set(EventType):
                raise UserError("type", "is not an event type", "use one of: " + ", ".join(EventType))
        since, until = event_time("from", self.since), event_time("to", self.until)
        if since is not None and until is not None and since >= until:
            raise UserError("to", "is not after `from`", "give a later time")
        return {
            "from": since,
            "to": until,
            "types": sorted(set(self.types)),
            "document": self.document and str(self.document),
            "pseudonym": self.pseudonym and str(self.pseudonym),
        }


class Exports:
    """The use case."""

    def __init__(
        self,
        log: ExportLog,
        ledger: Ledger,
        reviewers: Reviewers,
        names: DocumentNames,
        documents: Documents,
        signing_key: Ed25519PrivateKey,
        clock: Clock = utc_now,
    ) -> None:
        self._log, self._ledger, self._reviewers = log, ledger, reviewers
        self._parts = Parts(log, ledger, reviewers, names, documents, signing_key, Prover(log), clock)

    async def begin(self, reviewer: Reviewer, query: ExportQuery) -> Export:
        """The export that answers a query; nothing is given yet.

        1. the right is judged (also to identify, where a name is asked by or for)
        2. the question is durable in the record, by ids
        3. one checkpoint is made, which covers all that the export will hold

        Raises `UserError`, `NotPermitted`, `LedgerUnavailable`.
        """
        asked = query.as_json()
        if query.person is not None and query.pseudonym is not None:
            raise UserError("person", "and a pseudonym are two ways to ask", "give one of the two")
        actions = (Action.AUDIT_EXPORT, *([Action.AUDIT_IDENTIFY] if query.person is not None else []))
        await self._reviewers.judged(reviewer, *actions)
        try:
            if query.person is not None:
                asked["pseudonym"] = await self._pseudonym(query.person)
            recorded = {**asked, "table": query.table, "held": query.held}
            reach = await self._reviewers.admitted(reviewer, "export", recorded, *actions)
            if query.person is not None and asked["pseudonym"] is None:
                raise NotThere("person", "is nobody in the record", "write the name as it is in the directory")
            return await self._planned(reviewer, query, asked, actions, reach)
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error

    async def _planned(
        self,
        reviewer: Reviewer,
        query: ExportQuery,
        asked: dict[str, Any],
        actions: tuple[Action, ...],
        reach: Reach,
    ) -> Export:
        await self._ledger.checkpoint()
        checkpoint = await asyncio.to_thread(self._log.newest_checkpoint)
        assert checkpoint is not None  # noqa: S101  # one was just made
        span = asked["from"], asked["to"]
        first, last = await asyncio.to_thread(numbers_between, self._log, checkpoint.size, *span)
        plan = Plan(
            reviewer=reviewer,
            actions=actions,
            reach=reach,
            whole=reach.whole,
            query=asked,
            table=query.table,
            checkpoint=checkpoint,
            held=query.held,
            consistency=await asyncio.to_thread(self._consistency, query.held, checkpoint.size),
            first=first,
            last=last,
        )
        return Export(self._parts, plan)

    async def _pseudonym(self, person: str) -> str | None:
        subject = await self._ledger.subjects.found(person)
        return None if subject is None else subject.pseudonym

    def _consistency(self, held: int | None, size: int) -> list[bytes]:
        if held is None:
            return []
        if not 0 < held <= size:
            raise UserError("held", "is the size of no checkpoint of this log", "give the one on its second line")
        return self._parts.prover.consistency(held, size)


def event_time(name: str, instant: datetime | None) -> str | None:
    """A time that a reviewer gave, as events have theirs. Raises `UserError`."""
    at = utc(name, instant)
    return None if at is None else at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
