"""What the tests of `ConversationIndex` share: rows, and all that can be read of one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from tests.backends.sql.sql_kit import NOW, Ports

from usher.backends.sql_conversations import SqlConversations
from usher.ledger.record import uuid7
from usher.ports import ConversationRow, ExchangeRow

DIGEST = bytes(range(32))
SECOND = timedelta(seconds=1)


def index_of(sql: Ports) -> SqlConversations:
    return SqlConversations(sql.database)


def conversation(at: datetime = NOW, title: bytes | None = None, ident: UUID | None = None) -> ConversationRow:
    return ConversationRow(ident or uuid4(), at, at, title)


def exchange(of: UUID, at: datetime = NOW, parent: UUID | None = None, exposures: bytes = b"e" * 16) -> ExchangeRow:
    return ExchangeRow(UUID(uuid7()), of, parent, at, exposures, b"q" * 32)


async def begun(index: SqlConversations, user: str = "alice", digest: bytes | None = DIGEST) -> ExchangeRow:
    """A conversation with one exchange that has ended."""
    row = exchange(uuid4())
    assert await index.begin(user, row, b"sealed title")
    await index.end(row.id, "answered", digest, NOW)
    return row


async def everything(index: SqlConversations, user: str, row: ExchangeRow) -> list[Any]:
    """What each read gives of a conversation, its exchange, and all of them."""
    return [
        await index.get(user, row.conversation),
        await index.page(user, None, 10),
        await index.count(user),
        await index.exchange(user, row.id),
        await index.exchanges(user, row.conversation),
        await index.newest(user, 10),
        await index.by_answer(user, [DIGEST]),
    ]


NOTHING = [None, [], 0, None, [], [], []]
