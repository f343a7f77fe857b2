"""Whatever a client has received is in the record, at whatever moment the server dies."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.crash.how_often import TIMES
from tests.crash.served_world import KEY, PID, SOCKET
from tests.web.chat_kit import QUESTION

from usher.backends.keyring import KeyRing
from usher.backends.ledger_reads import LedgerReads
from usher.backends.ledger_sql import SqlLog
from usher.ledger.content import Subject
from usher.ledger.record import Kind, subject_key_aad
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import verify

START_SECONDS = 20.0
CLIENTS = 3
"""Streams at the same time, so that commits are shared."""
BODY = json.dumps({"model": "assistant", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}).encode()


@contextmanager
def parent_of_servers(**environment: str) -> Iterator[subprocess.Popen[str]]:
    """The process that the servers are forked from, with more in its environment."""
    command = [sys.executable, "-m", "tests.crash.served_world"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole = {**os.environ, **environment}
    with subprocess.Popen(command, text=True, env=whole, **pipes) as process:  # type: ignore[call-overload]  # by names
        yield process
        process.stdin.close()
        process.kill()


@dataclass
class Client:
    """A connection that reads what comes, and keeps it as it came."""

    sock: socket.socket
    received: bytes = b""

    def read(self) -> bool:
        """True while the server lives."""
        try:
            part = self.sock.recv(65_536)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self.received += part
        return bool(part)

    @property
    def audit_id(self) -> str | None:
        found = re.search(rb'"id":"chatcmpl-([0-9a-f-]{36})"', self.received)
        return found and found[1].decode()

    @property
    def text(self) -> str:
        """All content that arrived, also of an event that was cut off in the middle."""
        return "".join(json.loads(f'"{part.decode()}"') for part in re.findall(rb'"content":"([^"\\]*)', self.received))


def started(parent: subprocess.Popen[str], folder: Path) -> int:
    """Have a server forked; its process's id, once it listens."""
    assert parent.stdin
    parent.stdin.write(f"{folder}\n")
    parent.stdin.flush()
    due = time.monotonic() + START_SECONDS
    while not (folder / PID).exists() or not (said := (folder / PID).read_text()).endswith("\n"):
        assert time.monotonic() < due, "the server does not start"
        time.sleep(0.005)
    return int(said)


def killed(server: int, folder: Path, key: str, after: float) -> list[Client]:
    """Ask for some streams, and kill the server so many seconds after the first part of an answer arrived."""
    clients = [asking(folder / SOCKET, key) for _ in range(CLIENTS)]
    began, due = time.monotonic(), 0.0
    try:
        while not due or time.monotonic() < due:
            for client in clients:
                assert client.read()
            if not due and any(client.text for client in clients):
                due = time.monotonic() + after
            assert time.monotonic() < began + 20
            time.sleep(0.0005)
    finally:
        os.kill(server, signal.SIGKILL)
    for client in clients:  # what was on its way still arrives
        client.sock.settimeout(5)
        while client.read():
            pass
        client.sock.close()
    return clients


def asking(at: Path, key: str) -> Client:
    """A client that has asked."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(at))
    head = {"host": "usher", "authorization": f"Bearer {key}", "content-length": str(len(BODY))}
    lines = [f"{name}: {value}" for name, value in {**head, "content-type": "application/json"}.items()]
    sock.sendall("\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines, "", ""]).encode() + BODY)
    sock.setblocking(False)
    return Client(sock)


def recorded(log: LedgerReads, ring: KeyRing, audit_id: str) -> str:
    """The durable text of an answer, opened with the key ring."""
    rows = log.content(audit_id)
    stored = log.subject_by_pseudonym(rows[0].pseudonym)
    assert stored is not None
    key = ring.unwrap(stored.wrapped_key, subject_key_aad(stored.pseudonym))
    conversation = Subject(stored.pseudonym, key).conversation(rows[0].conversation)
    return "".join(conversation.open(row) for row in rows if row.kind is Kind.ANSWER)


def check(folder: Path, clients: list[Client]) -> int:
    """Compare, before and after the next start has closed what was cut off; returns how many answers were cut off."""
    shown = {client.audit_id: client.text for client in clients if client.audit_id}
    ring = KeyRing.open(folder / "home.keys")
    with closing(SqlLog(folder / "home" / "ledger.sqlite", 0)) as log:
        for audit_id, text in shown.items():
            assert recorded(log, ring, audit_id).startswith(text), "shown, not recorded"
    asyncio.run(_started_and_stopped(folder))
    verdict = verify(folder / "home" / "ledger.sqlite", ring=KeyRing.open(folder / "home.keys"))
    assert verdict.ok, verdict
    with closing(SqlLog(folder / "home" / "ledger.sqlite", 0)) as log:
        ends = {e["audit_id"]: e["outcome"] for _, e in log.events(0, 500).events if e["type"] == "answer"}
    assert shown.keys() <= ends.keys()
    return sum(ends[audit_id] == "interrupted" and bool(text) for audit_id, text in shown.items() if audit_id)


async def _started_and_stopped(folder: Path) -> None:
    ring = KeyRing.open(folder / "home.keys")
    await (await Ledger.open(SqlLog(folder / "home" / "ledger.sqlite", 0), ring)).close()


def cut_off_by_kills(folder: Path, times: int) -> int:
    """Kill so many servers, each at a random moment, and check what they left; how many answers were cut off."""
    cut_off = 0
    with parent_of_servers() as parent:
        for number in range(times):
            home = folder / str(number)
            home.mkdir()
            server, after = started(parent, home), random.uniform(0, 0.8)  # noqa: S311  # a moment, no secret
            cut_off += check(home, killed(server, home, (home / KEY).read_text(), after))
    return cut_off


@pytest.mark.slow
@pytest.mark.crash
def test_five_kills(tmp_path: Path) -> None:
    """Shown is a prefix of recorded; the next start ends each answer, and the record verifies."""
    assert cut_off_by_kills(tmp_path, 5) >= 2, "most kills must fall into the middle of an answer"


@pytest.mark.crash
def test_a_hundred_kills(tmp_path: Path) -> None:
    """The same, a hundred times."""
    assert cut_off_by_kills(tmp_path, 100 * TIMES) >= 50 * TIMES
