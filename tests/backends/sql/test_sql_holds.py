"""The contracts of `HoldStore` and `RetentionStore`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.backends.sql.conversation_rows import DIGEST, exchange, index_of
from tests.backends.sql.sql_kit import FINISHERS, LATER, NOW, Ports, run

from usher.backends import sql_feedback, sql_holds, sql_turn
from usher.backends.sql import Database
from usher.backends.sql_feedback import SqlFeedback
from usher.backends.sql_holds import SqlHolds
from usher.backends.sql_outbox import SqlOutbox
from usher.backends.sql_retention import SqlRetention
from usher.core.holds import Hold, On
from usher.ledger.log import LedgerUnavailable
from usher.ports import ExchangeRow
from usher.ports.feedback import FeedbackRow, Verdict
from usher.ports.holds import HoldRow, Remembered

HOLD = Hold(str(UUID(int=5)), On.PERSON, str(UUID(int=9)), NOW, LATER)
OTHER = Hold(str(UUID(int=6)), On.COLLECTION, "coll:finance")


def outbox(sql: Ports) -> SqlOutbox:
    return SqlOutbox(sql.database, {**FINISHERS, **sql_holds.FINISHERS, **sql_feedback.FINISHERS})


def test_a_hold_binds_at_once_and_until_its_release_is_recorded(sql: Ports) -> None:
    """Both wait for the ledger, and say to it what was given them."""

    async def story() -> None:
        store = SqlHolds(sql.database)
        placed = await store.place(HOLD, {"on": "person"}, NOW)
        assert placed is not None
        assert (placed.kind, placed.payload) == ("hold", {"on": "person", "op": "place", "hold": HOLD.id})
        assert await store.binding() == [HOLD]
        assert await store.place(HOLD, {}, NOW) is None
        await outbox(sql).finish([placed])
        released = await store.release(UUID(HOLD.id), UUID(int=7), {"proposal": "x"}, LATER)
        assert released is not None
        assert released.payload == {"proposal": "x", "op": "release", "hold": HOLD.id}
        assert await store.binding() == [HOLD]
        assert await store.release(UUID(HOLD.id), UUID(int=8), {}, LATER) is None
        assert await store.get(UUID(HOLD.id)) == HoldRow(HOLD, NOW, UUID(int=7), None)
        await outbox(sql).finish([released])
        assert await store.binding() == []
        assert await store.get(UUID(HOLD.id)) == HoldRow(HOLD, NOW, UUID(int=7), LATER)

    run(story())


def test_holds_are_listed_newest_first_and_released_ones_too(sql: Ports) -> None:
    """One that is not there is not listed; the record may have it, so it can be released."""

    async def story() -> None:
        store = SqlHolds(sql.database)
        for hold in (HOLD, OTHER):
            await store.place(hold, {}, NOW)
        await outbox(sql).finish(await outbox(sql).pending())
        assert [row.hold for row in await store.page(None, 10)] == [OTHER, HOLD]
        assert [row.hold for row in await store.page(None, 1)] == [OTHER]
        assert [row.hold for row in await store.page(UUID(OTHER.id), 10)] == [HOLD]
        assert await store.get(UUID(int=1)) is None
        assert await store.release(UUID(int=1), UUID(int=2), {}, NOW) is not None
        assert await store.get(UUID(int=1)) is None

    run(story())


async def talk(sql: Ports, user: str = "alice") -> list[ExchangeRow]:
    """A conversation of two exchanges, with feedback on each, and another conversation."""
    index, feedback = index_of(sql), SqlFeedback(sql.database)
    first = exchange(uuid4())
    second = exchange(first.conversation, NOW + timedelta(seconds=1), first.id)
    other = exchange(uuid4())
    for number, row in enumerate((first, second, other), 1):
        assert await index.begin(user, row, b"sealed title")
        await index.end(row.id, "answered", DIGEST, NOW, 100, b"c" * 18)
        given = FeedbackRow(UUID(int=number), row.id, NOW, Verdict.UP, b"sealed words %d" % number)
        change = await feedback.put(user, given, "c" * 64)
        assert change is not None
        await outbox(sql).finish([change])
    return [first, second, other]


def test_what_was_dropped_is_forgotten_but_for_what_it_showed(sql: Ports) -> None:
    """It is recognised no more, takes no room, and gets no feedback; the title goes with the first exchange."""

    async def story() -> None:
        store, index, feedback = SqlRetention(sql.database), index_of(sql), SqlFeedback(sql.database)
        first, second, other = await talk(sql)
        for _ in range(2):
            await store.forget(7, [first.id], [], LATER)
        gone = await index.exchange("alice", first.id)
        assert gone is not None
        assert (gone.answer_digest, gone.question_digest, gone.cited, gone.size) == (None, b"\0" * 32, b"", 0)
        assert (gone.exposures, gone.outcome, gone.dropped_at) == (first.exposures, "answered", LATER)
        assert {row.id for row in await index.by_answer("alice", [DIGEST])} == {second.id, other.id}
        assert (await index.kept("alice"))[0] == 200
        told = await index.get("alice", first.conversation)
        assert told is not None
        assert (told.sealed_title, told.title_exposures) == (None, b"")
        words = {given.row.exchange: given.row.sealed for given in await feedback.page(None, 10)}
        assert words == {first.id: b"", second.id: b"sealed words 2", other.id: b"sealed words 3"}
        again = FeedbackRow(UUID(int=9), first.id, LATER, Verdict.DOWN, b"more")
        assert await feedback.put("alice", again, "c" * 64) is None
        kept = await index.get("alice", other.conversation)
        assert kept is not None
        assert kept.sealed_title == b"sealed title"

    run(story())


def test_a_title_goes_with_the_last_exchange_too(sql: Ports) -> None:
    """Until then a conversation keeps it, if its first is kept."""

    async def story() -> None:
        store, index = SqlRetention(sql.database), index_of(sql)
        first, second, _ = await talk(sql)
        await store.forget(7, [second.id], [], LATER)
        told = await index.get("alice", first.conversation)
        assert told is not None
        assert told.sealed_title == b"sealed title"
        await index.begin("alice", apart := exchange(uuid4(), parent=first.id), b"sealed title")
        await store.forget(8, [apart.id], [], LATER)
        told = await index.get("alice", apart.conversation)
        assert told is not None
        assert told.sealed_title is None

    run(story())


def test_feedback_may_go_by_itself(sql: Ports) -> None:
    """Its words only; what is remembered of an exchange names the feedback that still has some."""

    async def story() -> None:
        store = SqlRetention(sql.database)
        first, second, other = await talk(sql)
        await store.forget(7, [other.id], [UUID(int=1)], LATER)
        assert await store.remembered([first.id, second.id, other.id, uuid4()]) == {
            first.id: Remembered(first.id, first.exposures, dropped=False),
            second.id: Remembered(second.id, second.exposures, False, ((UUID(int=2), NOW),)),
            other.id: Remembered(other.id, other.exposures, dropped=True),
        }

    run(story())


def test_how_far_it_is_forgotten_never_goes_back(sql: Ports) -> None:
    """And when the last run came to its end."""

    async def story() -> None:
        store = SqlRetention(sql.database)
        assert (await store.forgotten(), await store.last_run()) == (0, None)
        for number in (7, 5, 0):
            await store.forget(number, [], [], NOW)
        await store.ran(LATER)
        assert (await store.forgotten(), await store.last_run()) == (7, LATER)

    run(story())


def test_no_byte_of_what_is_forgotten_is_left_in_a_file(sql: Ports) -> None:
    """Of a SQLite database, write-ahead log included; on a server, its own clearing away does it."""

    async def story() -> None:
        store = SqlRetention(sql.database)
        rows = await talk(sql)
        await store.forget(7, [row.id for row in rows], [], LATER)
        await store.overwritten()

    run(story())
    if sql.database.engine.dialect.name == "sqlite":
        path = Path(str(sql.database.engine.url.database))
        stored = b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))
        assert b"sealed words" not in stored
        assert b"sealed title" not in stored
        assert DIGEST not in stored


@pytest.mark.parametrize("sql", [pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True)
def test_one_server_at_a_time_has_the_turn(sql: Ports, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken away on one waits for a hold that another one places; for too long is told."""
    monkeypatch.setattr(sql_turn, "PATIENCE", 0.2)

    async def story() -> None:
        one, other = SqlHolds(sql.database), SqlHolds(Database(str(sql.database.engine.url)))
        async with one.turn(), sql.outbox.turn():
            with pytest.raises(LedgerUnavailable):
                async with other.turn():
                    pass
        async with other.turn():
            pass
        other._database.close()

    run(story())
