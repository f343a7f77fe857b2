"""A real server, its clients that are slow or silent, and everybody else."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.web.server_kit import House, Server

from usher.connections import allow_many_files

pytestmark = [pytest.mark.slow, pytest.mark.loopback]

IMPATIENT = "from usher import cli, protocol as p; p.SLOWEST_HEAD = p.SLOWEST_BODY = 1.5; cli.main()"
"""Usher's own command, with seconds that a test can wait."""
SILENT = 1_100


@contextmanager
def impatient(house: House) -> Iterator[Server]:
    with (
        (house.folder / "log").open("a") as log,
        subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, "serve", "--json"],
            env=house.environment,
            cwd=house.folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Server(process, house)
        finally:
            process.kill()


def kib(pid: int) -> int:
    """What a process has of memory, its share of the common included."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def connect(server: Server, sent: bytes = b"") -> socket.socket:
    url = httpx.URL(server.url)
    client = socket.create_connection((url.host, url.port or 80), timeout=10)
    client.sendall(sent)
    return client


def rest(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    got = b""
    with client, suppress(ConnectionError):
        while part := client.recv(65_536):
            got += part
    return got


def head(path: str, key: str, length: int) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: usher", f"authorization: Bearer {key}", "content-type: application/json"]
    return "\r\n".join([*lines, f"content-length: {length}", "", ""]).encode()


@pytest.mark.crash
def test_a_crowd_that_says_nothing(tmp_path: Path) -> None:
    """More connections than strangers may have, with nothing or half a head: they cost little and stop nobody. The
    oldest make room, each other ends after its time, and so does a body that stalls, whoever sends it."""
    allow_many_files()
    house = House(tmp_path)
    with impatient(house) as server:
        key = house.key("alice", "fin")
        with server.client(key) as client:
            assert client.get("/api/me").status_code == 200
            before = kib(server.process.pid)
            crowd = [connect(server, b"GET /api/me HTTP/1.1\r\n" if n % 2 else b"") for n in range(SILENT)]
            assert client.get("/api/me").status_code == 200
            assert httpx.get(server.url + "/health/live").status_code == 200
            assert (kib(server.process.pid) - before) / SILENT < 30
            stalled, stranger = connect(server, head("/api/search", key, 99)), connect(server, head("/", "no", 99))
            ends = [rest(silent)[:13] for silent in crowd]
            assert set(ends[:70]) == {b"HTTP/1.1 503 "}
            assert set(ends[90:]) == {b"HTTP/1.1 408 "}
            assert rest(stalled).startswith(b"HTTP/1.1 408 ")
            assert rest(stranger).startswith(b"HTTP/1.1 404 ")
            assert client.get("/api/me").status_code == 200
        assert server.stop()[0] == 0
    assert not [line for line in server.log() if line.get("level") == "error"]
