"""The way back from an exchange, as `ConversationIndex` gives it."""

from __future__ import annotations

from uuid import UUID, uuid4

from tests.backends.sql.conversation_rows import SECOND, exchange, index_of
from tests.backends.sql.sql_kit import NOW, Ports, run

from usher.ports import ExchangeRow


def test_a_path_is_the_way_from_the_first_to_its_tip(sql: Ports) -> None:
    """Other branches are not on it; of a long one the newest; without a tip it is the newest exchange's; what is
    another's, or another conversation's, ends it."""

    async def story() -> None:
        index, here = index_of(sql), uuid4()
        rows: list[ExchangeRow] = []

        async def add(parent: ExchangeRow | None, of: UUID = here, user: str = "alice") -> ExchangeRow:
            row = exchange(of, NOW + len(rows) * SECOND, parent.id if parent else None)
            rows.append(row)
            assert await index.begin(user, row, None)
            return row

        a = await add(None)
        b = await add(a)
        c = await add(b)
        d = await add(a)
        assert await index.path("alice", here, c.id, 10) == [a, b, c]
        assert await index.path("alice", here, d.id, 10) == [a, d]
        assert await index.path("alice", here, None, 10) == [a, d]
        assert await index.path("alice", here, c.id, 2) == [b, c]
        assert await index.path("alice", here, c.id, 1) == [c]
        foreign = await add(c, uuid4(), "bob")
        other = await add(c, uuid4())
        assert await index.path("bob", foreign.conversation, foreign.id, 10) == [foreign]
        assert await index.path("alice", other.conversation, other.id, 10) == [other]
        assert await index.path("bob", here, c.id, 10) == []
        assert await index.path("alice", other.conversation, c.id, 10) == []
        assert await index.path("alice", uuid4(), None, 10) == []

    run(story())
