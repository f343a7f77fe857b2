"""Servers over PostgreSQL are killed: whatever a client has received is in the record that the others go on with."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.backends.sql.postgres import PostgresMissing
from tests.crash.how_often import TIMES
from tests.crash.pg_server import Server, server
from tests.crash.served_world import KEY
from tests.crash.test_shown_is_recorded import killed, recorded, started

from usher.backends.keyring import KeyRing
from usher.backends.ledger_pg import PgLog
from usher.ledger.verify.postgresql import opened
from usher.ledger.verify.run import verify_opened
from usher.ledger.verify.verdict import Means

KILLS = 50 * TIMES
AT_ONCE = 3
"""Servers that run at the same time."""
GONE_SECONDS = 15.0
"""In which the exchanges of a killed server are ended by another one."""


@contextmanager
def parent_of_servers(folder: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """The process that the servers are forked from, once the documents are in."""
    command = [sys.executable, "-m", "tests.crash.pg_served_world", str(folder), url]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout
        said = process.stdout.readline()
        assert said == "filled\n", (folder / "log").read_text()
        yield process
        assert process.stdin
        process.stdin.close()
        process.kill()


class Killing:
    """Starts servers, each in a folder of its own, and kills them; `shown` is what their clients had received."""

    def __init__(self, folder: Path, pg: Server, parent: subprocess.Popen[str]) -> None:
        self._folder, self._pg, self._parent = folder, pg, parent
        self._line = threading.Lock()
        self.shown: dict[str, str] = {}

    def one(self, number: int) -> None:
        """Shown is a prefix of recorded, as soon as the server is dead."""
        own = self._folder / str(number)
        own.mkdir()
        clients = killed(self.started(own), own, (self._folder / KEY).read_text(), random.uniform(0, 0.8))  # noqa: S311  # a moment
        ring = KeyRing.open(self._folder / "home.keys")
        with closing(PgLog(self._pg.url)) as log:
            for client in clients:
                if client.audit_id:
                    assert recorded(log, ring, client.audit_id).startswith(client.text), "shown, not recorded"
                    self.shown[client.audit_id] = client.text

    def started(self, own: Path) -> int:
        with self._line:
            return started(self._parent, own)


def ends(pg: Server) -> dict[str, list[str]]:
    """The outcomes of each exchange that has ended."""
    found: dict[str, list[str]] = {}
    for (event,) in pg.query("SELECT event FROM usher_ledger.events ORDER BY number"):
        read = json.loads(event)
        if read["type"] == "answer":
            found.setdefault(read["audit_id"], []).append(read["outcome"])
    return found


def check(folder: Path, pg: Server, shown: dict[str, str]) -> int:
    """Every exchange that was shown ends, once, and the record verifies; how many were cut off in their middle."""
    due = time.monotonic() + GONE_SECONDS
    while open_ := pg.query("SELECT audit_id FROM usher_ledger.open_exchanges"):
        assert time.monotonic() < due, open_
        time.sleep(0.1)
    ended = ends(pg)
    assert {audit_id: len(ended.get(audit_id, [])) for audit_id in shown} == dict.fromkeys(shown, 1)
    ring = KeyRing.open(folder / "home.keys")
    verdict = verify_opened(partial(opened, pg.url), Means(ring=ring))
    assert verdict.ok, verdict
    return sum(ended[audit_id] == ["interrupted"] and bool(text) for audit_id, text in shown.items())


@pytest.mark.crash
def test_fifty_kills_over_postgresql(tmp_path: Path) -> None:
    """Three servers at a time, each killed at a random moment; one that stays ends what they left."""
    try:
        with server() as pg, parent_of_servers(tmp_path, pg.url) as parent:
            killing = Killing(tmp_path, pg, parent)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(killing.one, range(KILLS)))
            stays = tmp_path / "stays"
            stays.mkdir()
            last = killing.started(stays)
            try:
                cut_off = check(tmp_path, pg, killing.shown)
            finally:
                os.kill(last, signal.SIGKILL)
            assert cut_off >= KILLS / 2, "most kills must fall into the middle of an answer"
    except PostgresMissing as missing:
        pytest.skip(f"no PostgreSQL can be started here: {missing}")
