"""A real server from its start to its end, and the command line beside it and without it."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.web.server_kit import House, Server, endless_model, gone

from usher.data_folder import is_held

pytestmark = [pytest.mark.slow, pytest.mark.loopback]

PLANTED = "what does the walrus know of the travel budget for 2026"


def ask(question: str) -> dict[str, Any]:
    return {"model": "assistant", "messages": [{"role": "user", "content": question}]}


@contextmanager
def answering(server: Server, key: str) -> Iterator[Iterator[str]]:
    """The lines of an answer that has begun to flow."""
    with (
        server.client(key) as client,
        client.stream("POST", "/v1/chat/completions", json=ask("the travel budget?") | {"stream": True}) as response,
    ):
        assert response.status_code == 200
        yield response.iter_lines()


def test_a_server_from_start_to_end(tmp_path: Path) -> None:
    """It answers over HTTP and to the command line, says nothing of a question, and ends clean within ten seconds."""
    house = House(tmp_path)
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
        assert server.stop()[0] == 0
    log = server.log()
    assert {line["path"] for line in log if line["event"] == "request"} >= {"/api/search", "/walrus"}
    assert "walrus know" not in (tmp_path / "log").read_text()
    assert any(line.get("principal") for line in log)
    assert gone(children)
    assert not is_held(house.home)
    assert not (house.home / "operator.sock").exists()
    assert house.told("audit", "verify")["ok"]


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    """It names the process that owns the data folder, and ends with 1; the first goes on."""
    house = House(tmp_path)
    with house.serving() as server:
        second = house.run("serve")
        assert second.returncode == 1
        assert f"process {server.process.pid}" in second.stderr
        assert httpx.get(server.url + "/health/live").status_code == 200


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The address is named with the remedy; bad usage, and nothing is left behind."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = House(tmp_path / "a"), House(tmp_path / "b")
    with first.serving() as server:
        refused = second.run("serve", "--port", server.url.rpartition(":")[2])
    assert refused.returncode == 2
    assert "--port" in refused.stderr
    assert not is_held(second.home)


def test_a_killed_server_leaves_nothing_behind(tmp_path: Path) -> None:
    """After SIGKILL its children end, the lock is free, the next one starts, and the record is whole."""
    house = House(tmp_path)
    with house.serving() as server:
        house.told("ingest", "docs", "--collection", "finance")
        children = server.children()
        server.stop(signal.SIGKILL)
        assert gone(children)
    assert not is_held(house.home)
    key = house.key("alice", "fin")
    assert house.told("search", "travel budget", USHER_KEY=key)["hits"][0]["path"] == "budget.md"
    assert house.told("audit", "verify")["ok"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_streams_recorded(number: signal.Signals, tmp_path: Path) -> None:
    """An answer that flows is ended and recorded as cancelled; the server ends with 0 within ten seconds."""
    with endless_model() as url:
        house = House(tmp_path, USHER_MODEL_URL=url, USHER_MODEL="endless")
        with house.serving() as server:
            house.told("ingest", "docs", "--collection", "finance")
            with answering(server, house.key("alice", "fin")) as lines:
                assert next(line for line in lines if "so" in line)
                code, seconds = server.stop(number)
                rest = list(lines)
    assert (code, seconds < 10) == (0, True)
    assert "data: [DONE]" not in rest
    events = house.told("audit", "events", "--type", "answer")["events"]
    assert [event["outcome"] for event in events] == ["cancelled"]
    assert house.told("audit", "verify")["ok"]


def test_commands_without_a_server(tmp_path: Path) -> None:
    """Each opens the data folder itself, also where the socket's path is longer than an address; refusals are 1."""
    house = House(tmp_path, home=tmp_path / ("deep" * 30) / "home")
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
    assert house.run("person", "deactivate", "nobody").returncode == 1
    assert house.run("search", "budget", USHER_KEY="usher-none").returncode == 1
    assert not is_held(house.home)


def test_two_commands_at_once(tmp_path: Path) -> None:
    """One opens the data folder, the other finds the way through it or after it; both end well."""
    import subprocess

    from tests.web.server_kit import PATIENCE, USHER

    house = House(tmp_path)
    commands = [
        subprocess.Popen(
            [USHER, "person", "add", f"p{n}", "--json"],
            env=house.environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    said = [command.communicate(timeout=PATIENCE) for command in commands]
    assert [command.returncode for command in commands] == [0, 0, 0], said
    assert [person["user"] for person in house.told("person", "list")] == ["p0", "p1", "p2"]


def test_a_damaged_data_folder_is_told(tmp_path: Path) -> None:
    """A record that is not one is refused with 1 by `serve`, and found by `audit verify` and `doctor`."""
    house = House(tmp_path)
    house.told("init")
    with (house.home / "ledger.sqlite").open("r+b") as file:
        file.write(b"not a database at all")
    for command in (("serve",), ("audit", "verify"), ("doctor",), ("person", "list")):
        done = house.run(*command)
        assert done.returncode == 1, (command, done)
        assert "Traceback" not in done.stderr
