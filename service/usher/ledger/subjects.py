"""People in the ledger: a random pseudonym for each, made durable at first sight; the name stands nowhere in plain."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from usher.ledger.content import Subject
from usher.ledger.log import Ring, Stored, SubjectRow
from usher.ledger.record import subject_key_aad, subject_name_aad
from usher.ledger.sealing import KEY_BYTES, SealBroken, seal, unseal


class Erased(SealBroken):
    """The person was erased: neither their name nor anything they said opens any more; an event says so."""

    def __init__(self) -> None:
        super().__init__("subject: the person was erased")


CACHED = 10_000
"""Subjects kept in memory, the least recently used dropped first."""


class Subjects:
    """Name to subject, pseudonym to subject, pseudonym to name. Raises `LogFailed` and `SealBroken`, by pseudonym
    `Erased` too: a name that was erased is nobody's."""

    def __init__(self, log: Stored, ring: Ring, add: Callable[[SubjectRow], Awaitable[object]]) -> None:
        """`add` makes a new subject durable before it returns."""
        self._log, self._ring, self._add = log, ring, add
        self._cache: OrderedDict[str, Subject] = OrderedDict()
        self._creating = asyncio.Lock()

    async def of(self, user: str) -> Subject:
        """The subject of a user, made durable at first sight."""
        if user in self._cache:
            self._cache.move_to_end(user)
            return self._cache[user]
        async with self._creating:
            subject = self._cache.get(user) or await self._stored(user) or await self._create(user)
            self._cache[user] = subject
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return subject

    async def known(self, pseudonym: str) -> Subject | None:
        """The subject behind a pseudonym, to open what they were shown."""
        row = await asyncio.to_thread(self._log.subject_by_pseudonym, pseudonym)
        return self._unwrapped(row) if row else None

    async def found(self, user: str) -> Subject | None:
        """The subject of a user if there is one already."""
        return self._cache.get(user) or await self._stored(user)

    async def name_of(self, pseudonym: str) -> str | None:
        """The user behind a pseudonym."""
        row = await asyncio.to_thread(self._log.subject_by_pseudonym, pseudonym)
        if row is None:
            return None
        return unseal(self._unwrapped(row).key, row.sealed_name, subject_name_aad(pseudonym)).decode()

    @asynccontextmanager
    async def none_made(self) -> AsyncIterator[None]:
        """Nobody is made a subject meanwhile."""
        async with self._creating:
            yield

    def forget(self, pseudonym: str) -> None:
        """The key of somebody who was erased goes from memory too."""
        self._cache = OrderedDict(item for item in self._cache.items() if item[1].pseudonym != pseudonym)

    async def _stored(self, user: str) -> Subject | None:
        row = await asyncio.to_thread(self._log.subject_by_lookup, self._ring.lookup(user))
        return self._unwrapped(row) if row else None

    async def _create(self, user: str) -> Subject:
        subject = Subject(str(uuid4()), os.urandom(KEY_BYTES))
        wrapped = self._ring.wrap(subject.key, subject_key_aad(subject.pseudonym))
        name = seal(subject.key, user.encode(), subject_name_aad(subject.pseudonym))
        await self._add(SubjectRow(self._ring.lookup(user), subject.pseudonym, wrapped, name))
        return await self._stored(user) or subject  # another server may have been faster

    def _unwrapped(self, row: SubjectRow) -> Subject:
        if row.erased:
            raise Erased
        return Subject(row.pseudonym, self._ring.unwrap(row.wrapped_key, subject_key_aad(row.pseudonym)))
