"""Every contract of a SQL port holds on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.backends.sql.postgres import PostgresMissing, postgres
from tests.backends.sql.sql_kit import Ports, in_haste

from usher.backends import sql_tables as t
from usher.backends.keyring import KeyRing
from usher.backends.sql import Database, migrate

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with ExitStack() as stack:
        try:
            url = stack.enter_context(postgres())
        except PostgresMissing as missing:
            pytest.skip(f"PostgreSQL cannot be started: {missing}")
        yield url


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("ring") / "home.keys")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "usher.sqlite"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def migrated_server(server: str) -> str:
    database = Database(server)
    migrate(database)
    database.close()
    return server


@pytest.fixture(params=BOTH)
def sql(request: pytest.FixtureRequest, tmp_path: Path, ring: KeyRing) -> Iterator[Ports]:
    """The SQL ports over a fresh database."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "usher.sqlite")
        database = Database(f"sqlite:///{tmp_path / 'usher.sqlite'}")
        sa.event.listen(database.engine, "connect", in_haste)
    else:
        database = Database(request.getfixturevalue("migrated_server"))
    yield Ports(database, ring)
    if request.param == "postgresql":
        _empty(database)
    database.close()


def _empty(database: Database) -> None:
    """As after the migration. Only what has rows is emptied: PostgreSQL makes new files for each table it truncates."""
    asked = sa.union_all(
        *(sa.select(sa.literal(table.name)).where(sa.exists(table.select())) for table in t.tables.sorted_tables)
    )
    with database.begin() as connection:
        used = ", ".join(f'"{name}"' for name in connection.execute(asked).scalars())
        connection.execute(sa.text(f"TRUNCATE {used} RESTART IDENTITY CASCADE"))
        connection.execute(sa.delete(t.state))
        connection.execute(sa.insert(t.state).values(id=1, policy_version=0, label_version=0, revision=0))


@pytest.fixture(params=BOTH)
def unmigrated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Opens one empty database, as often as one likes."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path / 'empty.sqlite'}"
        else:
            url = _own_database(request.getfixturevalue("server"), f"empty_{abs(hash(tmp_path))}")

        def opened() -> Database:
            database = Database(url)
            stack.callback(database.close)
            return database

        yield opened


def _own_database(server: str, name: str) -> str:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")
