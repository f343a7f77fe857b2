"""The reviewers' questions: who saw a document, what somebody saw, what was denied, what an adapter answered, what
touched a marking. Each is recorded before its answer.

Pseudonyms, ids and labels are for `audit.read`; asking by a person's name or a document's path, and reading those in
an answer, takes `audit.identify`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from usher.audit.asking import Answered, Asking, Names
from usher.audit.ranges import MAX_AFTER, Range
from usher.audit.reviewers import Reviewer
from usher.authority import Authority
from usher.errors import UserError
from usher.ports.audit_index import Denial, DocumentName, Found, Seen, What, Within
from usher_policy.vocabulary import Action, is_name


@dataclass(frozen=True, slots=True)
class Named:
    """A document by its id, or by its path (and source, where the path is in several)."""

    document: UUID | None = None
    path: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class SeenAnswer(Answered[Seen]):
    """`documents` names them by id, where names were asked for."""

    documents: Mapping[str, DocumentName] = field(default_factory=dict)


DeniedAnswer = Answered[Denial]


class Questions:
    """The use case. Its questions raise what `Asking` does."""

    def __init__(self, asking: Asking, names: Names, authority: Authority) -> None:
        self._asking, self._names, self._authority = asking, names, authority
        self.follower = asking.follower

    async def who_saw(
        self,
        reviewer: Reviewer,
        named: Named,
        version: int | None = None,
        chunk: UUID | None = None,
        part: Range | None = None,
    ) -> SeenAnswer:
        """Every exchange and view that showed the document, or inherited it from one that did."""
        part = part or Range()
        between = part.between()
        if version is not None and not 0 < version <= MAX_AFTER:
            raise UserError("version", "is no version's number", "give one from 1 on, or leave it out")
        document = named.document
        if named.path is not None:
            document = await self._names.document_at(reviewer, named.path, named.source)
        more = () if named.path is None else (Action.AUDIT_IDENTIFY,)
        asked = {"document": document and str(document), "version": version, "passage": chunk and str(chunk)}
        what = What(document, version, chunk)
        index = self._asking.index
        return await self._seen(
            reviewer, "who_saw", asked, part, lambda within: index.who_saw(what, between, within), *more
        )

    async def saw(
        self, reviewer: Reviewer, person: str | None, pseudonym: str | None, part: Range | None = None
    ) -> SeenAnswer:
        """What somebody was shown: by name (which takes the right to identify) or by pseudonym. A name or pseudonym
        that nobody has was shown nothing."""
        part = part or Range()
        between = part.between()
        more = () if person is None else (Action.AUDIT_IDENTIFY,)
        subject = await self._names.pseudonym(reviewer, person, pseudonym)
        index = self._asking.index
        return await self._seen(
            reviewer, "saw", {"subject": subject}, part, lambda within: index.saw(subject, between, within), *more
        )

    async def denied(self, reviewer: Reviewer, part: Range | None = None) -> DeniedAnswer:
        """Everything that was denied or refused, and why."""
        part = part or Range()
        between, index = part.between(), self._asking.index
        return await self._asking.ask(
            reviewer,
            "denied",
            part.recorded(),
            lambda within: index.denied(between, within),
            lambda found: self._denials(reviewer, found),
        )

    async def _denials(self, reviewer: Reviewer, found: DeniedAnswer) -> DeniedAnswer:
        if not reviewer.names:
            return found
        users = await self._names.of_people(entry.pseudonym for entry in found.entries)
        named = [replace(entry, user=users.get(entry.pseudonym or "")) for entry in found.entries]
        return replace(found, entries=named)

    async def by_adapter(self, reviewer: Reviewer, adapter: str, part: Range | None = None) -> SeenAnswer:
        """Every answer of an adapter, by its served name, or of all that have a name in the policy. One that the log
        does not know answered nothing."""
        part = part or Range()
        between, index = part.between(), self._asking.index
        await self._asking.follower.caught_up()
        known = await self._asking.reading(lambda: index.has_adapter(adapter))
        asked = {"adapter": adapter if known else None}
        return await self._seen(
            reviewer, "by_adapter", asked, part, lambda within: index.by_adapter(adapter, between, within)
        )

    async def touched(self, reviewer: Reviewer, marking: str, part: Range | None = None) -> SeenAnswer:
        """Whatever found, showed or inherited a document that had a marking then. One that no document has touched
        nothing."""
        part = part or Range()
        between, index = part.between(), self._asking.index
        if not is_name(marking, frozenset({"mark"})):
            raise UserError("marking", "is not a marking", "write it as mark:pii")
        _, snapshot = await self._authority.current()
        classes = {number for number, names in snapshot.catalog.classes.items() if marking in names}
        asked = {"marking": marking if classes else None}
        return await self._seen(
            reviewer, "touched", asked, part, lambda within: index.touched(classes, between, within)
        )

    async def _seen(
        self,
        reviewer: Reviewer,
        question: str,
        asked: Mapping[str, Any],
        part: Range,
        read: Callable[[Within | None], Found[Seen]],
        *more: Action,
    ) -> SeenAnswer:
        return await self._asking.ask(
            reviewer, question, {**asked, **part.recorded()}, read, lambda found: self._told(reviewer, found), *more
        )

    async def _told(self, reviewer: Reviewer, found: Answered[Seen]) -> SeenAnswer:
        far = (found.next, found.complete, found.indexed, found.size)
        if not reviewer.names:
            return SeenAnswer(found.entries, *far)
        users = await self._names.of_people(entry.pseudonym for entry in found.entries)
        entries = [replace(entry, user=users.get(entry.pseudonym or "")) for entry in found.entries]
        shown = (passage.document for entry in entries for passage in entry.passages)
        return SeenAnswer(entries, *far, await self._names.of_documents(shown))
