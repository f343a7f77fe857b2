"""The barrier of an exchange: whether all that its prompt is made of is still permitted, asked again and again."""

from __future__ import annotations

from usher.adapters.eligible import Eligibles
from usher.authority import Grant
from usher.chat_exchange import ACCESS_CHANGED, ChatRefused, Exchange
from usher.core.routing import CHAT_NOT_ALLOWED
from usher.retrieve import Retrieve, denied
from usher.threads import Threads


class Barrier:
    """Asked before retrieval, before each call of a model, before each part of an answer, and by the watcher."""

    def __init__(self, retrieve: Retrieve, threads: Threads, eligibles: Eligibles) -> None:
        self._retrieve = retrieve
        self._threads = threads
        self._eligibles = eligibles

    async def __call__(self, exchange: Exchange) -> None:
        """Judge credential, passages, earlier exchanges, the adapter that answers and link hosts by what holds now.
        Raises `ChatRefused`, also whenever it is asked again: a grant is taken only once all of it was found good."""
        before = exchange.grant
        grant, found = await self._retrieve.still_permitted(before, exchange.retrieved)
        if grant is before:  # the same object: nothing has changed since it was found good
            return
        refuse_if(exchange, denial(grant))
        gone = len(found.passages) < len(exchange.retrieved.passages)
        gone = gone or not all(await self._threads.permitted(grant.scope, [exchange.exposures]))
        narrowed = not before.documents.link_hosts <= grant.documents.link_hosts
        speaker = (
            None if exchange.speaker is None else await self._eligibles.speaker(grant, exchange.speaker.served_name)
        )
        stopped = speaker is None and exchange.speaker is not None
        refuse_if(exchange, ACCESS_CHANGED if gone or narrowed or stopped else None)
        exchange.grant, exchange.speaker = grant, speaker


def denial(grant: Grant) -> str | None:
    """Why the grant's holder may ask nothing any more, as a code."""
    return None if denied(grant) is None else grant.denied or CHAT_NOT_ALLOWED


def refuse_if(exchange: Exchange, code: str | None) -> None:
    """Raises `ChatRefused` if there is a code."""
    if code is not None:
        raise ChatRefused(code, exchange.audit_id)
