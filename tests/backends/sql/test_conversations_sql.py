"""The contract of `ConversationIndex`: one's own, in order, and nothing of anybody else's or of what was deleted."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import sqlalchemy as sa
from tests.backends.sql.conversation_rows import (
    DIGEST,
    NOTHING,
    SECOND,
    begun,
    conversation,
    everything,
    exchange,
    index_of,
)
from tests.backends.sql.sql_kit import LATER, NOW, Ports, run

from usher.backends import sql_tables as t
from usher.backends.sql_conversations import FINISHERS
from usher.backends.sql_outbox import SqlOutbox
from usher.ports import ConversationRow


def test_the_first_exchange_makes_its_conversation(sql: Ports) -> None:
    """With its title, whose exposures are the exchange's; each read gives it."""

    async def story() -> None:
        index = index_of(sql)
        row = exchange(uuid4(), exposures=b"d" * 32)
        assert await index.begin("alice", row, b"sealed title")
        made = ConversationRow(row.conversation, NOW, NOW, b"sealed title", b"d" * 32)
        assert await everything(index, "alice", row) == [made, [made], 1, row, [row], [row], []]

    run(story())


def test_what_is_anothers_is_not_there(sql: Ports) -> None:
    """In every read and in every write, by whatever id it is asked for; nothing of it changes."""

    async def story() -> None:
        index = index_of(sql)
        row = await begun(index)
        before = await everything(index, "alice", row)
        assert await everything(index, "bob", row) == NOTHING
        assert not await index.rename("bob", row.conversation, b"bob was here", b"")
        assert await index.delete("bob", row.conversation, LATER) is None
        assert not await index.begin("bob", exchange(row.conversation), b"bob was here")
        assert await everything(index, "alice", row) == before
        assert await everything(index, "bob", row) == NOTHING
        assert await sql.outbox.pending() == []

    run(story())


def test_an_absent_id_answers_as_a_foreign_one(sql: Ports) -> None:
    """The same values, whichever it is."""

    async def story() -> None:
        index = index_of(sql)
        await begun(index, "bob")
        absent = exchange(uuid4())
        assert await everything(index, "alice", absent) == NOTHING
        assert not await index.rename("alice", absent.conversation, b"title", b"")
        assert await index.delete("alice", absent.conversation, NOW) is None
        await index.end(absent.id, "answered", DIGEST, NOW)
        assert await everything(index, "alice", absent) == NOTHING

    run(story())


def test_a_deleted_conversation_is_gone_at_once_and_for_good(sql: Ports) -> None:
    """Before its event is recorded, after it, and also for an exchange that was still running."""

    async def story() -> None:
        index, outbox = index_of(sql), SqlOutbox(sql.database, FINISHERS)
        row = await begun(index)
        running = exchange(row.conversation, parent=row.id)
        assert await index.begin("alice", running, None)
        change = await index.delete("alice", row.conversation, LATER)
        assert change is not None
        assert dict(change.payload) == {"op": "delete", "conversation": str(row.conversation), "user": "alice"}
        assert await everything(index, "alice", row) == NOTHING
        await index.end(running.id, "answered", DIGEST, LATER)
        assert not await index.begin("alice", exchange(row.conversation), b"title")
        assert not await index.rename("alice", row.conversation, b"title", b"")
        assert await index.delete("alice", row.conversation, LATER) is None
        await outbox.finish([change])
        assert await everything(index, "alice", row) == NOTHING
        assert await outbox.pending() == []

    run(story())


def test_a_deleted_conversation_keeps_no_title(sql: Ports) -> None:
    """What may be kept of it is the record, which holds none."""

    async def story() -> None:
        row = await begun(index_of(sql))
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
        rows = [await begun(index, "alice", digest) for digest in (DIGEST, b"x" * 32, DIGEST, None)]
        await begun(index, "bob", DIGEST)
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
        done = await begun(index)
        cut = [exchange(uuid4()) for _ in range(2)]
        for row in cut:
            assert await index.begin("alice", row, None)
        assert await index.interrupted(await index.unended()) == 2
        assert await index.unended() == []
        outcomes = {row.id: (row.outcome, row.answer_digest) for row in await index.newest("alice", 9)}
        assert outcomes == {done.id: ("answered", DIGEST)} | {row.id: ("interrupted", None) for row in cut}

    run(story())


def test_what_is_stored_counts_questions_and_answers(sql: Ports) -> None:
    """Of one person, in bytes, with those of deleted conversations: the record keeps them."""

    async def story() -> None:
        index = index_of(sql)
        assert await index.kept("alice") == (0, 0)
        rows = [replace(exchange(uuid4()), size=size) for size in (10, 200)]
        for row in rows:
            assert await index.begin("alice", row, None)
        await index.end(rows[0].id, "answered", DIGEST, NOW, 3000)
        assert (await index.kept("alice"))[0] == 3210
        await index.delete("alice", rows[1].conversation, LATER)
        assert [(await index.kept(who))[0] for who in ("alice", "bob")] == [3210, 0]

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
