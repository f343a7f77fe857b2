"""What the ledger's tests share: a ring, a ledger over a file or memory, exchanges, and events for them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

from usher.backends.keyring import KeyRing
from usher.backends.ledger_sql import SqlLog
from usher.ledger.content import Subject
from usher.ledger.log import Log
from usher.ledger.record import CHAT, SEARCH, ContentRow, Entry, EventType, Kind, Who, uuid7
from usher.ledger.sequencer import Ledger
from usher.ledger.shared import SharedLog

T = TypeVar("T")

QUESTION = "What is the zanzibar surcharge?"
ANSWER = "The zanzibar surcharge is four percent."


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def ring_in(folder: Path) -> KeyRing:
    path = folder / "home.keys"
    return KeyRing.open(path) if path.exists() else KeyRing.create(path)


@asynccontextmanager
async def ledger_in(folder: Path, log: Log | SharedLog | None = None, **options: Any) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(log or SqlLog(folder / "ledger.sqlite"), ring_in(folder), **options)
    try:
        yield ledger
    finally:
        await ledger.close()


def opening(audit_id: str, who: Who | None = None, operation: str = CHAT, effect: str = "allow") -> list[Entry]:
    return [
        Entry(EventType.REQUEST, audit_id, who, {"operation": operation}),
        Entry(EventType.DECISION, audit_id, who, {"action": "chat.ask", "effect": effect, "rules": ["abcdef012345"]}),
    ]


def event(type: EventType, audit_id: str, **body: object) -> Entry:
    return Entry(type, audit_id, None, body)


def rows(subject: Subject, audit_id: str, conversation: str = "talk-1") -> list[ContentRow]:
    talk = subject.conversation(conversation)
    return [talk.seal(audit_id, 0, Kind.QUESTION, QUESTION), talk.seal(audit_id, 1, Kind.ANSWER, ANSWER)]


async def exchange(ledger: Ledger, user: str = "alice") -> str:
    """A whole exchange of five leaves, as it is recorded while it is answered."""
    subject, ident = await ledger.subject(user), uuid7()
    question, answer = rows(subject, ident)
    await ledger.append(opening(ident, Who(subject.pseudonym, ("role:hr",), "key")), [question])
    await ledger.append([event(EventType.RETRIEVAL, ident, passages=[{"document": "d", "rank": 1, "score": 0.5}])])
    await ledger.append([event(EventType.GENERATION, ident, model="extractive")], [answer])
    await ledger.append([event(EventType.ANSWER, ident, outcome="answered")])
    return ident


async def search(ledger: Ledger) -> str:
    ident = uuid7()
    await ledger.append(opening(ident, operation=SEARCH))
    await ledger.append([event(EventType.RETRIEVAL, ident, passages=[])])
    return ident


def change(path: Path, *statements: str) -> None:
    """Somebody with the file and SQLite."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def query(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()
