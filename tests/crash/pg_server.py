"""A PostgreSQL server that is stopped at once, as by a kill, and started again on what it left: it syncs what it
commits, unlike the one that other tests use."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from tests.backends.sql import postgres as pg


class Server:
    """Its data in a folder of its own; `url` is good while it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        self._as_whom: dict[str, Any] = pg._given_to_nobody(folder) if os.geteuid() == 0 else {}
        self._binaries = pg._binaries(folder, self._as_whom)
        self._process: subprocess.Popen[bytes] | None = None
        options = ["--pgdata", str(self._data), "--username", "usher", "--auth", "trust", "--encoding", "UTF8"]
        pg._run([str(self._binaries / "initdb"), *options, "--locale", "C.UTF-8"], self._as_whom)

    @property
    def url(self) -> str:
        return f"postgresql://usher@/postgres?host={self._folder}"

    def start(self) -> None:
        settings = ["listen_addresses=", f"unix_socket_directories={self._folder}", "max_connections=200"]
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        command += [part for item in settings for part in ("-c", item)]
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd="/",
                stdout=output,
                stderr=output,
                preexec_fn=pg._end_with_parent,  # one system call, that takes no lock
                **self._as_whom,
            )
        pg._await_ready(self._process, log)

    def stop(self, mode: str) -> None:
        """`immediate` ends all its processes where they are; `fast` is in good order."""
        pg._run([str(self._binaries / "pg_ctl"), "-D", str(self._data), "stop", "-m", mode], self._as_whom)
        if self._process is not None:
            self._process.wait(pg.START_SECONDS)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """As its owner, on a connection of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[arg-type]  # a test's own words


@contextmanager
def server() -> Iterator[Server]:
    """One that runs, and is removed at the end. Raises `PostgresMissing`."""
    folder = Path(tempfile.mkdtemp(prefix="usher-pg-"))
    made = None
    try:
        made = Server(folder)
        made.start()
        yield made
    finally:
        if made is not None:
            made.stop("fast")
        shutil.rmtree(folder, ignore_errors=True)
