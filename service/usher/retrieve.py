"""Governed retrieval: what one person may read that fits a question, and the record of a search."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import anyio
import structlog

from usher.authority import Authority, Grant
from usher.core import fusion, late, lexical
from usher.core.evidence import decision_body, retrieval_body
from usher.core.history import MAX_QUESTION
from usher.core.passages import Checked, Passage, check_all, still_readable
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable, OutOfOrder
from usher.ledger.record import SEARCH, ContentRow, Entry, EventType, Kind, Who, uuid7
from usher.ledger.sequencer import Ledger
from usher.ports import Documents, Embedder, Encoded, Store
from usher_policy.decide import Scope
from usher_policy.vocabulary import Action

MAX_K = 100
DEFAULT_K = 10
CHAT = "sys:chat"

_log = structlog.stdlib.get_logger("usher.retrieve")


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Permitted passages in rank order with their scores, and what was dropped on the second look."""

    checked: Checked
    scores: Mapping[UUID, float]

    @property
    def passages(self) -> tuple[Passage, ...]:
        return self.checked.passages


NOTHING = Retrieved(Checked((), (), ()), {})


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """A recorded search. `denied` says why there is nothing to show."""

    audit_id: str
    policy_version: int
    retrieved: Retrieved
    denied: str | None = None


Noted = Callable[[Grant, bool, str], None]
"""Told of each recorded decision on `chat.ask` once it is answered: its grant, whether it allowed, its audit id."""


def nowhere(grant: Grant, allowed: bool, audit_id: str) -> None:
    """For whoever looks at no decision again."""


def checked_question(text: str, field: str) -> str:
    """The question without outer white space. Raises `UserError` if it is empty or too long."""
    question = text.strip()
    if not question:
        raise UserError(field, "is empty", "write what you want to know")
    if len(question) > MAX_QUESTION:
        problem = f"has {len(question)} characters, more than {MAX_QUESTION}"
        raise UserError(field, problem, "shorten the question")
    return question


def who(grant: Grant, pseudonym: str) -> Who:
    return Who(pseudonym, grant.roles, grant.credential.kind)


class Retrieve:
    """Search under a scope, judged twice: by the store's filter, and again by the labels of now."""

    def __init__(
        self,
        authority: Authority,
        ledger: Ledger,
        store: Store,
        embedder: Embedder,
        documents: Documents,
        noted: Noted = nowhere,
    ) -> None:
        self._authority = authority
        self._ledger = ledger
        self._store = store
        self._embedder = embedder
        self._documents = documents
        self._noted = noted

    async def search(self, grant: Grant, text: str, k: int = DEFAULT_K) -> SearchAnswer:
        """One recorded search.

        1. the decision is durable before anything is retrieved (a local embedder may work meanwhile)
        2. the credential is judged again, and the store asked under the scope of that instant
        3. what was found is durable before it is returned, and the credential is judged a last time

        A search that fails or is cancelled on the way is recorded as such.

        Raises `UserError`, `LedgerUnavailable`, `StoreUnavailable`.
        """
        question = checked_question(text, "q")
        if not 1 <= k <= MAX_K:
            raise UserError("k", f"is {str(k)[:20]}", f"give a whole number from 1 to {MAX_K}")
        audit_id = uuid7()
        decision = grant.may(Action.CHAT_ASK, CHAT)
        subject = await self._ledger.subject(grant.credential.user)
        by, asked = who(grant, subject.pseudonym), subject.conversation(audit_id)
        rows = [asked.seal(audit_id, 0, Kind.QUESTION, question)]
        entries = [
            Entry(EventType.REQUEST, audit_id, by, {"operation": SEARCH, "k": k, "credential_id": grant.credential.id}),
            Entry(EventType.DECISION, audit_id, by, decision_body(Action.CHAT_ASK, CHAT, decision, grant.scope, None)),
        ]
        if not decision.allowed:
            await self._ledger.append(entries, rows)
            self._noted(grant, False, audit_id)
            return SearchAnswer(audit_id, grant.scope.policy_version, NOTHING, decision.reason)
        try:
            encoded = await self.recorded_then_embedded(entries, question, rows)
            before = await self._authority.again(grant)
            refusal = denied(before)
            found = NOTHING if refusal else await self.find(before.scope, question, encoded, k)
        except BaseException as error:
            await self._record_failure(audit_id, by, grant.scope, error)
            raise
        body = retrieval_body(before.scope, found.checked, found.scores, (), refusal)
        await self._ledger.append([Entry(EventType.RETRIEVAL, audit_id, by, body)])
        after, found = await self.still_permitted(before, found)
        self._noted(grant, True, audit_id)
        refusal = refusal or denied(after)
        return SearchAnswer(audit_id, after.scope.policy_version, NOTHING if refusal else found, refusal)

    async def _record_failure(self, audit_id: str, by: Who, scope: Scope, error: BaseException) -> None:
        """End a search that found nothing because something failed; also one whose client has left."""
        outcome = "cancelled" if isinstance(error, anyio.get_cancelled_exc_class()) else "failed"
        body = retrieval_body(scope, NOTHING.checked, {}, (), outcome=outcome)
        try:
            with anyio.CancelScope(shield=True):
                await self._ledger.append([Entry(EventType.RETRIEVAL, audit_id, by, body)])
        except (LedgerUnavailable, OutOfOrder) as failed:  # out of order: its request was never recorded
            _log.error("end_not_recorded", audit_id=audit_id, error=type(failed).__name__)

    async def recorded_then_embedded(
        self, entries: list[Entry], question: str, rows: Sequence[ContentRow] = ()
    ) -> Encoded:
        """The first barrier. It overlaps the embedding only if no text leaves this process for it."""
        append = self._ledger.append(entries, rows)
        if not self._embedder.local:
            await append
            return (await self._embedder.encode([question]))[0]
        encoded, _ = await asyncio.gather(self._embedder.encode([question]), append)
        return encoded[0]

    async def find(self, scope: Scope, question: str, encoded: Encoded, k: int) -> Retrieved:
        """The k best passages of the scope, each judged again by its label of now before its tokens are looked at."""
        if not scope.classes:
            return NOTHING
        terms = lexical.query(question)
        found = await self._store.search(scope.classes, encoded.vector, terms, max(k, fusion.OVERFETCH))
        ranked = fusion.fuse(found, terms, len(found.dense) + len(found.sparse))
        kept, step = Checked((), (), ()), max(k, late.CANDIDATES)
        for start in range(0, len(ranked), step):
            part = [hit.chunk for hit in ranked[start : start + step]]
            kept = _joined(kept, check_all(part, await self._documents.passages(part), scope))
            if len(kept.passages) >= k:
                break
        for chunk in kept.leaks:
            _log.error("leak", chunk=str(chunk))
        permitted = {passage.label.chunk: passage for passage in kept.passages}
        tokens = {chunk: passage.tokens for chunk, passage in permitted.items()}
        weighed = fusion.fuse(found, terms, len(found.dense) + len(found.sparse), late.LEXICAL)
        best = late.rerank((hit for hit in weighed if hit.chunk in permitted), encoded.tokens, tokens)[:k]
        passages = tuple(permitted[hit.chunk] for hit in best)
        return Retrieved(replace(kept, passages=passages), {hit.chunk: hit.score for hit in best})

    async def still_permitted(self, grant: Grant, found: Retrieved) -> tuple[Grant, Retrieved]:
        """The grant judged again, and what it still permits: the same objects if nothing has changed."""
        now = await self._authority.again(grant)
        if now is grant:
            return grant, found
        labels = await self._documents.labels([passage.label.chunk for passage in found.passages])
        kept = still_readable(found.passages, labels, now.scope)
        if len(kept) == len(found.passages):
            return now, found
        gone = {passage.label.chunk for passage in found.passages} - {passage.label.chunk for passage in kept}
        stale = (*found.checked.stale, *sorted(gone))  # a label that moved meanwhile is no leak
        return now, Retrieved(Checked(kept, stale, found.checked.leaks), found.scores)


def denied(grant: Grant) -> str | None:
    """Why the grant's holder may ask nothing any more, if so."""
    decision = grant.may(Action.CHAT_ASK, CHAT)
    return None if decision.allowed else decision.reason


def _joined(kept: Checked, more: Checked) -> Checked:
    return Checked((*kept.passages, *more.passages), (*kept.stale, *more.stale), (*kept.leaks, *more.leaks))
