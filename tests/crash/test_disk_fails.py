"""The disk fails while answers flow: each stream ends, and what it has shown is recorded."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.crash.how_often import TIMES
from tests.crash.served_world import KEY, SOCKET
from tests.crash.test_shown_is_recorded import CLIENTS, Client, asking, check, parent_of_servers, started
from tests.ledger import faults_kit as kit

pytestmark = pytest.mark.crash

END_SECONDS = 30.0
"""In which every stream must end: a part of an answer has ten, and so has its end."""


def until(clients: Sequence[Client], *, text: bool) -> None:
    """Read until one of them has some of its answer, or until all have ended."""
    due = time.monotonic() + END_SECONDS
    while not (any(client.text for client in clients) if text else all(ended(client) for client in clients)):
        for client in clients:
            if not ended(client):
                client.read()
        assert time.monotonic() < due
        time.sleep(0.0005)


def ended(client: Client) -> bool:
    """Whether its response is whole, as HTTP says."""
    return client.received.endswith(b"0\r\n\r\n") or (
        b"content-length" in client.received.lower() and client.received.endswith(b"}")
    )


def asked_again(folder: Path, key: str) -> None:
    """The server answers once more, without a restart."""
    due = time.monotonic() + END_SECONDS
    while True:
        client = asking(folder / SOCKET, key)
        until([client], text=False)
        client.sock.close()
        if client.received.startswith(b"HTTP/1.1 200"):
            return
        assert client.received.startswith(b"HTTP/1.1 503"), client.received
        assert time.monotonic() < due
        time.sleep(0.1)


@pytest.mark.parametrize(("fault", "times"), [("write", 5), ("sync", 5), ("hang", 1)])
def test_the_disk_fails_while_answers_flow(tmp_path: Path, fault: str, times: int) -> None:
    """Shown is a prefix of recorded, no stream ends as if its answer were whole, and the server answers again when the
    disk is well, without a restart."""
    if why := kit.missing_compiler():
        pytest.skip(f"no disk can be made to fail here: {why}")
    environment = kit.faulty(kit.build(tmp_path), tmp_path)
    page = kit.Page(tmp_path / "page")
    with parent_of_servers(**environment) as parent:
        for number in range(times * TIMES):
            own = tmp_path / str(number)
            own.mkdir()
            server = started(parent, own)
            try:
                key = (own / KEY).read_text()
                clients = [asking(own / SOCKET, key) for _ in range(CLIENTS)]
                until(clients, text=True)
                time.sleep(random.uniform(0, 0.5))  # noqa: S311  # a moment, no secret
                set_fault(page, fault)
                until(clients, text=False)
                assert all(b"[DONE]" not in client.received for client in clients)
                set_fault(page, None)
                asked_again(own, key)
            finally:
                set_fault(page, None)
                os.kill(server, signal.SIGKILL)
            for client in clients:
                client.sock.close()
            check(own, clients)


def set_fault(page: kit.Page, fault: str | None) -> None:
    page.write_fails(errno.EIO if fault == "write" else 0)
    page.sync_fails({"sync": errno.EIO, "hang": kit.HANGS}.get(fault or "", 0))
