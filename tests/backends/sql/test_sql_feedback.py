"""The contract of `FeedbackStore`: one's own exchanges only, one feedback each, what is deleted is not there."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from tests.backends.sql.sql_kit import FINISHERS, LATER, NOW, Ports, run

from usher.backends import sql_feedback
from usher.backends.sql_conversations import FINISHERS as CONVERSATION
from usher.backends.sql_conversations import SqlConversations
from usher.backends.sql_feedback import SqlFeedback
from usher.backends.sql_outbox import SqlOutbox
from usher.ports import ExchangeRow
from usher.ports.feedback import FeedbackRow, Verdict

SHOWN = UUID(int=77).bytes
TALK = UUID(int=1000)


class House:
    """The port over one database, with what must be there before feedback can be given."""

    def __init__(self, sql: Ports) -> None:
        self.store = SqlFeedback(sql.database)
        self.conversations = SqlConversations(sql.database)
        self.outbox = SqlOutbox(sql.database, {**FINISHERS, **CONVERSATION, **sql_feedback.FINISHERS})

    async def exchange(self, user: str, number: int, conversation: UUID = TALK) -> UUID:
        row = ExchangeRow(UUID(int=number), conversation, None, NOW, SHOWN, b"q" * 32)
        assert await self.conversations.begin(user, row, None)
        return row.id

    async def give(self, user: str, row: FeedbackRow) -> bool:
        change = await self.store.put(user, row, "c" * 64)
        await self.outbox.finish([] if change is None else [change])
        return change is not None

    async def listed(self, before: UUID | None = None, limit: int = 100) -> list[UUID]:
        return [given.row.id for given in await self.store.page(before, limit)]


def feedback(number: int, exchange: UUID, verdict: Verdict = Verdict.UP, now: datetime = NOW) -> FeedbackRow:
    return FeedbackRow(UUID(int=number), exchange, now, verdict, b"sealed %d" % number)


def test_it_waits_for_the_ledger(sql: Ports) -> None:
    """The change says all that the ledger is to hear, and nothing is there before it has."""

    async def story() -> None:
        house = House(sql)
        row = feedback(1, await house.exchange("alice", 10), Verdict.DOWN)
        change = await house.store.put("alice", row, "c" * 64)
        assert change is not None
        assert (change.kind, change.payload) == (
            "feedback",
            {
                "feedback": str(row.id),
                "exchange": str(row.exchange),
                "verdict": "down",
                "commitment": "c" * 64,
                "train": False,
                "user": "alice",
            },
        )
        assert await house.outbox.pending() == [change]
        assert (await house.store.own("alice", row.exchange), await house.listed()) == (None, [])
        await house.outbox.finish([change])
        given = await house.store.own("alice", row.exchange)
        assert given is not None
        assert (given.row, given.user, given.conversation, given.exposures) == (row, "alice", TALK, SHOWN)
        assert await house.store.page(None, 1) == [given]

    run(story())


def test_a_foreign_and_an_absent_exchange_take_none(sql: Ports) -> None:
    """And nothing of another's comes back as one's own."""

    async def story() -> None:
        house = House(sql)
        exchange = await house.exchange("alice", 10)
        for user, target in (("mallory", exchange), ("Alice", exchange), ("alice", UUID(int=11))):
            assert not await house.give(user, feedback(1, target))
        assert await house.give("alice", feedback(2, exchange))
        assert await house.store.own("mallory", exchange) is None
        assert await house.listed() == [UUID(int=2)]

    run(story())


def test_the_last_that_the_ledger_heard_of_takes_the_place(sql: Ports) -> None:
    """One for each exchange, also where two were pending together."""

    async def story() -> None:
        house = House(sql)
        exchange, other = await house.exchange("alice", 10), await house.exchange("alice", 11)
        assert await house.give("alice", feedback(1, exchange))
        assert await house.give("alice", feedback(2, other))
        pending = [await house.store.put("alice", feedback(n, exchange, now=LATER), "c" * 64) for n in (3, 4)]
        assert await house.listed() == [UUID(int=2), UUID(int=1)]
        await house.outbox.finish([change for change in pending if change is not None])
        assert await house.listed() == [UUID(int=4), UUID(int=2)]

    run(story())


def test_what_is_deleted_is_not_there(sql: Ports) -> None:
    """With its conversation the feedback goes from both reads, and no more can be given."""

    async def story() -> None:
        house = House(sql)
        exchange, kept = await house.exchange("alice", 10), await house.exchange("alice", 11, UUID(int=2000))
        assert await house.give("alice", feedback(1, exchange))
        assert await house.give("alice", feedback(2, kept))
        await house.conversations.delete("alice", TALK, LATER)
        assert await house.store.own("alice", exchange) is None
        assert await house.listed() == [UUID(int=2)]
        assert not await house.give("alice", feedback(3, exchange))

    run(story())


def test_pages_together_are_everything(sql: Ports) -> None:
    """Newest first, each once, from any id on, also one that is not there."""

    async def story() -> None:
        house = House(sql)
        for number in range(1, 6):
            exchange = await house.exchange("alice" if number % 2 else "bob", number, UUID(int=3000 + number % 2))
            assert await house.give("alice" if number % 2 else "bob", feedback(100 + number, exchange))
        everything = [UUID(int=100 + number) for number in (5, 4, 3, 2, 1)]
        assert await house.listed() == everything
        assert await house.listed(None, 2) + await house.listed(UUID(int=104), 2) == everything[:4]
        assert await house.listed(UUID(int=999), 100) == everything
        assert await house.listed(UUID(int=0)) == []

    run(story())
