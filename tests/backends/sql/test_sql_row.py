"""A row that is remembered is the database's row of now."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sqlalchemy as sa

from usher.backends import sql_tables as t
from usher.backends.sql import Database, migrate
from usher.backends.sql_row import OneRow

_REVISION = sa.select(t.state.c.revision, sa.bindparam("key").label("asked"))


def _two(folder: Path) -> tuple[Database, Database]:
    """The same file, opened twice, as by two processes."""
    url = f"sqlite:///{folder / 'usher.sqlite'}"
    first, second = Database(url), Database(url)
    migrate(first)
    return first, second


def test_what_another_connection_changed_is_seen_by_the_next_look(tmp_path: Path) -> None:
    """However often the row was asked for before."""
    database, other = _two(tmp_path)
    row = OneRow(database, _REVISION, "key")
    seen = []
    for revision in (5, 6, 5):
        with other.begin() as connection:
            connection.execute(sa.update(t.state).values(revision=revision))
        seen += [asyncio.run(row.of("a")).revision for _ in range(2)]
    assert seen == [5, 5, 6, 6, 5, 5]
    database.close()
    other.close()


def test_rows_of_different_keys_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """Also where the rest of them is equal."""
    database, other = _two(tmp_path)
    row = OneRow(database, _REVISION, "key")
    assert [asyncio.run(row.of(key)).asked for key in ("a", "b", "a")] == ["a", "b", "a"]
    database.close()
    other.close()
