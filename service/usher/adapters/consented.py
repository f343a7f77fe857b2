"""Exchanges that their askers gave for training: by a good word on the answer, or by a better answer of their own.

The leave is `train` in their feedback, sealed with its words under the conversation's key: it ends with the feedback,
the conversation, the keeping of its texts, or the person's erasure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from usher.core import exposures
from usher.feedback import gave, opened_words
from usher.ledger.content import Subject
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.ports import ConversationIndex
from usher.ports.datasets import Standing
from usher.ports.feedback import FeedbackStore, Given, Verdict
from usher.threads import Threads
from usher_lora.dataset import Exchange

PAGE = 500


class Consented:
    """Reads them. Raises `LedgerUnavailable`, `SealBroken`."""

    def __init__(self, store: FeedbackStore, index: ConversationIndex, threads: Threads, ledger: Ledger) -> None:
        self._store, self._index, self._threads, self._ledger = store, index, threads, ledger

    async def exchanges(self, documents: Mapping[UUID, Standing]) -> list[Exchange]:
        """Those that rest on some of these documents and on nothing else, each in the version that it has now; the
        newest first."""
        found: list[Exchange] = []
        before: UUID | None = None
        while page := await self._store.page(before, PAGE):
            for given in page:
                shown = exposures.unpack(given.exposures)
                if not shown or not shown <= documents.keys():
                    continue
                since = max(documents[document].since for document in shown)
                if (one := await self._opened(given, shown, since)) is not None:
                    found.append(one)
            before = page[-1].row.id
        return found

    async def _opened(self, given: Given, shown: frozenset[UUID], since: datetime) -> Exchange | None:
        if not given.row.sealed:
            return None
        subject = await self._ledger.subject(given.user)
        words = opened_words(subject.conversation(str(given.conversation)), given.row)
        corrected = (words.correction or "").strip()
        if not words.train or (given.row.verdict is not Verdict.UP and not corrected):
            return None
        row = await self._index.exchange(given.user, given.row.exchange)
        if row is None or row.exposures != given.exposures or row.created_at <= since:
            return None
        said = (await self._threads.texts(subject, [row]))[row.id]
        answer = corrected or said.answer.strip()
        if said.dropped or not said.question.strip() or not answer:
            return None
        return Exchange(subject.pseudonym, said.question.strip(), answer, shown, row.id)


class Leaves:
    """Whether somebody, by pseudonym, still lets adapters learn from an exchange of theirs. Raises
    `LedgerUnavailable`."""

    def __init__(self, store: FeedbackStore, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger

    async def stands(self, person: str, exchange: UUID) -> bool:
        """False also where what they said is kept no more, and for whoever was erased or is not known."""
        try:
            subject, given = await self._given(person, exchange)
            return subject is not None and given is not None and gave(subject, given)
        except SealBroken:
            return False

    async def taken_back(self, person: str, exchange: UUID) -> bool:
        """Whether they said otherwise since, or deleted it: not that their words are kept no more."""
        try:
            subject, given = await self._given(person, exchange)
            return subject is None or given is None or (bool(given.row.sealed) and not gave(subject, given))
        except SealBroken:  # the key of their words is gone
            return True

    async def _given(self, person: str, exchange: UUID) -> tuple[Subject | None, Given | None]:
        subject, user = await self._ledger.subjects.known(person), await self._ledger.subjects.name_of(person)
        return subject, None if user is None else await self._store.own(user, exchange)
