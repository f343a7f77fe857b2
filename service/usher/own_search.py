"""Looking for words in what a person asked and was answered: opened, looked at and forgotten, batch by batch.

There is no index of words, which would hold in plain what the record seals.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

from usher.authority import Grant
from usher.core.finding import Snippet, holds, most_of, snippet
from usher.core.transcript import clean_now
from usher.ledger.content import Subject
from usher.ports import ExchangeRow
from usher.threads import Texts, Threads

BATCH = 100
"""Exchanges that are opened at once."""
SECONDS = 3.0
"""After which a search gives what it has."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An exchange that holds the words; `part` (question, answer) is where the snippet is from."""

    row: ExchangeRow
    part: str
    snippet: Snippet


class OwnSearch:
    """One batch at a time, whoever's it is: the processor is needed for answers too. In each, what is visible is judged
    first, and nothing else is opened."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._turn = asyncio.Lock()

    async def scan(
        self, grant: Grant, subject: Subject, words: Sequence[str], rows: Sequence[ExchangeRow], limit: int
    ) -> tuple[list[Hit], bool]:
        """The first hits, and whether these are all that there are. Raises `LedgerUnavailable`, `SealBroken`."""
        hits: list[Hit] = []
        until = time.monotonic() + SECONDS
        for start in range(0, len(rows), BATCH):
            if len(hits) > limit or time.monotonic() > until:
                return hits[:limit], False
            async with self._turn:
                batch = rows[start : start + BATCH]
                visible = await self._threads.visible(grant.scope, batch)
                seen = [row for row in batch if row.id in visible]
                texts = await self._threads.texts(subject, seen)
                hosts = grant.documents.link_hosts
                hits += await asyncio.to_thread(_matching, words, hosts, seen, texts, limit + 1)
        return hits[:limit], len(hits) <= limit


def _matching(
    words: Sequence[str],
    link_hosts: Collection[str],
    rows: Sequence[ExchangeRow],
    texts: Mapping[UUID, Texts],
    most: int,
) -> list[Hit]:
    return list(islice((hit for row in rows if (hit := _hit(words, link_hosts, row, texts[row.id]))), most))


def _hit(words: Sequence[str], link_hosts: Collection[str], row: ExchangeRow, texts: Texts) -> Hit | None:
    if texts.dropped or not holds(words, (texts.question, texts.answer)):
        return None
    both = (texts.question, clean_now(texts.answer, link_hosts))
    best = most_of(words, both)
    return Hit(row, ("question", "answer")[best], snippet(words, both[best]))
