"""How somebody, or a document, is erased: by destroying the key that wrapped theirs, once everything else is under
another one.

What was granted is done in these steps, each of them durable before the next begins. Cut off between any two, or
within one, it is done again from the first, and finds done what was done; meanwhile every survivor's key opens.

1. A legal hold forbids it: it waits, and what it is about survives. From here on none is placed.
2. Nobody gets at it any more: the person is denied, their streams end; the document is withdrawn, also from the store;
   adapters that learned from it are stopped.
3. If what is to go is wrapped by the current wrapping key, a new one becomes current in the ring. The old one stays.
4. Rows: what is kept of the person, or the document's texts, titles, keys and chunks.
5. The survivors' keys are wrapped anew: those of the metadata database, then those of people in the ledger.
6. The event is recorded; in the same commit the person's key, sealed name and look-up go. Their pseudonym stays.
7. Until there was nothing to do: 4 and 5 once more, for what came meanwhile.
8. The old wrapping keys are destroyed, in the ring's file and then here. This is the erasure: copies of the data open
   no more either.
9. What the metadata database keeps of old rows is overwritten. (The ledger overwrites at once.)
10. It is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from usher.audit.deciders import ERASE_DOCUMENT, ERASE_PERSON
from usher.audit.erasure_event import event_of
from usher.audit.review import EventLog, every
from usher.core.standing import Actor
from usher.errors import UserError
from usher.ingest import Ingest
from usher.ledger.log import SubjectRow
from usher.ledger.record import Entry, EventType, subject_key_aad
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.people import People
from usher.ports import Directory, Intake, LabelChange
from usher.ports.erasure import Erasable, Holding, RenewedRing
from usher.ports.proposals import Item
from usher_lora.lineage import Cause

BATCH = 500
"""Subjects that one commit wraps anew."""
GRACE = 0.5
"""Seconds that readers who fetched a key before it was wrapped anew have to open it, before the old one is destroyed:
they open it in the same breath."""

Done = Callable[[UUID], Awaitable[object]]
_PERSONS_TABLES = (
    *("ws_ticket", "feedback", "exchange", "conversation", "api_key", "person"),
    *("proposal", "audit_case", "case_step", "outbox"),
)
_DOCUMENTS_TABLES = ("document_version", "chunk", "proposal")


class NotAlone(UserError):
    """Other servers record to the same log."""

    status = 409

    def __init__(self) -> None:
        super().__init__("erasure", "takes a single server", "stop the others; give them its key ring afterwards")


class ErasedLog(EventLog, Protocol):
    """The ledger's own reads."""

    def subject_by_pseudonym(self, pseudonym: str) -> SubjectRow | None: ...

    def subjects(self, after: str, limit: int) -> Sequence[SubjectRow]: ...

    def others(self) -> int:
        """How many other servers record to this log now."""


class Learners(Protocol):
    """What learned from documents and exchanges."""

    async def settle(self) -> object:
        """Whatever learned a document that has gone is stopped."""

    async def without(self, subjects: Mapping[str, Cause]) -> object:
        """Whatever learned from exchanges of these, by pseudonym, is stopped."""


@dataclass(frozen=True, slots=True)
class Data:
    """Where what is erased lies."""

    people: People
    directory: Directory
    ingest: Ingest
    intake: Intake
    erasable: Erasable
    log: ErasedLog
    ledger: Ledger
    ring: RenewedRing
    learners: Learners
    master_key: Callable[[], bytes | None]
    """What seals the ring's file. It may ask a KMS, and raises as the ring does."""


@dataclass(slots=True)
class _Targets:
    """What one run erases. `users` are the names that still open, by pseudonym."""

    items: list[Item]
    users: dict[str, str]

    @property
    def people(self) -> frozenset[str]:
        return frozenset(item.parts[1] for item in self.items if item.kind == ERASE_PERSON)

    @property
    def documents(self) -> frozenset[UUID]:
        return frozenset(UUID(item.parts[1]) for item in self.items if item.kind == ERASE_DOCUMENT)


class Erasing:
    """The procedure. It raises whatever goes wrong; then nothing is lost, and it is to be run again."""

    def __init__(self, data: Data, holding: Holding) -> None:
        self._data, self._holding = data, holding
        self._turn = asyncio.Lock()

    async def run(self, granted: Callable[[], Awaitable[Sequence[Item]]], done: Done) -> list[Item]:
        """Steps 1 to 10 for all that is `granted` when it is its turn, but for what a hold forbids; returns what was
        done, `done` having been awaited for each."""
        async with self._turn, self._holding.gate():
            free = [item for item in await granted() if await self._recorded(item) or not await self._held(item)]
            if free:
                await self.check_alone()  # another one may be at the very same, or place a hold
                await self._erase(_Targets(free, await self._names(free)))
                for item in free:
                    await done(item.id)
            return free

    async def _held(self, item: Item) -> bool:
        return bool(await self.held(item.kind, item.parts[1]))

    async def held(self, kind: str, target: str) -> Sequence[str]:
        """The holds that forbid it now."""
        if kind == ERASE_PERSON:
            return [hold.id for hold in await self._holding.over_person(target)]
        return [hold.id for hold in await self._holding.over_document(UUID(target))]

    async def check_alone(self) -> None:
        """Raises `NotAlone` where other servers share the log: their rings would not know of a new key."""
        if await asyncio.to_thread(self._data.log.others):
            raise NotAlone

    async def _erase(self, targets: _Targets) -> None:
        await self._shut(targets)
        await self._renew(targets)
        await self._forget(targets)
        await self._rewrap(targets)
        for item in targets.items:
            await self._record(item)
        await self._forget(targets)
        while await self._rewrap(targets):
            pass
        await self._destroy()
        await self._scrub(targets)

    async def _shut(self, targets: _Targets) -> None:
        """Step 2."""
        data = self._data
        for item in targets.items:
            by = Actor("erasure", str(item.id))
            user = targets.users.get(item.parts[1])
            if user is not None and await data.directory.person(user) is not None:
                await data.people.deactivate(user, by)
            if item.kind == ERASE_PERSON:
                await data.learners.without({item.parts[1]: Cause.SUBJECT_ERASED})
            if item.kind == ERASE_DOCUMENT:
                await self._withdraw(UUID(item.parts[1]), f"{by.kind}:{by.id}")

    async def _withdraw(self, document: UUID, by: str) -> None:
        async with self._data.ingest.turn:
            await self._data.ingest.committer.recover()
            placed = await self._data.intake.placed(document)
            if placed is not None:
                old = placed.shelved
                await self._data.ingest.committer.label(
                    [LabelChange("delete", document, old.version, old.access_class)], by
                )

    async def _renew(self, targets: _Targets) -> None:
        """Step 3. Nobody becomes a subject meanwhile, so that every key is wrapped wholly before or after."""
        data = self._data
        keys = [key for document in targets.documents for key in await data.erasable.version_keys(document) or ()]
        rows = [await asyncio.to_thread(data.log.subject_by_pseudonym, pseudonym) for pseudonym in targets.people]
        keys += [row.wrapped_key for row in rows if row is not None]
        if not any(data.ring.is_current(key) for key in keys):
            return
        await self.check_alone()
        master = await asyncio.to_thread(data.master_key)
        async with data.ledger.subjects.none_made():
            await data.ledger.append([])  # in line behind one that was given up, and may yet be written
            await asyncio.to_thread(data.ring.renew, master)

    async def _forget(self, targets: _Targets) -> None:
        """Step 4."""
        for item in targets.items:
            if item.kind == ERASE_PERSON:
                user = targets.users.get(item.parts[1])
                await self._data.erasable.forget_person(item.id, user, item.parts[1])
            if item.kind == ERASE_DOCUMENT:
                await self._forget_document(item)

    async def _forget_document(self, item: Item) -> None:
        """As it is taken in again, it is withdrawn again."""
        document = UUID(item.parts[1])
        await self._withdraw(document, f"erasure:{item.id}")
        async with self._data.ingest.turn:
            await self._data.erasable.forget_document(item.id, document)
        await self._data.learners.settle()

    async def _rewrap(self, targets: _Targets) -> int:
        """Step 5: how many keys were wrapped anew."""
        renewed, after = await self._data.erasable.rewrap(targets.documents), ""
        while True:
            page = await asyncio.to_thread(self._data.log.subjects, after, BATCH)
            keys = await asyncio.to_thread(self._anew, page, targets.people)
            if keys:
                await self._data.ledger.append([], rewrapped=keys)
                renewed += len(keys)
            if len(page) < BATCH:
                return renewed
            after = page[-1].pseudonym

    def _anew(self, page: Sequence[SubjectRow], left_out: Collection[str]) -> list[tuple[str, bytes]]:
        """The keys of these subjects that open and are not under the current wrapping key, under it."""
        ring, keys = self._data.ring, []
        for row in page:
            if row.erased or row.pseudonym in left_out or ring.is_current(row.wrapped_key):
                continue
            bound = subject_key_aad(row.pseudonym)
            try:
                keys.append((row.pseudonym, ring.wrap(ring.unwrap(row.wrapped_key, bound), bound)))
            except SealBroken:  # it opened before neither
                continue
        return keys

    async def _record(self, item: Item) -> None:
        """Step 6, once. The key goes from memory too, also where an append that was given up has recorded it."""
        person = item.parts[1] if item.kind == ERASE_PERSON else None
        recorded = await self._recorded(item)
        async with self._data.ledger.subjects.none_made():  # nor read: it would be kept after it has gone
            if not recorded:
                body = event_of(item) | {"counts": dict(await self._data.erasable.counts(item.id))}
                gone = [] if person is None else [(person, b"")]
                await self._data.ledger.append([Entry(EventType.ERASURE, body=body)], rewrapped=gone)
            if person is not None:
                self._data.ledger.subjects.forget(person)

    async def _destroy(self) -> None:
        """Step 8. A server that came meanwhile may have read an older copy of the ring, and wrap new keys by it."""
        if not self._data.ring.retired:
            return
        await self.check_alone()
        master = await asyncio.to_thread(self._data.master_key)
        await asyncio.sleep(GRACE)
        await asyncio.to_thread(self._data.ring.destroy_retired, master)

    async def _scrub(self, targets: _Targets) -> None:
        """Step 9."""
        tables = (_PERSONS_TABLES if targets.people else ()) + (_DOCUMENTS_TABLES if targets.documents else ())
        await self._data.erasable.scrub(frozenset(tables))

    async def _recorded(self, item: Item) -> bool:
        """Whether the event of step 6 stands in the ledger, also that of an append that was given up."""
        await self._data.ledger.checkpoint()  # over all that came before it, and may yet wait for its place
        return await asyncio.to_thread(self._erased, item)

    def _erased(self, item: Item) -> bool:
        erasures = every(self._data.log, EventType.ERASURE, item.created_at)
        return any(event.get("proposal") == str(item.id) for event in erasures)

    async def _names(self, items: Sequence[Item]) -> dict[str, str]:
        names = {}
        for item in items:
            if item.kind == ERASE_PERSON:
                try:
                    user = await self._data.ledger.subjects.name_of(item.parts[1])
                except SealBroken:  # an earlier run came as far as step 6
                    continue
                if user is not None:
                    names[item.parts[1]] = user
        return names
