"""The metadata database: one engine, short transactions in worker threads, migrations at start.

SQLite runs in WAL mode; PostgreSQL through psycopg. Both have one writer at a time, so that what a transaction reads
still holds when it writes. The SQL itself lives in the files that need it (`identity_keys.py`, `sql_policy.py`,
`sql_documents.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import sqlalchemy as sa

from usher.errors import DatabaseUnavailable

T = TypeVar("T")
AnyRow = sa.Row[*tuple[Any, ...]]

_MIGRATIONS = Path(__file__).parent / "migrations"

HEAD = "0009"
"""The newest migration; a test compares it with the files. Revisions are numbered, so they sort."""


ANSWERS_WITHIN = 2.0
"""Seconds in which a database server answers a barrier; after that nobody is let through."""

_LOST = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""A machine that is gone without a word is noticed in some ten seconds, not in a quarter of an hour: until then each
connection to it would be taken, in the pool or to listen on. One that is slow but there acknowledges in time. What the
URL says itself holds."""

_ONE_WRITER = sa.text("SELECT pg_advisory_xact_lock(7593116420260)")
"""A lock of Usher's own in the PostgreSQL database, held to the end of the transaction."""


class NewerData(Exception):
    """The data folder was written by a newer Usher; the message says the remedy."""


class Database:
    """Transactions over one engine. `read` and `write` run the given function in a worker thread."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.is_file = self.engine.dialect.name == "sqlite"
        self._writing = self.engine.execution_options(usher_writes=True)
        self._write_lock = anyio.Lock()
        self._glancing: sa.PoolProxiedConnection | None = None

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        with self._answering():
            return await anyio.to_thread.run_sync(self._read, work)

    async def glance(self, work: Callable[[sa.Connection], T]) -> T:
        """A read of one row that every barrier makes: at once where the database is a file (a tenth of a millisecond,
        less than the way to a worker thread); where it is a server, within `ANSWERS_WITHIN`.

        Raises `DatabaseUnavailable`: a server that is gone, or silent. The thread that asked it is left behind."""
        if self.is_file:
            return self._read(work)
        with _in_time():
            async with asyncio.timeout(ANSWERS_WITHIN):
                return await anyio.to_thread.run_sync(self._read, work, abandon_on_cancel=True)

    def stored(self, sql: str, values: tuple[str, ...]) -> list[Any]:
        """A SQLite file's rows by the driver alone, as it has them now: a tenth of what a `glance` costs."""
        if self._glancing is None:
            self._glancing = self.engine.raw_connection()
        found: list[Any] = self._glancing.cursor().execute(sql, values).fetchall()
        return found

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction; an exception rolls all of it back."""
        async with self._write_lock:  # rather than block a thread for each that waits
            with self._answering():
                return await anyio.to_thread.run_sync(self._write, work)

    def _answering(self) -> AbstractContextManager[None]:
        return nullcontext() if self.is_file else _in_time()

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with self.engine.connect() as connection:
            return work(connection)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        with self.begin() as connection:
            return work(connection)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction that is the only one to write."""
        with self._writing.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(_ONE_WRITER)
            yield connection

    async def overwrite(self) -> None:
        """Leave no old bytes beside the file: SQLite zeroes what is replaced in the file itself, and its
        write-ahead log is cut here to nothing, unless somebody reads an older state at this moment."""
        if self.is_file:
            await anyio.to_thread.run_sync(self._cut)

    def _cut(self) -> None:
        with self.engine.connect() as connection:
            connection.rollback()
            connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def close(self) -> None:
        if self._glancing is not None:
            self._glancing.close()
            self._glancing = None
        self.engine.dispose()


@contextmanager
def _in_time() -> Iterator[None]:
    """A server that is gone, or takes too long, has one name."""
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError, TimeoutError) as error:
        raise DatabaseUnavailable(f"the metadata database does not answer ({type(error).__name__})") from error


def migrate(database: Database) -> None:
    """Bring the schema up to this release.

    Raises:
        NewerData: the database has a revision that this release does not know.
    """
    with database.engine.connect() as connection:
        if _is_current(connection):
            return
    with database.begin() as connection:
        if _is_current(connection):  # another process was faster
            return
        from alembic import command  # 0.4 s to import, needed only when there is something to migrate

        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _is_current(connection: sa.Connection) -> bool:
    if not sa.inspect(connection).has_table("alembic_version"):
        return False
    current = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if current is not None and current > HEAD:
        raise NewerData(
            f"The metadata database has revision {current}, newer than {HEAD}, the newest that this release knows. "
            "Install the release that wrote it, or restore a backup made by this one."
        )
    return current == HEAD


def _alembic_config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _engine(url: str) -> sa.Engine:
    made = sa.make_url(url)
    if made.get_backend_name() == "postgresql":
        made = made.update_query_dict({name: value for name, value in _LOST.items() if name not in made.query})
    engine = sa.create_engine(made, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_pragmas)
        sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own implicit BEGIN would start transactions too late
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=10000",
        "secure_delete=ON",
        "mmap_size=268435456",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("usher_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
