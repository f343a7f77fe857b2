"""`usher adapter …`: as the operator, and by a key; what comes next is printed; exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from tests.web.cli_kit import road_to
from tests.web.registry_kit import company, fresh, gate_of, handbook, published, trained
from tests.web.world import DOCUMENTS, World
from typer.testing import CliRunner, Result

from usher import cli_adapter, cli_road
from usher.cli import app
from usher_lora.canonical import encode
from usher_lora.manifest import MadeFor

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with company(tmp_path_factory.mktemp("cli")) as (made, _):
        yield made


@pytest.fixture(scope="module")
def operators(usher: World) -> Litestar:
    return usher.operator_app()


@pytest.fixture
def command(usher: World, operators: Litestar, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line; its road leads to the world's operator app. `key`: as whom."""

    def command(*words: str, key: str | None = None) -> Result:
        given = [] if key is None else ["--key", usher.keys[key]]
        return CliRunner().invoke(app, ["adapter", *words, *given])

    monkeypatch.setattr(cli_road, "road", road_to(operators))
    monkeypatch.setattr(cli_adapter, "run", usher.run)
    return command


def shown(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])  # the log may come before it
    return found


def test_an_adapter_on_its_way_by_the_command_line(usher: World, command: Run, tmp_path: Path) -> None:
    """Registered by one person's key, approved by another's, published by the operator, retired; each tells what is
    next, and exits by what was done."""
    folder = trained(tmp_path / "run", handbook(usher), made=fresh())
    one = shown(command("register", str(folder), "--json", key="alice"))
    assert one["state"] == "draft"
    assert one["author"] == usher.run(usher.services.ledger.pseudonym("alice"))
    kept = usher.run(usher.services.adapters.store.get(one["id"]))
    assert kept is not None
    (tmp_path / "gate.json").write_bytes(encode(gate_of(kept)))
    ready = shown(command("gate", one["name"], str(tmp_path / "gate.json"), "--json"))
    assert f"approve {one['name']} --digest {ready['digest']}" in command("show", one["name"]).output
    own = command("approve", one["name"], "--digest", ready["digest"], key="alice")
    assert isinstance(own.exception, cli_road.Refused)
    told = command("approve", one["name"], "--digest", ready["digest"], key="carol")
    assert f"usher adapter publish {one['name']}" in told.output
    assert shown(command("publish", one["name"], "--json"))["serves"] is True
    assert one["name"] in published(usher)
    assert one["name"] in command("list").output
    assert [each["state"] for each in shown(command("list", "--json", key="carol"))["adapters"]] == ["published"]
    assert shown(command("retire", one["id"], "--json"))["state"] == "retired"
    assert shown(command("quarantine", one["id"], "--json", key="alice"))["alarm"] == "reported"
    assert "draft" in command("reopen", one["name"], key="carol").output


def test_what_learned_what_has_gone_is_told_with_the_command_that_begins_anew(
    usher: World, command: Run, tmp_path: Path
) -> None:
    """As a shell takes it, in the list and beside the adapter; and for one that does not say what it was made for."""
    asked = MadeFor("role:employee", ("coll:handbook", "coll:it's"), ("exchanges", "structure"), 4)
    for n, made_for in enumerate((asked, None)):
        folder = trained(tmp_path / str(n), handbook(usher), made=fresh(), asked=made_for)
        name = shown(command("register", str(folder), "--json"))["name"]
        assert f"gate {name} GATE.json" in command("show", name).output
    usher.run(usher.ingest({path: text for path, text in DOCUMENTS.items() if path != "handbook/hotels.md"}))
    usher.run(usher.services.adapters.upkeep.settle())
    again = (
        "usher adapter dataset --role role:employee --collection coll:handbook --collection 'coll:it'\"'\"'s' "
        "--maker exchanges --maker structure --seed 4 --name support --out DIR"
    )
    listed = command("list").output
    assert again in listed
    assert "make its data set anew" in listed
    told = [one["name"] for one in shown(command("list", "--json"))["adapters"] if one["stale"]]
    beside = "".join(command("show", name).output for name in told)
    assert again in beside
    assert "made for role:employee, from coll:handbook, coll:it's" in beside
    usher.run(usher.ingest())


def test_what_is_wrong_with_a_folder_is_told(usher: World, command: Run, tmp_path: Path) -> None:
    """As the server says it, and it is refused."""
    answer = command("register", str(tmp_path / "absent"))
    assert isinstance(answer.exception, cli_road.Refused)
    assert "cannot be opened" in str(answer.exception)


def test_a_check_that_finds_something_exits_with_one(usher: World, command: Run, tmp_path: Path) -> None:
    """It names the adapter and what is wrong; where all is well it exits with 0."""
    assert command("check").exit_code == 0
    one = shown(command("register", str(trained(tmp_path / "run", handbook(usher), made=fresh())), "--json"))
    assert one["author"] == "operator:uid:0"
    file = usher.services.adapters.weights.place(one["id"]) / "adapter_config.json"
    file.chmod(0o600)
    file.write_bytes(b"{}")
    found = command("check", "--json")
    assert found.exit_code == 1
    assert [each["adapter"] for each in json.loads(found.stdout.splitlines()[-1])["findings"]] == [one["name"]]
    assert shown(command("show", one["id"], "--json"))["adapter"]["state"] == "quarantined"
    assert command("check").exit_code == 1


def test_a_name_that_is_none_names_nothing(usher: World, command: Run) -> None:
    """As one that is somebody else's."""
    told = {str(command("show", name).exception) for name in ("support", "0" * 64, f"support@sha256:{'0' * 64}")}
    assert len(told) == 1


@pytest.mark.parametrize("content", [b"{", b'{"a":' * 3_000, b"\xff"])
def test_a_gate_that_is_none_is_told_by_its_name(command: Run, tmp_path: Path, content: bytes) -> None:
    """Broken, or nested without end."""
    (tmp_path / "gate.json").write_bytes(content)
    told = command("gate", "support", str(tmp_path / "gate.json")).exception
    assert str(told).startswith("GATE.json cannot be read")
