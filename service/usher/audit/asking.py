"""What every question to the log goes through: admitted, recorded, answered as far as the right goes, judged again.

The answers come from an index that a follower builds from the committed events, behind them by a moment: each says
whether it was up to the log when it was asked, and how far it was. Somebody whose right is limited to collections gets
what somebody without a limit would get if nothing had ever been about any other document: a passage counts only if the
access class that it had then and each that its document has now are within the right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from usher.audit.follower import Follower
from usher.audit.reviewers import Reviewer, Reviewers
from usher.core.reach import Reach
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, LogFailed
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.ports import Documents
from usher.ports.audit_index import AuditIndex, DocumentName, DocumentNames, Found, IndexUnreadable, Within
from usher.viewing import ATTEMPTS, Changing
from usher_policy.vocabulary import Action

T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """By the first `indexed` of `size` events, null for somebody who may not know how many there are; `complete` if
    that is all that there were when it was asked. `next` goes into `after` for what follows, also where a page is short
    or empty; null at the end."""

    entries: Sequence[T]
    next: int | None
    complete: bool
    indexed: int | None
    size: int | None


class Asking:
    """Raises `UserError`, `NotPermitted`, `Changing` and `LedgerUnavailable`; where the index cannot be read, that
    too."""

    def __init__(self, index: AuditIndex, ledger: Ledger, reviewers: Reviewers, documents: Documents) -> None:
        self.index, self.ledger, self.reviewers = index, ledger, reviewers
        self._documents = documents
        self.follower = Follower(index)

    async def ask(
        self,
        reviewer: Reviewer,
        question: str,
        asked: Mapping[str, Any],
        read: Callable[[Within | None], Found[T]],
        tell: Callable[[Answered[T]], Awaitable[A]],
        *more: Action,
    ) -> A:
        """1. the rights are judged, and the question is durable in the record, by ids
        2. it is answered as far as they go, and told as its reviewer wants it
        3. they are judged again; if they go less far or further now, it is answered anew
        """
        reach = await self.reviewers.admitted(reviewer, question, asked, *more)
        return await self.answered(reviewer, reach, read, tell, *more)

    async def answered(
        self,
        reviewer: Reviewer,
        reach: Reach,
        read: Callable[[Within | None], Found[T]],
        tell: Callable[[Answered[T]], Awaitable[A]],
        *more: Action,
    ) -> A:
        """The second and third step of `ask`."""
        for _ in range(ATTEMPTS):
            complete = await self.follower.caught_up()
            found = await self.found(reach, read)
            far = (found.indexed, found.size) if reach.everything else (None, None)
            answer = await tell(Answered(found.entries, found.next, complete, *far))
            now = await self.reviewers.again(reviewer, *more)
            if now == reach:
                return answer
            reach = now
        raise Changing("key", "has other rights all the time", "ask again in a while")

    async def found(self, reach: Reach, read: Callable[[Within | None], Found[T]]) -> Found[T]:
        """What is found within reach. Documents that are labelled otherwise by now come to light as they are found, and
        it is read anew without them."""
        if reach.whole:
            return await self.reading(lambda: read(None))
        hidden: frozenset[str] = frozenset()
        while True:
            found = await self.reading(lambda hidden=hidden: read(Within(reach.classes, hidden, reach.everything)))  # type: ignore[misc]  # the default is its type
            out = await self.outside(reach, found.through)
            if not out:
                return found
            if out <= hidden:
                raise LedgerUnavailable("its index gives what it was told to leave out")
            hidden |= out

    async def outside(self, reach: Reach, documents: Collection[str]) -> frozenset[str]:
        """Those documents of which a class of now is out of reach, or that nobody knows."""
        idents = {document: UUID(document) for document in documents}
        classes = await self._documents.current_classes(sorted(idents.values())) if idents else {}
        return frozenset(
            document for document, ident in idents.items() if not _all_within(reach, classes.get(ident, ()))
        )

    async def reading(self, read: Callable[[], T]) -> T:
        """What the index says, beside the event loop."""
        try:
            return await asyncio.to_thread(read)
        except IndexUnreadable as error:
            raise LedgerUnavailable(f"its index cannot be read: {error}") from error

    async def opened(self, asking: Awaitable[T]) -> T:
        """What the log says."""
        try:
            return await asking
        except LogFailed as error:
            raise LedgerUnavailable(str(error)) from error


def _all_within(reach: Reach, classes: Sequence[int]) -> bool:
    return bool(classes) and reach.classes.issuperset(classes)


class Names:
    """Whom pseudonyms and what documents' ids are the names of, for those who may identify."""

    def __init__(self, asking: Asking, documents: DocumentNames) -> None:
        self._asking, self._documents = asking, documents

    async def of_people(self, pseudonyms: Iterable[str | None]) -> dict[str, str | None]:
        """None for one whose name can be opened no more."""
        return {pseudonym: await self.of_person(pseudonym) for pseudonym in set(pseudonyms) if pseudonym is not None}

    async def of_person(self, pseudonym: str) -> str | None:
        try:
            return await self._asking.opened(self._asking.ledger.subjects.name_of(pseudonym))
        except SealBroken:
            return None

    async def of_documents(self, documents: Iterable[str]) -> dict[str, DocumentName]:
        ids = sorted({UUID(document) for document in documents})
        return {str(ident): name for ident, name in (await self._documents.named(ids)).items()}

    async def pseudonym(self, reviewer: Reviewer, person: str | None, pseudonym: str | None) -> str | None:
        """Whom a reviewer names, in one of two ways; by name if they may identify. None for a name that nobody has."""
        if (person is None) == (pseudonym is None):
            raise UserError("person", "and a pseudonym are two ways to ask", "give one of the two")
        if person is None:
            return str(_uuid("pseudonym", pseudonym or ""))
        await self._asking.reviewers.judged(reviewer, Action.AUDIT_IDENTIFY)
        subject = await self._asking.opened(self._asking.ledger.subjects.found(person))
        return None if subject is None else subject.pseudonym

    async def document_at(self, reviewer: Reviewer, path: str, source: str | None) -> UUID | None:
        """The document at a path, if they may identify it; out of their reach there is none."""
        reach = await self._asking.reviewers.judged(reviewer, Action.AUDIT_IDENTIFY)
        documents = await self._documents.at(path, source)
        if not reach.whole:
            out = await self._asking.outside(reach, [str(document) for document in documents])
            documents = [document for document in documents if str(document) not in out]
        if len(documents) > 1:
            raise UserError("path", "is in more than one source", "name its source too, or ask by the document's id")
        return documents[0] if documents else None


def _uuid(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UserError(name, "is not an id", "copy it from an answer of the audit log") from None
