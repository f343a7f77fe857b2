"""Erasing somebody or a document: proposed by one, approved by another, and then done to its end.

The operator may propose too, and have it carried out; only where nobody holds `audit.erase` does the operator act
alone, by breaking the glass. Once granted it is finished whatever happens: at once, at the next start, or by `finish`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from usher.audit.deciders import ERASE_DOCUMENT, ERASE_PERSON
from usher.audit.erasing import Data, Erasing
from usher.audit.proposals import NoSuchProposal, Proposals
from usher.audit.reviewers import Reviewer
from usher.errors import UserError
from usher.ports.erasure import Holding
from usher.ports.proposals import Item

KINDS = (ERASE_PERSON, ERASE_DOCUMENT)
_log = structlog.stdlib.get_logger("usher.audit.erasure")


class Held(UserError):
    """A legal hold forbids it."""

    status = 409

    def __init__(self, holds: Sequence[str]) -> None:
        super().__init__("proposal", f"is held by {len(holds)} legal hold(s)", "have them released first")
        self.holds = tuple(holds)


class Unfinished(UserError):
    """It was granted, and something failed on the way: nothing is lost, and it is to go on."""

    status = 503
    retry_after = 60

    def __init__(self, error: Exception) -> None:
        problem = f"is granted and not finished ({type(error).__name__})"
        super().__init__("erasure", problem, "mend what the log says; it goes on at the next start, or when finished")


@dataclass(frozen=True, slots=True)
class Target:
    """Whom or what to erase: a user or their pseudonym, or a document by its id."""

    user: str | None = None
    pseudonym: str | None = None
    document: UUID | None = None


class Erasures:
    """The use case. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, proposals: Proposals, data: Data, holding: Holding) -> None:
        self._proposals, self._data = proposals, data
        self._erasing = Erasing(data, holding)

    async def propose(self, by: Reviewer, target: Target, reason: str) -> Item:
        """Ask for it. To name a person takes `audit.identify`, or give their pseudonym."""
        kind, parts, subject = await self._act(by, target)
        return await self._proposals.propose(kind, parts, by, reason, subject=subject)

    async def alone(self, by: Reviewer, target: Target, reason: str) -> Item:
        """The operator does it at once where nobody holds the right: alarmed, and its review stays open."""
        kind, parts, subject = await self._act(by, target)
        await self._may_begin(kind, parts)
        return await self._do(await self._proposals.break_glass(kind, parts, by, reason, subject=subject))

    async def carry_out(self, proposal: UUID, by: Reviewer) -> Item:
        """Do what was approved: it is judged once more, and then done whatever happens. Returns when it is."""
        item = await self._proposals.known(proposal, by)
        if item.kind not in KINDS:
            raise NoSuchProposal
        await self._proposals.may_act(item.kind, by)
        if not item.granted:
            await self._may_begin(item.kind, item.parts)
            item = await self._proposals.carry_out(proposal, by)
        return await self._do(item)

    async def finish(self) -> list[Item]:
        """Go on with all that was granted and is not done; what a legal hold forbids waits. Returns what was done.
        Raises `Unfinished`."""
        try:
            return await self._erasing.run(partial(self._proposals.undone, *KINDS), self._proposals.done)
        except UserError:
            raise
        except Exception as error:  # whatever it is, what was granted is finished later
            _log.error("erasure_failed", error=error)
            raise Unfinished(error) from error

    async def recover(self) -> None:
        """`finish` at a start. What fails is logged: nothing is lost meanwhile, and everybody else is served."""
        try:
            await self.finish()
        except UserError as error:
            _log.critical("erasure_unfinished", problem=str(error))

    async def _act(self, by: Reviewer, target: Target) -> tuple[str, tuple[str, str], str | None]:
        if sum(one is not None for one in (target.user, target.pseudonym, target.document)) != 1:
            raise UserError("target", "is none, or more than one", "name a user, a pseudonym or a document")
        if target.document is None:
            await self._proposals.may_act(ERASE_PERSON, by, naming=target.user is not None)
            subject = await self._proposals.subject_of(target.user, target.pseudonym)
            return ERASE_PERSON, ("person", subject), subject
        await self._proposals.may_act(ERASE_DOCUMENT, by)
        if await self._data.erasable.version_keys(target.document) is None:
            raise UserError("document", "is none that ever was in", "give the id that stands in the record")
        return ERASE_DOCUMENT, ("document", str(target.document)), None

    async def _may_begin(self, kind: str, parts: Sequence[str]) -> None:
        await self._erasing.check_alone()
        if holds := await self._erasing.held(kind, parts[1]):
            raise Held(holds)

    async def _do(self, item: Item) -> Item:
        """To its end, also when whoever asked has gone."""
        if item.done_at is None and item.id not in {one.id for one in await asyncio.shield(self.finish())}:
            await self._may_begin(item.kind, item.parts)
        return await self._proposals.stored(item.id)
