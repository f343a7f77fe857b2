"""What the tests of erasure share: a small company, in which two may erase, opened again and again over one folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.web.world import PlainConverter, World, world

from usher import app as wiring
from usher.audit.erasure import Target
from usher.audit.reviewers import Reviewer
from usher.backends.keyring import KeyRing
from usher.backends.ledger_sql import SqlLog
from usher.backends.memory import HashEmbedder, MemoryStore
from usher.backends.model_extractive import ExtractiveModel
from usher.ledger.content import Subject
from usher.ledger.record import subject_key_aad
from usher.ledger.sealing import SealBroken
from usher.ledger.sequencer import Ledger
from usher.ports.proposals import Item
from usher.settings import read_settings

OPERATOR = Reviewer(None, "operator:uid:0")
ERASERS = (
    "p, role:eraser, sys:audit, audit.erase, allow, always",
    "p, role:eraser, sys:audit, audit.review, allow, always",
    "g, user:carol, role:eraser",
    "g, user:dave, role:eraser",
)
"""carol and dave may erase; alice and bob ask."""
HANDBOOK = {
    "handbook/holidays.md": "# Holidays\n\nEvery employee has 28 days of holiday in a year.\n",
    "handbook/hotels.md": "# Hotels wombatine\n\nA hotel may cost at most 140 euros, says the wombatine circular.\n",
}
QUESTION = "What may a hotel cost, wonders zebulon-7731?"


async def reviewer(usher: World, user: str, *, names: bool = False) -> Reviewer:
    grant = await usher.services.authority.admit(usher.keys[user])
    assert grant is not None
    return Reviewer(grant, "key", names)


async def approved(usher: World, target: Target, reason: str = "They asked for it.") -> Item:
    """Proposed by the operator, approved by carol."""
    item = await usher.services.audit.erasures.propose(OPERATOR, target, reason)
    return await usher.services.audit.proposals.approve(item.id, item.stands.digest, await reviewer(usher, "carol"))


async def erased(usher: World, target: Target) -> Item:
    return await usher.services.audit.erasures.carry_out((await approved(usher, target)).id, OPERATOR)


def pseudonym(usher: World, user: str) -> str:
    return usher.run(usher.services.ledger.pseudonym(user))


def files_with(folder: Path, *words: str) -> list[tuple[str, str]]:
    """Which of the words stand in which files, as they are or as their UTF-16."""
    return [
        (str(path.relative_to(folder)), word)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for word in words
        if word.encode() in path.read_bytes()
    ]


def opens(home: Path, ring: KeyRing, whom: str) -> list[str]:
    """All that a ring opens of somebody in a copy of a data folder: their name, and what they said."""
    log = SqlLog(home / "ledger.sqlite", 0)
    try:
        row = log.subject_by_pseudonym(whom)
        assert row is not None
        try:
            subject = Subject(whom, ring.unwrap(row.wrapped_key, subject_key_aad(whom)))
        except SealBroken:
            return []
        with log._engine.connect() as connection:  # the port reads no content by person
            query = "SELECT DISTINCT audit_id FROM content WHERE pseudonym = ?"
            exchanges = [audit_id for (audit_id,) in connection.exec_driver_sql(query, (whom,))]
        rows = [row for audit_id in exchanges for row in log.content(audit_id)]
        return [subject.conversation(row.conversation).open(row) for row in rows]
    finally:
        log.close()


@contextmanager
def again(usher: World, store: MemoryStore) -> Iterator[World]:
    """The same data folder in another process's hands, so to say: everything opened anew, and recovered."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        made = runner.run(_open(stack, runner, usher, store))
        try:
            yield made
        finally:
            runner.run(stack.aclose())


async def _open(stack: AsyncExitStack, runner: asyncio.Runner, usher: World, store: MemoryStore) -> World:
    settings = read_settings(home=usher.folder / "home", policy=usher.folder / "policy.csv")
    ring, database = wiring.open_ring(settings), wiring.open_database(settings)
    stack.callback(database.close)
    log = SqlLog(settings.home / "ledger.sqlite", 0)
    ledger = await Ledger.open(log, ring)
    stack.push_async_callback(ledger.close)
    parts = (HashEmbedder(), ExtractiveModel(None), PlainConverter())
    services = await wiring._wired(settings, database, ring, log, ledger, store, *parts)
    return World(usher.folder, runner, services, wiring.create_app(services), usher.keys, usher.key_ids)


@contextmanager
def company(folder: Path, documents: Mapping[str, str] = HANDBOOK) -> Iterator[tuple[World, MemoryStore]]:
    """The world, in which two may erase, and its store."""
    store = MemoryStore()
    with world(folder, documents=documents, store=store) as usher:
        usher.run(usher.apply_also(*ERASERS))
        yield usher, store


def document_id(usher: World, path: str, who: str = "alice") -> UUID:
    listed: Sequence[Mapping[str, Any]] = usher.ask("GET", "/api/documents", who).json()["documents"]
    return next(UUID(one["id"]) for one in listed if one["path"] == path)
