"""A PostgreSQL of the tests' own for the ledger: it can be stopped hard and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from tests.backends.sql import postgres
from tests.ledger.ledger_kit import ring_in

from usher.backends.ledger_pg import PgLog
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import Means, Verdict, postgresql, verify_opened
from usher.ledger.waiting import Pending

SOON = 0.3
"""Seconds in which a leader has surely taken what waits."""


class PgServer:
    """`url` is of its first database, reached over a Unix socket."""

    def __init__(self, folder: Path, settings: tuple[str, ...]) -> None:
        self._folder, self._settings = folder, settings
        self._as_whom = postgres._given_to_nobody(folder) if os.geteuid() == 0 else {}
        self._binaries = postgres._binaries(folder, self._as_whom)
        self._starts = 0
        options = ["--pgdata", str(folder / "data"), "--username", "usher", "--auth", "trust", "--encoding", "UTF8"]
        init = [str(self._binaries / "initdb"), *options, "--no-sync", "--locale", "C.UTF-8"]
        postgres._run(init, self._as_whom)
        self.url = self.of("postgres")

    def of(self, database: str, role: str = "usher") -> str:
        return f"postgresql://{role}@/{database}?host={self._folder}"

    def start(self) -> None:
        self._starts += 1
        log = self._folder / f"log-{self._starts}"
        where = ("listen_addresses=", f"unix_socket_directories={self._folder}", *self._settings)
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data")]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, *(part for setting in where for part in ("-c", setting))],
                cwd="/",
                stdout=output,
                stderr=output,
                preexec_fn=postgres._end_with_parent,  # one system call, that takes no lock
                **self._as_whom,
            )
        postgres._await_ready(self._process, log)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT is `pg_ctl stop -m immediate`: no more writing, as after a loss of power."""
        self._process.send_signal(how)
        self._process.wait(postgres.START_SECONDS)

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)


@contextmanager
def pg_server(*settings: str) -> Iterator[PgServer]:
    """A running server. Raises `PostgresMissing`."""
    folder = Path(tempfile.mkdtemp(prefix="usher-pg-"))
    try:
        server = PgServer(folder, settings)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def server_in(folder: Path, url: str, **options: Any) -> AsyncIterator[Ledger]:
    """A server's ledger, with the key ring in this folder."""
    ledger = await Ledger.open(PgLog(url), ring_in(folder), **options)
    try:
        yield ledger
    finally:
        await ledger.close()


def sql(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Somebody with the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(f"SET search_path = usher_ledger; {statement}" if not values else statement, values)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


def waiting(url: str, folder: Path, part: bytes | None, place: int = 1, session: int = 1) -> tuple[Any, ...]:
    """The values of a row of `pending` as a server of this session makes it."""
    ((origin,),) = sql(url, "SELECT origin FROM log")
    return tuple(Pending(session, place, part).sealed(origin, ring_in(folder)))


_NAMES, _VALUES = ", ".join(Pending._fields), ", ".join("%s" for _ in Pending._fields)
WAIT = f"INSERT INTO usher_ledger.pending ({_NAMES}) VALUES ({_VALUES})"  # noqa: S608  # names of fields


def verified(url: str, folder: Path) -> Verdict:
    return verify_opened(partial(postgresql.opened, url), Means(ring_in(folder)))


def cut(url: str, *, leader: bool) -> None:
    """End the connection of the one that leads, or all that servers append on, as a network that breaks does."""
    held = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND (objid::int = 0) = %s"
    for (pid,) in sql(url, held, leader):
        sql(url, "SELECT pg_terminate_backend(%s)", pid)
