"""Opening the content of one exchange, for a reason that is typed, and the list of all uses of the log.

The reason is sealed under the key of the conversation that was opened, as its content is, and stands so in the event:
it tells of whoever asked, and goes with them. Those who hold `audit.review` read it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from usher.audit.asking import Answered, Asking, Names
from usher.audit.ranges import Range
from usher.audit.reviewers import Reviewer
from usher.core.reach import Reach
from usher.errors import UserError
from usher.feedback import Words, opened_words
from usher.ledger.content import Conversation, Dropped
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import ContentRow, Kind
from usher.ledger.sealing import KEY_BYTES, SealBroken
from usher.ledger.subjects import Erased
from usher.ports.audit_index import Exposed, Wanted
from usher.ports.feedback import FeedbackStore, Verdict
from usher_policy.vocabulary import Action

MAX_REASON = 2_000
"""Characters."""
UNSEAL = "unseal"
_UNOPENED = ("does not open with the key ring that is here", "run `usher audit verify`, which says what is damaged")
_USES = Wanted(uses=True)
_OF_EVERY_EVENT = frozenset(
    {"number", "time", "type", "audit_id", "who", "actor", "question", "names", "sealed_reason"}
)


class NotWithin(UserError):
    """There is no such exchange, it has not ended, or it is out of reach: the same for all."""

    status = 404

    def __init__(self) -> None:
        super().__init__("exchange", "names no ended exchange within your reach", "copy its audit id from the log")


class Gone(UserError):
    """The content is no longer there. The events stay, and say so."""

    status = 410

    def __init__(self, how: str, remedy: str) -> None:
        super().__init__("exchange", how, remedy)


@dataclass(frozen=True, slots=True)
class ClientTurn:
    """A turn of the client program that stood in the prompt."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said of the answer; the words are null where they can be opened no more."""

    verdict: Verdict
    words: Words | None


@dataclass(frozen=True, slots=True)
class Content:
    """All that one exchange said. `query` is what was searched for, if that is not the question; `answer` is null where
    none was given. `use` is the id of this opening, as its event has it."""

    exchange: str
    conversation: str
    pseudonym: str
    question: str
    query: str | None
    client_turns: tuple[ClientTurn, ...]
    answer: str | None
    feedback: Said | None
    use: str


@dataclass(frozen=True, slots=True)
class Use:
    """Somebody read the log: as the operator, or a person by pseudonym and credential kind. `asked` is what for.
    `reason` comes with the opening of content; null there where the person it is about was erased."""

    number: int
    time: str
    actor: str
    pseudonym: str | None
    question: str
    names: bool
    asked: Mapping[str, Any]
    reason: str | None
    user: str | None = None


UsesAnswer = Answered[Use]


class Unsealing:
    """The use case. Raises what `Asking` does."""

    def __init__(self, asking: Asking, names: Names, feedback: FeedbackStore) -> None:
        self._asking, self._names, self._feedback = asking, names, feedback

    async def content(self, reviewer: Reviewer, exchange: UUID, reason: str) -> Content:
        """1. the rights are judged, and every document that the exchange found or inherited is within their reach
        2. who opens what, with the reason sealed, is durable in the record
        3. it is opened, and judged again as in 1

        Raises `NotWithin`, `Gone`.
        """
        reason = _typed(reason)
        exposed = await self._within(await self._reach(reviewer), exchange)
        rows = await self._asking.opened(self._asking.ledger.content(str(exchange)))
        key = await self._key(exposed.pseudonym, rows)
        use = str(uuid4())
        asked = {"exchange": str(exchange), "use": use, "sealed_reason": key and _sealed(key, use, reason)}
        await self._asking.reviewers.admitted(reviewer, UNSEAL, asked, Action.AUDIT_UNSEAL)
        if key is None:
            raise Gone("was erased", "its events stay, and an `erasure` event says when and under which rule")
        content = await self._opened(exchange, key, rows, use)
        now = await self._asking.reviewers.again(reviewer, Action.AUDIT_UNSEAL)
        await self._within(now, exchange)
        return content

    async def uses(self, reviewer: Reviewer, part: Range | None = None) -> UsesAnswer:
        """Who looked at the log, what for, and why they opened content, for holders of `audit.review`. A limited right
        shows the uses that were about a document or an exchange within its reach; the reason, which may tell of all
        that the exchange was about, where all of that is within it."""
        part = part or Range()
        between, index = part.between(), self._asking.index
        reviewer = replace(reviewer, right=Action.AUDIT_REVIEW)

        async def told(found: Answered[Mapping[str, Any]]) -> UsesAnswer:
            reach = await self._asking.reviewers.judged(reviewer)
            uses = [await self._use(event, reach) for event in found.entries]
            if reviewer.names:
                people = await self._names.of_people(use.pseudonym for use in uses)
                uses = [replace(use, user=people.get(use.pseudonym or "")) for use in uses]
            return Answered(uses, found.next, found.complete, found.indexed, found.size)

        return await self._asking.ask(
            reviewer, "uses", part.recorded(), lambda within: index.events(_USES, between, within), told
        )

    async def _reach(self, reviewer: Reviewer) -> Reach:
        return await self._asking.reviewers.judged(reviewer, Action.AUDIT_UNSEAL)

    async def _within(self, reach: Reach, exchange: UUID) -> Exposed:
        """What the exchange exposed, all of it within reach. An exchange about no document at all is for those only who
        may know of everything."""
        if not await self._asking.follower.caught_up():
            raise LedgerUnavailable("its index is behind; what an exchange has shown cannot be told yet")
        exposed = await self._asking.reading(lambda: self._asking.index.exposed(str(exchange)))
        if exposed is None or not (exposed.documents or reach.everything):
            raise NotWithin
        if reach.whole:
            return exposed
        then = all(number is not None and number in reach.classes for _, number in exposed.documents)
        if not then or await self._asking.outside(reach, {document for document, _ in exposed.documents}):
            raise NotWithin
        return exposed

    async def _all_within(self, reach: Reach, exchange: UUID) -> bool:
        try:
            await self._within(reach, exchange)
        except NotWithin:
            return False
        return True

    async def _key(self, pseudonym: str, rows: Sequence[ContentRow]) -> Conversation | None:
        """What opens the exchange; None if whoever asked was erased."""
        if not rows:
            raise Gone("has no content", "its events are all that there is of it")
        try:
            subject = await self._asking.opened(self._asking.ledger.subjects.known(pseudonym))
        except Erased:
            return None
        except SealBroken:
            raise Gone(*_UNOPENED) from None
        return None if subject is None else subject.conversation(rows[0].conversation)

    async def _opened(self, exchange: UUID, key: Conversation, rows: Sequence[ContentRow], use: str) -> Content:
        try:
            texts = await asyncio.to_thread(key.open_all, rows)
        except Dropped:
            raise Gone("is no longer kept", "a `retention` event says when it went, and under which rule") from None
        except SealBroken:
            raise Gone(*_UNOPENED) from None
        said = [(row.kind, text) for row, text in zip(rows, texts, strict=True)]
        answer = [text for kind, text in said if kind is Kind.ANSWER]
        query = [text for kind, text in said if kind is Kind.QUERY]
        return Content(
            exchange=str(exchange),
            conversation=key.id,
            pseudonym=key.pseudonym,
            question="".join(text for kind, text in said if kind is Kind.QUESTION),
            query="".join(query) if query else None,
            client_turns=tuple(_turn(text) for kind, text in said if kind is Kind.CLIENT),
            answer="".join(answer) if answer else None,
            feedback=await self._said(exchange, key),
            use=use,
        )

    async def _said(self, exchange: UUID, key: Conversation) -> Said | None:
        """Feedback on the answer. What belongs to a conversation that its person has deleted is not there."""
        user = await self._names.of_person(key.pseudonym)
        given = None if user is None else await self._feedback.own(user, exchange)
        if given is None:
            return None
        try:
            return Said(given.row.verdict, opened_words(key, given.row))
        except SealBroken:
            return Said(given.row.verdict, None)

    async def _use(self, event: Mapping[str, Any], reach: Reach) -> Use:
        who = event["who"] or {}
        asked = {name: value for name, value in event.items() if name not in _OF_EVERY_EVENT and value is not None}
        question = str(event.get("question") or ("proof" if "proof" in event else "events"))
        reason = await self._reason(event, reach) if question == UNSEAL else None
        by = (str(event.get("actor", "")), who.get("pseudonym"), question, bool(event.get("names")))
        return Use(event["number"], event["time"], *by, asked, reason)

    async def _reason(self, event: Mapping[str, Any], reach: Reach) -> str | None:
        sealed = event.get("sealed_reason")
        if not sealed or not (reach.whole or await self._all_within(reach, UUID(event["exchange"]))):
            return None
        rows = await self._asking.opened(self._asking.ledger.content(event["exchange"]))
        try:
            key = await self._key(rows[0].pseudonym, rows) if rows else None
            return None if key is None else _reason(key, event["use"], sealed)
        except (SealBroken, Gone):
            return None


def _typed(reason: str) -> str:
    text = reason.strip()
    if not text:
        raise UserError("reason", "is empty", "say why this content has to be read")
    if len(text) > MAX_REASON:
        raise UserError("reason", f"has {len(text)} characters, more than {MAX_REASON}", "shorten it")
    return text


def _label(use: str) -> str:
    return f"{UNSEAL} {use}"


def _sealed(key: Conversation, use: str, reason: str) -> str:
    """The reason as hex, sealed with the key of a commitment to it, `HMAC-SHA-256(random key, reason)`, and that
    commitment: who opens it sees that it is what was typed then."""
    blind = os.urandom(KEY_BYTES)
    commitment = hmac.digest(blind, reason.encode(), hashlib.sha256).hex()
    return commitment + key.seal_label(_label(use), blind.hex() + reason).hex()


def _reason(key: Conversation, use: str, sealed: str) -> str:
    """Raises `SealBroken`."""
    commitment, ciphertext = sealed[: 2 * KEY_BYTES], bytes.fromhex(sealed[2 * KEY_BYTES :])
    opened = key.open_label(_label(use), ciphertext)
    blind, reason = bytes.fromhex(opened[: 2 * KEY_BYTES]), opened[2 * KEY_BYTES :]
    if not hmac.compare_digest(hmac.digest(blind, reason.encode(), hashlib.sha256).hex(), commitment):
        raise SealBroken("reason: its commitment is of another text")
    return reason


def _turn(text: str) -> ClientTurn:
    role, _, said = text.partition("\n")
    return ClientTurn(role, said)
