"""The schema: made by migrations, equal to the tables in code, never of a newer release."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.backends.sql.sql_kit import Ports

from usher.backends import sql as backend
from usher.backends import (  # they add tables
    sql_adapter_tables,  # noqa: F401  # see above
    sql_case_tables,  # noqa: F401  # see above
    sql_changeset_tables,  # noqa: F401  # see above
    sql_hold_tables,  # noqa: F401  # see above
    sql_proposal_tables,  # noqa: F401  # see above
)
from usher.backends import sql_tables as t
from usher.backends.sql import HEAD, Database, NewerData, migrate

Opened = Callable[[], Database]


def test_migrations_make_the_tables_in_code(sql: Ports) -> None:
    """No table, column, type, constraint or index differs."""
    with sql.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, t.tables) == []


def test_the_head_in_code_is_the_newest_migration() -> None:
    """Revisions are numbered, so they sort as they follow each other."""
    scripts = ScriptDirectory.from_config(backend._alembic_config())
    assert scripts.get_current_head() == HEAD
    numbers = [script.revision for script in scripts.walk_revisions()]
    assert numbers == sorted(numbers, reverse=True)


def test_migrating_twice_changes_nothing(unmigrated: Opened) -> None:
    """The second time one look at the revision is all."""
    first, second = unmigrated(), unmigrated()
    migrate(first)
    written: list[str] = []
    sa.event.listen(second.engine, "before_cursor_execute", lambda *args: written.append(args[2]))
    migrate(second)
    assert not [text for text in written if text.lstrip().upper().startswith(("CREATE", "INSERT", "UPDATE", "ALTER"))]
    with second.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.state)).scalar_one() == 1


def test_two_processes_may_migrate_at_once(unmigrated: Opened) -> None:
    """The second waits for the first, and finds the work done."""
    databases = [unmigrated() for _ in range(4)]
    failed: list[BaseException] = []

    def go(database: Database) -> None:
        try:
            migrate(database)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=go, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_newer_revision_is_refused_and_left_alone(unmigrated: Opened) -> None:
    """The message says which revision, and the remedy."""
    database = unmigrated()
    migrate(database)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerData, match=r"9999.*Install the release that wrote it"):
        migrate(database)
    with database.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_migration_that_fails_leaves_nothing(unmigrated: Opened) -> None:
    """All or nothing, so that the next start begins from the same place."""
    database = unmigrated()

    def break_off(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "CREATE TABLE reader_list" in statement:
            raise RuntimeError("the disk is full")

    sa.event.listen(database.engine, "before_cursor_execute", break_off)
    with pytest.raises(RuntimeError):
        migrate(database)
    sa.event.remove(database.engine, "before_cursor_execute", break_off)
    assert sa.inspect(database.engine).get_table_names() == []
    migrate(database)
    assert set(sa.inspect(database.engine).get_table_names()) == {*t.tables.tables, "alembic_version"}
