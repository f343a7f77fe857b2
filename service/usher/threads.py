"""What an exchange follows: its conversation, and the exchanges before it that may be shown again.

Every exchange that is read back, for a prompt or for the screen, passes `Threads.visible`: all that it has shown must
be in the scope of now. What a client says of its history only selects among the person's own recorded exchanges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from usher.core import exposures
from usher.core.cited import Cited, pack
from usher.core.dialogue import Earlier, Past, normalized
from usher.core.history import Asked
from usher.core.retention import NO_LONGER_KEPT
from usher.errors import UserError
from usher.ledger.content import Subject
from usher.ledger.record import ContentRow, Kind, is_dropped, uuid7
from usher.ledger.sequencer import Ledger
from usher.limits import Limits
from usher.ports import ConversationIndex, Documents, ExchangeRow
from usher_policy.decide import Scope

T = TypeVar("T")

MAX_EARLIER = 100
"""The newest exchanges of a conversation that a prompt may hold, if they fit."""


AT_ONCE = 64 * 1024
"""Bytes of exposures that are judged on the event loop, a few milliseconds; more are judged beside it."""


class NoSuchExchange(UserError):
    """The conversation or exchange is not there, or not this person's: the same for both. `field` named it."""

    status = 404

    def __init__(self, field: str) -> None:
        super().__init__(field, "names nothing of yours", "give the id of a conversation or an answer of your own")


def known_id(field: str, text: str) -> UUID:
    """The id that a client names. Raises `NoSuchExchange`: what is no id at all names nothing of anybody's."""
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchExchange(field) from None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client puts a question: into a conversation, `after` an exchange of it (default: its newest), or
    `instead_of` one, as a branch beside it. Nothing given: where the answers that it resends stand, else in a new one.
    """

    conversation: UUID | None = None
    after: UUID | None = None
    instead_of: UUID | None = None

    @classmethod
    def named(cls, **ids: str | None) -> Place:
        """By the ids that a client gives, as they came. Raises `NoSuchExchange`."""
        return cls(**{field: known_id(field, text) for field, text in ids.items() if text is not None})


@dataclass(frozen=True, slots=True)
class Thread:
    """`path`: the exchanges before, oldest first. `left_out`: turns of the client that are no recorded exchange's.
    `again`: the exchange whose question is asked once more, if the client sent none. `is_new`: the conversation begins
    with it."""

    conversation: UUID
    parent: UUID | None
    path: tuple[ExchangeRow, ...] = ()
    left_out: int = 0
    again: ExchangeRow | None = None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Texts:
    """What was asked and answered, as recorded. `parts` are the answer's, in the order they were shown. Where it was
    `dropped`, fixed words stand for both."""

    question: str
    parts: tuple[str, ...]
    dropped: bool = False

    @property
    def answer(self) -> str:
        return "".join(self.parts)


class Threads:
    """Finds what an exchange follows, and opens what may be read of it."""

    def __init__(self, index: ConversationIndex, documents: Documents, ledger: Ledger) -> None:
        self._index = index
        self._documents = documents
        self._ledger = ledger

    async def find(self, user: str, subject: Subject, asked: Asked, place: Place) -> Thread:
        """By ids and digests only: no text is opened. Raises `NoSuchExchange`."""
        if place.instead_of is not None:
            row = await self._placed(user, "instead_of", place.instead_of, place.conversation)
            return await self._within(user, row.conversation, row.parent, row)
        if place.after is not None:
            row = await self._placed(user, "after", place.after, place.conversation)
            return await self._within(user, row.conversation, row.id)
        if place.conversation is not None and await self._index.get(user, place.conversation) is None:
            raise NoSuchExchange("conversation")
        if asked.resent or asked.unanswered:
            return await self._resent(user, subject, asked, place.conversation)
        if place.conversation is None:
            return Thread(UUID(uuid7()), None, is_new=True)
        return await self._within(user, place.conversation)

    async def question(self, scope: Scope, subject: Subject, row: ExchangeRow) -> str:
        """What was asked in an exchange that may be shown and is kept. Raises `NoSuchExchange`, `LedgerUnavailable`."""
        if row.id not in await self.visible(scope, [row]):
            raise NoSuchExchange("instead_of")
        said = (await self.texts(subject, [row]))[row.id]
        if said.dropped:
            raise NoSuchExchange("instead_of")
        return said.question

    async def earlier(self, scope: Scope, subject: Subject, thread: Thread) -> list[Earlier]:
        """The exchanges before, oldest first, with their texts; None for each that may not be shown again. One that
        has no answer, or is no longer kept, is left out. Raises `LedgerUnavailable`, `SealBroken`."""
        path = [row for row in thread.path[-MAX_EARLIER:] if row.answer_digest is not None]
        seen = await self.visible(scope, path)
        texts = await self.texts(subject, [row for row in path if row.id in seen])
        gone = {ident for ident, said in texts.items() if said.dropped}
        return [_past(row, texts) if row.id in seen else None for row in path if row.id not in gone]

    async def visible(self, scope: Scope, rows: Collection[ExchangeRow]) -> set[UUID]:
        """The exchanges of which all that they have shown is in the scope now."""
        allowed = await self.permitted(scope, [row.exposures for row in rows])
        return {row.id for row, may in zip(rows, allowed, strict=True) if may}

    async def permitted(self, scope: Scope, shown: Sequence[bytes]) -> list[bool]:
        """For each of these exposures whether all of it is in the scope now."""
        beside = asyncio.to_thread if sum(map(len, shown)) > AT_ONCE else _here
        documents = await beside(exposures.documents_of, shown)
        classes = await self._documents.current_classes(documents) if documents else {}
        return await beside(_permitted, shown, classes, documents, scope.classes)

    async def texts(self, subject: Subject, rows: Sequence[ExchangeRow]) -> dict[UUID, Texts]:
        """What these exchanges said; the caller has asked `visible`. Raises `LedgerUnavailable`, `SealBroken`."""
        return await self._ledger.contents([str(row.id) for row in rows], partial(_texts, subject, rows))

    async def begin(self, user: str, row: ExchangeRow, sealed_title: bytes | None) -> bool:
        """Add an exchange before anything of it is shown; see `ConversationIndex.begin`."""
        return await self._index.begin(user, row, sealed_title)

    async def end(
        self, exchange: UUID, subject: Subject, outcome: str, answer: str, cited: Iterable[Cited], now: datetime
    ) -> None:
        """`answer` is what was shown, so that it is recognised when a client sends it again; `cited` its sources."""
        said = normalized(answer)
        digest = subject.digest(said) if said else None
        await self._index.end(exchange, outcome, digest, now, len(answer.encode()), pack(cited))

    async def check_room(self, user: str, thread: Thread, limits: Limits) -> None:
        """Raises `LimitExceeded` where one more question would be more than a person may keep."""
        size, conversations = await self._index.kept(user)
        limits.stored(user, size)
        if thread.is_new:
            limits.conversations(user, conversations)

    async def _placed(self, user: str, field: str, exchange: UUID, conversation: UUID | None) -> ExchangeRow:
        row = await self._index.exchange(user, exchange)
        if row is None or conversation not in (None, row.conversation):
            raise NoSuchExchange(field)
        return row

    async def _within(
        self, user: str, conversation: UUID, parent: UUID | None = None, again: ExchangeRow | None = None
    ) -> Thread:
        """After `parent`, or after the newest exchange if nothing is asked once more."""
        if parent is None and again is not None:
            return Thread(conversation, None, again=again)
        path = await self._index.path(user, conversation, parent, MAX_EARLIER)
        return Thread(conversation, path[-1].id if path else None, tuple(path), again=again)

    async def _resent(self, user: str, subject: Subject, asked: Asked, conversation: UUID | None) -> Thread:
        """The recorded exchanges that a client's turns are of, in the client's order."""
        digests = [_digest(subject, pair.answer) for pair in asked.resent]
        rows = await self._index.by_answer(user, [digest for digest in digests if digest is not None])
        known = await asyncio.to_thread(_known, rows)
        found: list[ExchangeRow] = []
        left_out = asked.unanswered
        for pair, digest in zip(asked.resent, digests, strict=True):
            if digest in known:
                found.append(known[digest].asked(subject.digest(normalized(pair.question))))
            else:
                left_out += pair.turns
        if not found and conversation is not None:
            return replace(await self._within(user, conversation), left_out=left_out)
        inside = [row for row in found if conversation in (None, row.conversation)]
        if not inside:
            return Thread(conversation or UUID(uuid7()), None, tuple(found), left_out, is_new=conversation is None)
        return Thread(inside[-1].conversation, inside[-1].id, tuple(found), left_out)


def _permitted(
    shown: Sequence[bytes], classes: exposures.CurrentClasses, documents: Sequence[UUID], scope: Collection[int]
) -> list[bool]:
    banned = exposures.forbidden(classes, documents, scope)
    return [exposures.permitted(packed, banned) for packed in shown]


async def _here(work: Callable[..., T], *values: Any) -> T:
    return work(*values)


def question_digest(subject: Subject, question: str) -> bytes:
    return subject.digest(normalized(question))


def _digest(subject: Subject, answer: str) -> bytes | None:
    said = normalized(answer)
    return subject.digest(said) if said else None


@dataclass(frozen=True, slots=True)
class _Alike:
    """Exchanges with the same answer: the newest, and the newest with each question. One of them may be shown only if
    all of them may: which one a client means cannot be told."""

    newest: ExchangeRow
    by_question: Mapping[bytes, ExchangeRow]

    def asked(self, question: bytes) -> ExchangeRow:
        return self.by_question.get(question, self.newest)


def _known(rows: Sequence[ExchangeRow]) -> dict[bytes | None, _Alike]:
    """By their answers' digests; once for all that a client resends, which may be one answer a thousand times."""
    alike: dict[bytes | None, list[ExchangeRow]] = {}
    for row in rows:
        alike.setdefault(row.answer_digest, []).append(row)
    return {digest: _united(same) for digest, same in alike.items()}


def _united(rows: Sequence[ExchangeRow]) -> _Alike:
    shown = exposures.closed((), [row.exposures for row in rows])
    by_question = {row.question_digest: replace(row, exposures=shown) for row in rows}
    return _Alike(replace(rows[-1], exposures=shown), by_question)


def _texts(
    subject: Subject, rows: Sequence[ExchangeRow], contents: Mapping[str, Sequence[ContentRow]]
) -> dict[UUID, Texts]:
    keys = {ident: subject.conversation(str(ident)) for ident in {row.conversation for row in rows}}
    found: dict[UUID, Texts] = {}
    for row in rows:
        said = [one for one in contents.get(str(row.id), ()) if _said(one)]
        if any(is_dropped(one.ciphertext) for one in said):
            found[row.id] = Texts(NO_LONGER_KEPT, (NO_LONGER_KEPT,), dropped=True)
            continue
        opened = list(zip((one.kind for one in said), keys[row.conversation].open_all(said), strict=True))
        question = "".join(text for kind, text in opened if kind is Kind.QUESTION)
        found[row.id] = Texts(question, tuple(text for kind, text in opened if kind is Kind.ANSWER))
    return found


def _said(row: ContentRow) -> bool:
    return row.kind in (Kind.QUESTION, Kind.ANSWER)


def _past(row: ExchangeRow, texts: dict[UUID, Texts]) -> Past:
    said = texts[row.id]
    return Past(row.id, said.question, said.answer, row.exposures)
