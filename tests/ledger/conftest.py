"""One PostgreSQL for all tests of the ledger in a process, with an empty database for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.backends.sql.postgres import PostgresMissing
from tests.ledger.pg_kit import PgServer, pg_server, sql


@pytest.fixture(scope="session")
def pg_everywhere() -> Iterator[PgServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(pg_server("fsync=off", "full_page_writes=off"))
        except PostgresMissing as missing:
            pytest.skip(f"PostgreSQL cannot be started: {missing}")
        yield server


@pytest.fixture
def pg(pg_everywhere: PgServer) -> Iterator[str]:
    """The URL of a database without a ledger."""
    yield pg_everywhere.url
    sql(pg_everywhere.url, "DROP SCHEMA IF EXISTS usher_ledger CASCADE")
