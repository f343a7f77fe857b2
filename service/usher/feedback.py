"""Feedback: what people say of the answers that they got. It follows what the answer has shown.

The ledger hears of the verdict and of a commitment to the words; the words themselves are sealed under the key of the
exchange's conversation, and may be read by whoever may read now all that the exchange has shown.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar
from uuid import UUID

from usher.authority import Authority, Clock, Grant, utc_now
from usher.errors import UserError
from usher.ledger.content import Conversation, Subject
from usher.ledger.record import EventType, uuid7
from usher.ledger.sealing import KEY_BYTES
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.ports import ConversationIndex, ExchangeRow
from usher.ports.feedback import FeedbackRow, FeedbackStore, Given, Verdict
from usher.retrieve import denied
from usher.threads import NoSuchExchange, Threads
from usher.viewing import NotPermitted, Viewing
from usher_policy.vocabulary import Action

T = TypeVar("T")

MAX_REASON = 2_000
MAX_CORRECTION = 20_000
"""Characters."""
MAX_LIMIT = 500
AUDIT = "sys:audit"
FEEDBACK = "feedback"
EXCHANGE = "exchange"
"""The field that names an answer."""


@dataclass(frozen=True, slots=True)
class Words:
    """Why, and what the answer should have been. `train`: adapters may learn from the exchange."""

    reason: str | None = None
    correction: str | None = None
    train: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Feedback as its reader gets it. `subject` is the pseudonym of whoever gave it; `words` are None if hidden, or no
    longer kept."""

    row: FeedbackRow
    subject: str
    words: Words | None


Withdrew = Callable[[str], Awaitable[object]]
"""Told that somebody, by pseudonym, took back the leave to learn from an exchange."""


async def _nobody_learned(_subject: str) -> None:
    """Where there are no adapters."""


class Feedback:
    """Giving feedback on one's own exchange, reading it again, and the reviewers' list."""

    def __init__(
        self,
        authority: Authority,
        ledger: Ledger,
        index: ConversationIndex,
        threads: Threads,
        store: FeedbackStore,
        courier: Courier,
        withdrew: Withdrew = _nobody_learned,
        clock: Clock = utc_now,
    ) -> None:
        self._authority = authority
        self._ledger = ledger
        self._viewing = Viewing(authority, ledger)
        self._index = index
        self._threads = threads
        self._store = store
        self._courier = courier
        self._clock = clock
        self._withdrew = withdrew

    async def give(self, grant: Grant, exchange: UUID, verdict: Verdict, words: Words) -> FeedbackRow:
        """Recorded when this returns; what was said before of the same exchange is replaced.

        Raises `NoSuchExchange`, `NotPermitted`, `UserError` for words that are too long, `LedgerUnavailable`.
        """
        _limited("reason", words.reason, MAX_REASON)
        _limited("correction", words.correction, MAX_CORRECTION)
        grant = await self._authority.again(grant)
        shown = await self._own(grant, exchange)
        subject = await self._ledger.subject(grant.credential.user)
        ident = UUID(uuid7())
        sealed, commitment = _sealed(subject.conversation(str(shown.conversation)), ident, words)
        row = FeedbackRow(ident, exchange, self._clock(), verdict, sealed)
        before = await self._store.own(grant.credential.user, exchange)
        change = await self._store.put(grant.credential.user, row, commitment, train=words.train)
        if change is None:
            raise NoSuchExchange(EXCHANGE)
        await self._courier.carry([change])
        if before is not None and not words.train and gave(subject, before):
            await self._withdrew(subject.pseudonym)
        return row

    async def lets_learn(self, user: str, conversation: UUID) -> str | None:
        """The person's pseudonym, where adapters may learn from some exchange of the conversation."""
        given = await self._store.within(user, conversation)
        subject = await self._ledger.subject(user)
        return subject.pseudonym if any(gave(subject, one) for one in given) else None

    async def taken_back(self, pseudonym: str) -> None:
        """What learned from exchanges of this person is told that it may not know them any more."""
        await self._withdrew(pseudonym)

    async def own(self, grant: Grant, exchange: UUID) -> Read:
        """One's own. Recorded as a view before it is given; an exchange without feedback is not found.

        Raises `NoSuchExchange`, `NotPermitted`, `Changing`, `LedgerUnavailable`.
        """

        async def look(grant: Grant) -> Given:
            await self._own(grant, exchange)
            given = await self._store.own(grant.credential.user, exchange)
            if given is None:
                raise NoSuchExchange(EXCHANGE)
            return given

        def entry(grant: Grant, given: Given) -> tuple[EventType, dict[str, Any]]:
            return EventType.VIEW, {**_versions(grant), "exchange": str(exchange), "feedback": str(given.row.id)}

        return await self._read(await self._viewing.recorded(grant, FEEDBACK, look, entry), True)

    async def page(self, grant: Grant, after: UUID | None, limit: int) -> tuple[list[Read], UUID | None]:
        """A page of everybody's, newest first, and the id to go on after (None: the end).

        For holders of `audit.review`; the words only where all that the exchange has shown is in the reader's own
        scope. Raises `UserError`, `NotPermitted`, `Changing`, `LedgerUnavailable`.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")

        async def look(grant: Grant) -> list[tuple[Given, bool]]:
            _reviewer(grant)
            page = await self._store.page(after, limit + 1)
            allowed = await self._threads.permitted(grant.scope, [given.exposures for given in page])
            return list(zip(page, allowed, strict=True))

        def entry(grant: Grant, found: list[tuple[Given, bool]]) -> tuple[EventType, dict[str, Any]]:
            listed = [{"feedback": str(given.row.id), "words": may} for given, may in found[:limit]]
            asked = {"actor": grant.credential.kind, "limit": limit, "after": after and str(after)}
            return EventType.AUDIT_READ, {**_versions(grant), **asked, "feedback": listed}

        found = await self._viewing.recorded(grant, FEEDBACK, look, entry)
        page = [await self._read(given, may) for given, may in found[:limit]]
        return page, page[-1].row.id if len(found) > limit else None

    async def _own(self, grant: Grant, exchange: UUID) -> ExchangeRow:
        refusal = denied(grant)
        if refusal is not None:
            raise NotPermitted("key", f"opens no conversations any more ({refusal})", "ask your administrator")
        row = await self._index.exchange(grant.credential.user, exchange)
        if row is None or not await self._threads.visible(grant.scope, [row]):
            raise NoSuchExchange(EXCHANGE)
        return row

    async def _read(self, given: Given, may: bool) -> Read:
        subject = await self._ledger.subject(given.user)
        if not may or not given.row.sealed:
            return Read(given.row, subject.pseudonym, None)
        words = opened_words(subject.conversation(str(given.conversation)), given.row)
        return Read(given.row, subject.pseudonym, words)


def _limited(field: str, text: str | None, most: int) -> None:
    if text is not None and len(text) > most:
        raise UserError(field, f"has {len(text)} characters, more than {most}", "shorten it")


def _reviewer(grant: Grant) -> None:
    decision = grant.may(Action.AUDIT_REVIEW, AUDIT)
    if not decision.allowed:
        raise NotPermitted("key", f"lists no feedback ({decision.reason})", "ask your administrator")


def _versions(grant: Grant) -> dict[str, Any]:
    scope = grant.scope
    return {"policy_version": scope.policy_version, "label_version": scope.label_version}


def gave(subject: Subject, before: Given) -> bool:
    """Whether adapters might learn from the exchange until now."""
    if not before.row.sealed:
        return False
    return opened_words(subject.conversation(str(before.conversation)), before.row).train


def _label(ident: UUID) -> str:
    return f"feedback {ident}"


def _sealed(conversation: Conversation, ident: UUID, words: Words) -> tuple[bytes, str]:
    """The words sealed, and the commitment to them: `HMAC-SHA-256(random key, words)` in hex. Its key is sealed with
    them, so that it binds them, tells nothing about them, and dies with the conversation's key."""
    blind, text = os.urandom(KEY_BYTES), json.dumps(asdict(words))
    commitment = hmac.digest(blind, text.encode(), hashlib.sha256).hex()
    return conversation.seal_label(_label(ident), blind.hex() + text), commitment


def opened_words(conversation: Conversation, row: FeedbackRow) -> Words:
    """Raises `SealBroken`, also for the words of another feedback or conversation."""
    return Words(**json.loads(conversation.open_label(_label(row.id), row.sealed)[2 * KEY_BYTES :]))
