"""Several servers on one ledger in PostgreSQL, under load: the one that leads is killed, or stands still."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from tests.backends.sql.postgres import PostgresMissing
from tests.crash.how_often import TIMES
from tests.ledger.ledger_kit import event, exchange, opening, ring_in, rows, run
from tests.ledger.pg_kit import PgServer, pg_server, server_in, sql, verified
from tests.ledger.test_ledger_pg_failover import tried, until

from usher.backends.ledger_pg import PgLog
from usher.ledger.leader import GONE_SECONDS
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType, uuid7

pytestmark = pytest.mark.crash
TAKEN_OVER = 5.0
"""Seconds within which a lost leader is replaced."""
SERVERS = 3
EVENTS_OF = (0, 2, 4, 4, 5)
"""Of an exchange, after so many of its appends."""


@pytest.fixture
def pg() -> Iterator[PgServer]:
    """A server of the test's own. It is killed, never the machine: what it has written is not lost without fsync."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(pg_server("fsync=off"))
        except PostgresMissing as missing:
            pytest.skip(f"PostgreSQL cannot be started: {missing}")
        yield server


class Servers:
    """Children that record. The oldest is killed first."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        command = [sys.executable, "-m", "tests.crash.pg_recorder"]
        self._parent = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._running: list[tuple[int, Path]] = []
        self._begun = 0

    def start(self) -> None:
        assert self._parent.stdin
        assert self._parent.stdout
        self._begun += 1
        said = self._folder / f"acknowledged-{self._begun}"
        self._parent.stdin.write(f"{self._url} {self._folder} {said.name}\n")
        self._parent.stdin.flush()
        self._running.append((int(self._parent.stdout.readline()), said))
        due = time.monotonic() + 20
        while not said.exists() or not said.read_bytes().startswith(b"ready"):
            assert time.monotonic() < due, "the server does not start"
            time.sleep(0.01)

    def kill(self) -> None:
        os.kill(self._running.pop(0)[0], signal.SIGKILL)

    def close(self) -> None:
        while self._running:
            self.kill()
        self._parent.kill()
        self._parent.communicate()

    def acknowledged(self) -> dict[str, int]:
        """How many appends of each exchange were."""
        found: dict[str, int] = {}
        for path in self._folder.glob("acknowledged-*"):
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n") and line != "ready\n":
                    ident, number = line.split()
                    found[ident] = max(found.get(ident, 0), int(number))
        return found


@contextmanager
def servers(url: str, folder: Path) -> Iterator[Servers]:
    ring_in(folder)
    with closing(Servers(url, folder)) as children:
        for _ in range(SERVERS):
            children.start()
        yield children


def again(times: int, act: Callable[[], None], url: str) -> float:
    """Do it again and again, after random moments; the longest time in which no event got its place after one."""
    longest = 0.0
    for _ in range(times):
        time.sleep(random.uniform(0.02, 0.3))  # noqa: S311  # a moment, no secret
        act()
        began, before = time.monotonic(), size(url)
        while size(url) <= before:
            time.sleep(0.005)
            assert time.monotonic() < began + 4 * TAKEN_OVER, "nobody leads any more"
        longest = max(longest, time.monotonic() - began)
    return longest


def size(url: str) -> int:
    while True:
        with suppress(psycopg.OperationalError):
            return int(sql(url, "SELECT size FROM tree")[0][0])
        time.sleep(0.02)


def check(url: str, folder: Path, acknowledged: dict[str, int]) -> None:
    """After one more server has ended what was left: each acknowledged event is there, each event once, each exchange
    has one end, and the record verifies with its content."""

    async def story() -> None:
        async with server_in(folder, url) as ledger:
            log = ledger._log
            assert isinstance(log, PgLog)
            await until(lambda: not log.open_exchanges(), GONE_SECONDS + TAKEN_OVER)
            await ledger.checkpoint()

    run(story())
    events = [json.loads(event) for (event,) in sql(url, "SELECT event FROM events ORDER BY number")]
    counted = Counter(event["audit_id"] for event in events if event["audit_id"])
    assert len(acknowledged) > 10
    for ident, appends in acknowledged.items():
        assert counted[ident] >= EVENTS_OF[appends], "acknowledged, not recorded"
    ends = Counter(event["audit_id"] for event in events if event["type"] == "answer")
    assert set(ends.values()) == {1}
    assert ends.keys() == counted.keys()
    kinds = Counter((event["audit_id"], event["type"]) for event in events if event["audit_id"])
    assert set(kinds.values()) == {1}, "recorded twice"
    stored = Counter(ident for (ident,) in sql(url, "SELECT audit_id FROM content"))
    assert all(stored[ident] == 2 for ident, appends in acknowledged.items() if appends >= 3)
    verdict = verified(url, folder)
    assert (verdict.problems, verdict.content, verdict.size) == ((), "checked", len(events))


def test_servers_that_are_killed(pg: PgServer, tmp_path: Path) -> None:
    """Twenty times the oldest of three, which is often the one that leads; another one comes for it."""

    with servers(pg.url, tmp_path) as children:

        def kill() -> None:
            children.kill()
            children.start()

        longest = again(20 * TIMES, kill, pg.url)
    check(pg.url, tmp_path, children.acknowledged())
    assert longest < TAKEN_OVER


def test_a_leader_that_stands_still_is_replaced(pg: PgServer, tmp_path: Path) -> None:
    """A server that is stopped, with its connections open, loses the lead; let go on, it cannot write as before."""
    with servers(pg.url, tmp_path) as children:
        for _ in range(2 * TIMES):
            led = [ident for ident, _ in children._running if ident == leader_process(pg.url, children)]
            for ident in led:
                os.kill(ident, signal.SIGSTOP)
            began, before = time.monotonic(), size(pg.url)
            while size(pg.url) <= before + 50:
                time.sleep(0.01)
                assert time.monotonic() < began + 4 * TAKEN_OVER, "nobody leads any more"
            assert time.monotonic() - began < TAKEN_OVER
            for ident in led:
                os.kill(ident, signal.SIGCONT)
            time.sleep(0.5)
    check(pg.url, tmp_path, children.acknowledged())


def leader_process(url: str, children: Servers) -> int:
    """The child whose stop stops the log's growth."""
    for ident, _ in children._running:
        os.kill(ident, signal.SIGSTOP)
        time.sleep(0.2)
        before = size(url)
        time.sleep(0.4)
        grows = size(url) > before
        os.kill(ident, signal.SIGCONT)
        if not grows:
            return ident
    return 0


def test_a_database_that_stops_hard_is_waited_for(pg: PgServer, tmp_path: Path) -> None:
    """While it is away all is refused, at once or within the deadline; when it is back recording goes on by itself,
    with the exchange that was open, and all that was acknowledged is there."""

    async def story() -> str:
        async with server_in(tmp_path, pg.url, deadline=3.0) as ledger:
            await exchange(ledger)
            subject, ident = await ledger.subject("alice"), uuid7()
            await ledger.append(opening(ident), rows(subject, ident))
            await asyncio.to_thread(pg.stop)
            began = time.monotonic()
            with pytest.raises(LedgerUnavailable):
                await ledger.append([Entry(EventType.OPERATOR)])
            assert time.monotonic() - began < 3.5
            assert ledger.healthy() is not None
            pg.start()  # by this thread: it ends with the one that started it
            await until(lambda: ledger.healthy() is None)
            await tried(lambda: ledger.append([event(EventType.ANSWER, ident, outcome="answered")]))
            return ident

    ident = run(story())
    events = [json.loads(event) for (event,) in sql(pg.url, "SELECT event FROM events ORDER BY number")]
    assert (len(events), events[-1]["audit_id"], events[-1]["content"]["rows"]) == (8, ident, 2)
    assert verified(pg.url, tmp_path).problems == ()
