"""A real Usher in a child process, with a data folder, a policy and two documents of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
from tests.graph_kit import lend
from tests.web.ws_kit import Frame, validator
from websockets.sync import client as sync

from usher.app import open_services
from usher.core.standing import Actor
from usher.ingest import IngestOptions
from usher.settings import read_settings

USHER = str(Path(sys.executable).with_name("usher"))
PATIENCE = 60.0

POLICY = """\
p, role:staff, sys:chat, chat.ask, allow, always
p, role:finance, coll:finance, document.read, allow, always
g, role:finance, role:staff
g, group:fin, role:finance
g, group:all, role:staff
"""


class House:
    """A folder for everything, and the command line over it."""

    def __init__(self, folder: Path, home: Path | None = None, **settings: str) -> None:
        self.folder = folder
        self.home = home or folder / "home"
        (folder / "policy.csv").write_text(POLICY)
        (folder / "docs").mkdir()
        (folder / "docs" / "budget.md").write_text("# Budget\n\nThe travel budget for 2026 is 412,000 euros.\n")
        (folder / "docs" / "rent.md").write_text("# Rent\n\nThe rent of Quay 7 is 9,100 euros a month.\n")
        given = {"USHER_HOME": str(self.home), "USHER_POLICY": str(folder / "policy.csv"), "USHER_PORT": "0"} | settings
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("USHER_")} | given

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One command; `more` are further variables."""
        return subprocess.run(
            [USHER, *arguments],
            env=self.environment | more,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def told(self, *arguments: str, **more: str) -> Any:
        """The JSON that a command prints. It must end well."""
        done = self.run(*arguments, "--json", **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def key(self, user: str, group: str) -> str:
        self.told("person", "add", user, "--group", group)
        return str(self.told("key", "create", user)["key"])

    def copied(self, graph: Path, folder: Path, **settings: str) -> House:
        """The same data folder and key ring elsewhere, under other settings."""
        house = House(folder, **settings)
        lend(graph, house.home)
        rest = shutil.ignore_patterns("models", "operator.sock")
        shutil.copytree(self.home, house.home, ignore=rest, dirs_exist_ok=True)
        shutil.copy2(self.home.with_suffix(".keys"), house.home.with_suffix(".keys"))
        return house

    @contextmanager
    def serving(self) -> Iterator[Server]:
        """A server, ready; killed at the end if it is still there."""
        with (
            (self.folder / "log").open("a") as log,
            subprocess.Popen(
                [USHER, "serve", "--json"],
                env=self.environment,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                yield Server(process, self)
            finally:
                process.kill()


def settled_house(graph: Path, folder: Path) -> tuple[House, str]:
    """A house with its documents taken in, to be copied, and the key of alice, who may read them."""
    house = House(folder)
    lend(graph, house.home)
    operator = Actor("operator", "uid:0")

    async def settle() -> str:
        settings = read_settings(home=house.home, policy=folder / "policy.csv")
        async with open_services(settings) as services:
            options = IngestOptions(folder / "docs", source=str(folder / "docs"), collection="finance")
            report = [event async for event in services.ingest.run(options, operator)][-1]
            assert report["added"] == 2
            await services.people.add("alice", ["fin"], operator)
            return (await services.people.create_key("alice", None, None, operator)).key

    return house, asyncio.run(settle())


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], house: House) -> None:
        assert process.stdout is not None
        began = time.monotonic()
        line = process.stdout.readline()
        assert line, (house.folder / "log").read_text()
        self.start_seconds = time.monotonic() - began
        self.process = process
        self.house = house
        self.url = json.loads(line)["url"]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; the exit code, and the seconds that the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout=PATIENCE)
        return code, time.monotonic() - began

    def children(self) -> list[int]:
        """Process ids of the server's own children."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.house.folder / "log").read_text().splitlines()]

    @contextmanager
    def socket(self, key: str) -> Iterator[sync.ClientConnection]:
        """A WebSocket, ready."""
        with sync.connect(self.url.replace("http", "ws") + "/ws/chat", proxy=None) as connection:
            connection.send(json.dumps({"type": "auth", "key": key}))
            assert heard(connection)["type"] == "ready"
            yield connection

    def client(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE)


def heard(connection: sync.ClientConnection, *types: str) -> Frame:
    """The next frame, of one of these types if there are any."""
    while True:
        frame = cast(Frame, json.loads(connection.recv(PATIENCE)))
        validator("server").validate(frame)
        if not types or frame["type"] in types:
            return frame


def gone(pids: list[int], seconds: float = 10) -> bool:
    """True once none of the processes is alive; False if one still is after so long."""
    end = time.monotonic() + seconds
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the second where it ends while it is read
        return False
    return state != "Z"


@contextmanager
def endless_model() -> Iterator[str]:
    """The URL of a model server whose answers never end: a word every 50 ms."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            try:
                while True:
                    chunk = {"choices": [{"index": 0, "delta": {"content": "and so on "}, "finish_reason": None}]}
                    self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
                    time.sleep(0.05)
            except OSError:
                return

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
