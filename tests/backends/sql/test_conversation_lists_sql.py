"""The lists of `ConversationIndex`: whole, in order, each once, and each read from an index."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backends.sql.conversation_rows import DIGEST, SECOND, conversation, index_of
from tests.backends.sql.sql_kit import LATER, NOW, Ports, run

from usher.backends import sql_tables as t
from usher.backends.sql_conversations import SqlConversations
from usher.ports import ConversationRow


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
    "kept": ("user=?", lambda index: index.kept("alice")),
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
    assert not any(step.startswith("SCAN") and step != "SCAN CONSTANT ROW" for step in plan)
    assert what in ("exchanges", "by answer") or not any("TEMP B-TREE" in step for step in plan)


def _plan(sql: Ports, statement: str) -> Sequence[str]:
    with sql.database.engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (None,) * statement.count("?"))
        return [row.detail for row in rows]
