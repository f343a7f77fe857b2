"""Answers that are read once more: judged by what holds now, and recorded as a view, before anything is given."""

from __future__ import annotations

from dataclasses import dataclass

from usher.authority import Authority, Grant
from usher.chat_barrier import denial
from usher.chat_exchange import ACCESS_CHANGED, INTERRUPTED, ChatRefused
from usher.core.transcript import clean_now
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger
from usher.live_flow import Flow
from usher.ports import ConversationIndex, ExchangeRow
from usher.retrieve import who
from usher.threads import NoSuchExchange, Threads, known_id
from usher.viewing import view_body


@dataclass(frozen=True, slots=True)
class Again:
    """An answer that is read once more: its `flow` while that is in memory, else its `parts` from the record. It is
    clean as long as links to `hosts` are allowed."""

    row: ExchangeRow
    hosts: frozenset[str]
    flow: Flow | None = None
    parts: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        return self.row.outcome or INTERRUPTED


class Replay:
    """One's own answers, whole or broken off. Methods raise `NoSuchExchange` for one that is foreign, absent or not to
    be shown now, whichever it is; `ChatRefused` for one with links that are allowed no more; `LedgerUnavailable`."""

    def __init__(self, authority: Authority, ledger: Ledger, index: ConversationIndex, threads: Threads) -> None:
        self._authority = authority
        self._ledger = ledger
        self._index = index
        self._threads = threads

    async def viewed(self, grant: Grant, audit_id: str) -> ExchangeRow:
        """The exchange, with the view of it recorded."""
        row = await self._own(grant, audit_id)
        now = await self._permitted(grant, row)
        subject = await self._ledger.subject(grant.credential.user)
        await self._ledger.append(
            [Entry(EventType.VIEW, who=who(now, subject.pseudonym), body=view_body(now, exchanges=[str(row.id)]))]
        )
        return row

    async def stored(self, grant: Grant, row: ExchangeRow) -> Again:
        """What the record has of an exchange that was `viewed`."""
        row = await self._own(grant, str(row.id))  # its end may have come meanwhile
        subject = await self._ledger.subject(grant.credential.user)
        said = (await self._threads.texts(subject, [row]))[row.id]
        hosts = (await self._permitted(grant, row)).documents.link_hosts
        if clean_now(said.answer, hosts) != said.answer:  # parts that were given cannot be taken back
            raise ChatRefused(ACCESS_CHANGED, str(row.id))
        return Again(row, hosts, parts=said.parts)

    async def still_permitted(self, grant: Grant, again: Again) -> None:
        """Asked before each part is given."""
        now = await self._permitted(grant, again.row)
        if not now.documents.link_hosts >= again.hosts:
            raise ChatRefused(ACCESS_CHANGED, str(again.row.id))

    async def _own(self, grant: Grant, audit_id: str) -> ExchangeRow:
        row = await self._index.exchange(grant.credential.user, known_id("audit_id", audit_id))
        if row is None:
            raise NoSuchExchange("audit_id")
        return row

    async def _permitted(self, grant: Grant, row: ExchangeRow) -> Grant:
        now = await self._authority.again(grant)
        if denial(now) is not None or row.id not in await self._threads.visible(now.scope, [row]):
            raise NoSuchExchange("audit_id")
        return now
