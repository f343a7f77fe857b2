"""The contract of `ConversationIndex`: one's own, in order, and nothing of anybody else's or of what was deleted."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backends.sql.sql_kit import LATER, NOW, Ports, run

from usher.backends import sql_tables as t
from usher.backends.sql_conversations import FINISHERS, SqlConversations
from usher.backends.sql_outbox import SqlOutbox
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


async def _begun(index: SqlConversations, user: str = "alice", digest: bytes | None = DIGEST) -> ExchangeRow:
    """A conversation with one exchange that has ended."""
    row = exchange(uuid4())
    assert await index.begin(user, row, b"sealed title")
    await index.end(row.id, "answered", digest, NOW)
    return row


async def _everything(index: SqlConversations, user: str, row: ExchangeRow) -> list[Any]:
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


def test_the_first_exchange_makes_its_conversation(sql: Ports) -> None:
    """With its title, whose exposures are the exchange's; each read gives it."""

    async def story() -> None:
        index = index_of(sql)
        row = exchange(uuid4(), exposures=b"d" * 32)
        assert await index.begin("alice", row, b"sealed title")
        made = ConversationRow(row.conversation, NOW, NOW, b"sealed title", b"d" * 32)
        assert await _everything(index, "alice", row) == [made, [made], 1, row, [row], [row], []]

    run(story())


def test_what_is_anothers_is_not_there(sql: Ports) -> None:
    """In every read and in every write, by whatever id it is asked for; nothing of it changes."""

    async def story() -> None:
        index = index_of(sql)
        row = await _begun(index)
        before = await _everything(index, "alice", row)
        assert await _everything(index, "bob", row) == NOTHING
        assert not await index.rename("bob", row.conversation, b"bob was here", b"")
        assert await index.delete("bob", row.conversation, LATER) is None
        assert not await index.begin("bob", exchange(row.conversation), b"bob was here")
        assert await _everything(index, "alice", row) == before
        assert await _everything(index, "bob", row) == NOTHING
        assert await sql.outbox.pending() == []

    run(story())


def test_an_absent_id_answers_as_a_foreign_one(sql: Ports) -> None:
    """The same values, whichever it is."""

    async def story() -> None:
        index = index_of(sql)
        await _begun(index, "bob")
        absent = exchange(uuid4())
        assert await _everything(index, "alice", absent) == NOTHING
        assert not await index.rename("alice", absent.conversation, b"title", b"")
        assert await index.delete("alice", absent.conversation, NOW) is None
        await index.end(absent.id, "answered", DIGEST, NOW)
        assert await _everything(index, "alice", absent) == NOTHING

    run(story())


def test_a_deleted_conversation_is_gone_at_once_and_for_good(sql: Ports) -> None:
    """Before its event is recorded, after it, and also for an exchange that was still running."""

    async def story() -> None:
        index, outbox = index_of(sql), SqlOutbox(sql.database, FINISHERS)
        row = await _begun(index)
        running = exchange(row.conversation, parent=row.id)
        assert await index.begin("alice", running, None)
        change = await index.delete("alice", row.conversation, LATER)
        assert change is not None
        assert dict(change.payload) == {"op": "delete", "conversation": str(row.conversation), "user": "alice"}
        assert await _everything(index, "alice", row) == NOTHING
        await index.end(running.id, "answered", DIGEST, LATER)
        assert not await index.begin("alice", exchange(row.conversation), b"title")
        assert not await index.rename("alice", row.conversation, b"title", b"")
        assert await index.delete("alice", row.conversation, LATER) is None
        await outbox.finish([change])
        assert await _everything(index, "alice", row) == NOTHING
        assert await outbox.pending() == []

    run(story())


def test_a_deleted_conversation_keeps_no_title(sql: Ports) -> None:
    """What may be kept of it is the record, which holds none."""

    async def story() -> None:
        row = await _begun(index_of(sql))
        await index_of(sql).delete("alice", row.conversation, LATER)

    run(story())
    with sql.database.engine.connect() as connection:
        assert connection.execute(sa.select(t.conversation.c.sealed_title)).all() == [(None,)]


def test_a_title_is_taken_once_and_then_only_renamed(sql: Ports) -> None:
    """By the first question where there is none yet; a name that a person gave is never replaced."""

    async def story() -> None:
        index = index_of(sql)
        for title, expected in ((None, b"first question"), (b"given", b"given")):
            made = conversation(title=title)
            await index.create("alice", made)
            assert await index.get("alice", made.id) == made
            for question in (b"first question", b"second question"):
                assert await index.begin("alice", exchange(made.id), question)
            found = await index.get("alice", made.id)
            assert found is not None
            assert found.sealed_title == expected
            assert await index.rename("alice", made.id, b"renamed", b"r" * 16)
            assert await index.begin("alice", exchange(made.id), b"third question")
            found = await index.get("alice", made.id)
            assert found is not None
            assert (found.sealed_title, found.title_exposures) == (b"renamed", b"r" * 16)

    run(story())


def test_exchanges_come_oldest_first_and_the_newest_of_all_newest_first(sql: Ports) -> None:
    """In whatever order they were written; with all that is known of each."""

    async def story() -> None:
        index = index_of(sql)
        here, there = uuid4(), uuid4()
        rows = [exchange((here, there)[n % 3 == 2], NOW + n * SECOND) for n in range(6)]
        for row in rows[3:] + rows[:3]:
            assert await index.begin("alice", row, None)
        assert await index.exchanges("alice", here) == [row for row in rows if row.conversation == here]
        assert await index.newest("alice", 4) == sorted(rows, key=lambda row: row.id.bytes, reverse=True)[:4]
        branch = exchange(here, NOW + 9 * SECOND, rows[0].id)
        assert await index.begin("alice", branch, None)
        await index.end(branch.id, "cancelled", None, LATER)
        assert (await index.exchanges("alice", here))[-1].outcome == "cancelled"
        assert (await index.exchanges("alice", here))[-1].parent == rows[0].id

    run(story())


def test_answers_are_found_by_their_digests(sql: Ports) -> None:
    """Every exchange that has one of them, oldest first, of one person's own that are not deleted."""

    async def story() -> None:
        index = index_of(sql)
        rows = [await _begun(index, "alice", digest) for digest in (DIGEST, b"x" * 32, DIGEST, None)]
        await _begun(index, "bob", DIGEST)
        found = await index.by_answer("alice", [DIGEST, b"y" * 32, DIGEST])
        assert [row.id for row in found] == [rows[0].id, rows[2].id]
        assert await index.by_answer("alice", []) == []
        await index.delete("alice", rows[0].conversation, LATER)
        assert [row.id for row in await index.by_answer("alice", [DIGEST])] == [rows[2].id]

    run(story())


def test_what_was_interrupted_is_said_to_be(sql: Ports) -> None:
    """Every exchange without an outcome, and no other; what was shown of it is not known by a digest."""

    async def story() -> None:
        index = index_of(sql)
        done = await _begun(index)
        cut = [exchange(uuid4()) for _ in range(2)]
        for row in cut:
            assert await index.begin("alice", row, None)
        assert await index.interrupted() == 2
        assert await index.interrupted() == 0
        outcomes = {row.id: (row.outcome, row.answer_digest) for row in await index.newest("alice", 9)}
        assert outcomes == {done.id: ("answered", DIGEST)} | {row.id: ("interrupted", None) for row in cut}

    run(story())


def test_use_brings_a_conversation_to_the_front(sql: Ports) -> None:
    """A question and the end of an answer are use; a name is not, and a clock that is set back does not undo it."""

    async def story() -> None:
        index = index_of(sql)
        old, new = conversation(NOW), conversation(NOW + SECOND)
        for row in (old, new):
            await index.create("alice", row)
        await index.rename("alice", old.id, b"name", b"")
        assert [row.id for row in await index.page("alice", None, 9)] == [new.id, old.id]
        asked = exchange(old.id, NOW + 2 * SECOND)
        assert await index.begin("alice", asked, None)
        assert [row.id for row in await index.page("alice", None, 9)] == [old.id, new.id]
        await index.end(asked.id, "answered", DIGEST, NOW + 5 * SECOND)
        assert (await index.page("alice", None, 1))[0].updated_at == NOW + 5 * SECOND
        assert await index.begin("alice", exchange(old.id, NOW + 3 * SECOND), None)
        await index.end(asked.id, "answered", DIGEST, NOW + 4 * SECOND)
        assert (await index.page("alice", None, 1))[0].updated_at == NOW + 5 * SECOND

    run(story())


async def _all_pages(index: SqlConversations, user: str, limit: int) -> list[ConversationRow]:
    rows: list[ConversationRow] = []
    while page := await index.page(user, (rows[-1].updated_at, rows[-1].id) if rows else None, limit):
        assert len(page) <= limit
        rows += page
    return rows


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["alice", "bob"]), st.integers(0, 2), st.booleans()), max_size=12))
def test_pages_together_are_the_list(sql: Ports, made: list[tuple[str, int, bool]]) -> None:
    """By last use, newest first, each once, also where many have the same instant; whatever the page's size, and
    whatever other people have or was deleted."""

    async def story() -> None:
        index = index_of(sql)
        with sql.database.begin() as connection:
            connection.execute(sa.delete(t.conversation))
        expected: dict[str, list[ConversationRow]] = {"alice": [], "bob": []}
        for user, second, deleted in made:
            row = conversation(NOW + second * SECOND)
            await index.create(user, row)
            if deleted:
                await index.delete(user, row.id, LATER)
            else:
                expected[user].append(row)
        for user, rows in expected.items():
            ordered = sorted(rows, key=lambda row: (row.updated_at, row.id.bytes), reverse=True)
            for limit in (1, 2, 5):
                assert await _all_pages(index, user, limit) == ordered
            assert await index.count(user) == len(ordered)

    run(story())


def test_a_page_taken_from_under_the_reader_loses_nothing_else(sql: Ports) -> None:
    """The last one of a page may be deleted before the next is asked for."""

    async def story() -> None:
        index = index_of(sql)
        rows = [conversation(NOW) for _ in range(5)]
        for row in rows:
            await index.create("alice", row)
        first = await index.page("alice", None, 2)
        await index.delete("alice", first[-1].id, LATER)
        rest = await index.page("alice", (first[-1].updated_at, first[-1].id), 9)
        assert {row.id for row in rest} == {row.id for row in rows} - {row.id for row in first}

    run(story())


READS: dict[str, tuple[str, Callable[[SqlConversations], Coroutine[Any, Any, Any]]]] = {
    "page": ("user=?", lambda index: index.page("alice", None, 50)),
    "next page": ("user=? AND (updated_at,id)<(?,?)", lambda index: index.page("alice", (NOW, uuid4()), 50)),
    "count": ("user=?", lambda index: index.count("alice")),
    "get": ("id=?", lambda index: index.get("alice", uuid4())),
    "newest": ("user=?", lambda index: index.newest("alice", 50)),
    "exchange": ("id=?", lambda index: index.exchange("alice", uuid4())),
    "exchanges": ("conversation=?", lambda index: index.exchanges("alice", uuid4())),
    "by answer": ("user=? AND answer_digest=?", lambda index: index.by_answer("alice", [DIGEST])),
}


@pytest.mark.parametrize("sql", ["sqlite"], indirect=True)  # PostgreSQL chooses by how much there is
@pytest.mark.parametrize("what", READS)
def test_every_read_is_from_an_index(sql: Ports, what: str) -> None:
    """The narrowest; no list is made by looking at anybody's rows one by one, and a page is not sorted first."""
    narrowest, read = READS[what]
    with sql.statements() as asked:
        run(read(index_of(sql)))
    plan = _plan(sql, asked[0])
    assert any("INDEX" in step and f"({narrowest})" in step for step in plan)
    assert not any(step.startswith("SCAN") for step in plan)
    assert what in ("exchanges", "by answer") or not any("TEMP B-TREE" in step for step in plan)


def _plan(sql: Ports, statement: str) -> Sequence[str]:
    with sql.database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (None,) * statement.count("?"))
        return [row.detail for row in rows]
