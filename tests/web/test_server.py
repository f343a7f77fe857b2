"""A real server from its start to its end, and the command line beside it and without it."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.graph_kit import lend
from tests.web.server_kit import PATIENCE, USHER, House, Server, endless_model, gone, heard, settled_house
from websockets.exceptions import ConnectionClosed

from usher.data_folder import is_held
from usher.ledger.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.loopback]

PLANTED = "what does the walrus know of the travel budget for 2026"


def ask(question: str) -> dict[str, Any]:
    return {"model": "assistant", "messages": [{"role": "user", "content": question}]}


@pytest.fixture
def house(graph: Path, tmp_path: Path) -> House:
    """With nothing in its data folder but the model's graph."""
    house = House(tmp_path)
    lend(graph, house.home)
    return house


@pytest.fixture(scope="module")
def alices(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[House, str]:
    """A house with documents, and the key of alice."""
    return settled_house(graph, tmp_path_factory.mktemp("settled"))


@contextmanager
def answering(server: Server, key: str) -> Iterator[Iterator[str]]:
    """The lines of an answer that has begun to flow."""
    with (
        server.client(key) as client,
        client.stream("POST", "/v1/chat/completions", json=ask("the travel budget?") | {"stream": True}) as response,
    ):
        assert response.status_code == 200
        yield response.iter_lines()


def newest(house: House) -> dict[str, Any]:
    """The event that was recorded last."""
    with closing(sqlite3.connect(house.home / "ledger.sqlite")) as ledger:
        (event,) = ledger.execute("SELECT event FROM events ORDER BY number DESC LIMIT 1").fetchone()
    return dict(json.loads(event))


@pytest.mark.crash
def test_a_server_from_start_to_end(house: House, tmp_path: Path) -> None:
    """It answers over HTTP and to the command line, says nothing of a question, and ends clean within ten seconds."""
    with house.serving() as server:
        children = server.children()
        assert children
        assert httpx.get(server.url + "/health/ready").json()["status"] == "ok"
        assert stat.S_IMODE((house.home / "operator.sock").stat().st_mode) == 0o600
        assert house.told("ingest", "docs", "--collection", "finance")["added"] == 2
        alice, bob = house.key("alice", "fin"), house.key("bob", "all")
        assert house.told("search", "travel budget", USHER_KEY=bob)["hits"] == []
        assert "412,000 euros" in house.told("ask", PLANTED, "--key", alice)["answer"]
        with server.client(alice) as client:
            assert client.get("/api/search", params={"q": PLANTED}).json()["hits"]
            assert client.get("/walrus", params={"q": PLANTED}).status_code == 404
        shown = house.run("ask", PLANTED, USHER_KEY=alice)
        assert shown.stdout.endswith("[1] budget.md  Budget\n")
        assert house.told("audit", "verify")["ok"]
        assert house.told("doctor")["ok"]
        assert house.run("person", "deactivate", "nobody").returncode == 1
        assert house.run("search", "budget", USHER_KEY="usher-none").returncode == 1
        assert server.stop()[0] == 0
    log = server.log()
    assert {line["path"] for line in log if line["event"] == "request"} >= {"/api/search", "/walrus"}
    assert "walrus know" not in (tmp_path / "log").read_text()
    assert any(line.get("principal") for line in log)
    assert gone(children)
    assert not is_held(house.home)
    assert not (house.home / "operator.sock").exists()
    assert house.told("audit", "verify")["ok"]


@pytest.mark.crash
def test_what_is_owned_or_taken_is_refused(house: House, tmp_path: Path) -> None:
    """A second server names the process that owns the data folder, and ends with 1; one on a port that is taken names
    the address with the remedy, ends with 2, and leaves nothing behind. The first goes on.
    """
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other")
    with house.serving() as server:
        second = house.run("serve")
        assert second.returncode == 1
        assert f"process {server.process.pid}" in second.stderr
        refused = other.run("serve", "--port", server.url.rpartition(":")[2])
        assert httpx.get(server.url + "/health/live").status_code == 200
    assert refused.returncode == 2
    assert "--port" in refused.stderr
    assert not is_held(other.home)


@pytest.mark.crash
def test_a_killed_server_leaves_nothing_behind(alices: tuple[House, str], graph: Path, tmp_path: Path) -> None:
    """After SIGKILL its children end, the lock is free, the next one starts with all that was taken in, and the record
    is whole.
    """
    settled, key = alices
    house = settled.copied(graph, tmp_path)
    (house.folder / "docs" / "ferry.md").write_text("# Ferry\n\nA season ticket of the ferry costs 77 euros.\n")
    with house.serving() as server:
        assert house.told("ingest", "docs", "--collection", "finance")["added"] == 3
        children = server.children()
        server.stop(signal.SIGKILL)
        assert gone(children)
    assert not is_held(house.home)
    assert house.told("search", "season ticket", USHER_KEY=key)["hits"][0]["path"] == "ferry.md"
    assert verify(house.home / "ledger.sqlite").ok


@pytest.mark.crash
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_streams_recorded(
    number: signal.Signals, alices: tuple[House, str], graph: Path, tmp_path: Path
) -> None:
    """An answer that flows is ended and recorded as cancelled; the server ends with 0 within ten seconds."""
    settled, key = alices
    with endless_model() as url:
        house = settled.copied(graph, tmp_path, USHER_MODEL_URL=url, USHER_MODEL="endless")
        with house.serving() as server, answering(server, key) as lines:
            assert next(line for line in lines if "so" in line)
            code, seconds = server.stop(number)
            rest = list(lines)
    assert (code, seconds < 10) == (0, True)
    assert "data: [DONE]" not in rest
    assert newest(house)["outcome"] == "cancelled"
    assert verify(house.home / "ledger.sqlite").ok


@pytest.mark.crash
def test_an_answer_outlives_its_connection(alices: tuple[House, str], graph: Path, tmp_path: Path) -> None:
    """Lost and taken up again without a gap; a server that stops says so over its sockets, and ends clean."""
    settled, key = alices
    with endless_model() as url:
        house = settled.copied(graph, tmp_path, USHER_MODEL_URL=url, USHER_MODEL="endless")
        with house.serving() as server:
            with server.socket(key) as broken:
                broken.send(json.dumps({"type": "ask", "id": "q", "question": PLANTED}))
                first = [heard(broken, "delta") for _ in range(3)]
                broken.socket.shutdown(socket.SHUT_RDWR)
            with server.socket(key) as again:
                again.send(json.dumps({"type": "resume", "id": "again", "audit_id": first[0]["audit_id"], "after": 3}))
                assert [heard(again, "delta")["seq"] for _ in range(5)] == [4, 5, 6, 7, 8]
                code, seconds = server.stop()
                assert heard(again, "done", "error")["outcome"] == "cancelled"
                assert heard(again)["code"] == "server_stops"
                with pytest.raises(ConnectionClosed, match="1001"):
                    heard(again)
    assert (code, seconds < 10) == (0, True)
    assert not [secret for secret in (key, "walrus") if secret in (house.folder / "log").read_text()]
    assert newest(house)["outcome"] == "cancelled"


@pytest.mark.crash
def test_commands_without_a_server(graph: Path, tmp_path: Path) -> None:
    """Each opens the data folder itself, also where the socket's path is longer than an address; refusals are 1."""
    house = House(tmp_path, home=tmp_path / ("deep" * 30) / "home")
    lend(graph, house.home)
    assert house.told("init")["version"] == 1
    added = house.told("ingest", "docs", "--collection", "finance", "--sync")
    assert added["added"] == 2
    again = house.run("ingest", "docs", "--collection", "finance", "--sync")
    assert (again.returncode, again.stdout) == (0, "2 unchanged, 0 refused\n")
    (tmp_path / "docs" / "secret.exe").symlink_to("/etc/passwd")
    (tmp_path / "docs" / "note.txt").symlink_to("/etc/passwd")
    refused = house.run("ingest", "docs", "--collection", "finance")
    assert refused.returncode == 1
    assert "note.txt" in refused.stderr
    assert not is_held(house.home)


@pytest.mark.crash
def test_two_commands_at_once(tmp_path: Path) -> None:
    """One opens the data folder, the other finds the way through it or after it; both end well."""
    house = House(tmp_path)
    commands = [
        subprocess.Popen(
            [USHER, "person", "add", f"p{n}", "--json"],
            env=house.environment,
            cwd=house.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    said = [command.communicate(timeout=PATIENCE) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], said
    assert [person["user"] for person in house.told("person", "list")] == ["p0", "p1"]


@pytest.mark.crash
def test_a_damaged_data_folder_is_told(alices: tuple[House, str], graph: Path, tmp_path: Path) -> None:
    """A record that is not one is refused with 1 by `serve`, and found by `audit verify` and `doctor`."""
    house = alices[0].copied(graph, tmp_path)
    with (house.home / "ledger.sqlite").open("r+b") as file:
        file.write(b"not a database at all")
    for command in (("serve",), ("audit", "verify"), ("doctor",), ("person", "list")):
        done = house.run(*command)
        assert done.returncode == 1, (command, done)
        assert "Traceback" not in done.stderr
