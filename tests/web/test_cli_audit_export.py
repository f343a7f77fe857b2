"""`usher audit export`, and `usher audit verify` on another machine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar
from tests.web.export_kit import public_key, something_happens
from tests.web.world import World, world
from typer.testing import CliRunner, Result

from usher import cli_audit_export
from usher.audit.export_making import Export
from usher.cli import app
from usher.cli_road import Refused
from usher.errors import UserError

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("cli-export")) as made:
        something_happens(made)
        yield made


@pytest.fixture(scope="module")
def operator(usher: World) -> Litestar:
    return usher.operator_app()


@pytest.fixture
def command(usher: World, operator: Litestar, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command line, on a machine without the data folder; its road leads to the world's operator app."""

    @asynccontextmanager
    async def road(settings: object) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(cast(Any, operator))
        async with httpx.AsyncClient(transport=transport, base_url="http://operator") as client:
            yield client

    monkeypatch.setenv("USHER_HOME", str(tmp_path / "none" / "home"))
    monkeypatch.setattr(cli_audit_export, "road", road)
    monkeypatch.setattr(cli_audit_export, "run", usher.run)
    (tmp_path / "key").write_text(public_key(usher).hex())
    return lambda *words: CliRunner().invoke(app, ["audit", *map(str, words)])


def verify(command: Run, out: Path, *more: object) -> Result:
    return command("verify", out, "--public-key", out.parent / "key", *more)


@pytest.mark.parametrize("name", ["folder", "file.zip"])
def test_what_is_exported_is_verified_elsewhere(usher: World, command: Run, tmp_path: Path, name: str) -> None:
    """As a folder or as a ZIP, with nothing but the public key; the words claim no more than was checked."""
    out = tmp_path / name
    made = command(
        "export", "--out", out, "--person", "bob", "--format", "csv", "--type", "answer", "--type", "request"
    )
    assert made.exit_code == 0, made.output
    assert usher.events()[-1]["actor"].startswith("operator:uid:")
    assert usher.events()[-2]["types"] == ["answer", "request"]
    assert out.is_dir() == (name == "folder")
    checked = verify(command, out)
    assert checked.exit_code == 0
    assert "the export is whole" in checked.output
    assert "no other event fits the query" in checked.output
    alone = command("verify", out)
    assert (alone.exit_code, "agrees with itself" in alone.output) == (0, True)
    told = json.loads(verify(command, out, "--json").stdout)
    assert (told["ok"], told["query"]["types"]) == (True, ["answer", "request"])
    assert {path.name for path in tmp_path.iterdir()} == {name, "key"}


def test_one_that_was_changed_is_refused(command: Run, tmp_path: Path) -> None:
    """Exit code 1, and why; also of a ZIP that is cut short."""
    out = tmp_path / "out"
    assert command("export", "--out", out, "--json").exit_code == 0
    (out / "events.jsonl").write_bytes((out / "events.jsonl").read_bytes().replace(b"role:finance", b"role:finding", 1))
    refused = verify(command, out)
    assert (refused.exit_code, "is NOT whole" in refused.output) == (1, True)
    assert "root" in refused.output
    torn = tmp_path / "torn.zip"
    torn.write_bytes(b"PK\x03\x04 and no more")
    assert command("verify", torn).exit_code == 1


def test_a_held_checkpoint_is_continued(usher: World, command: Run, tmp_path: Path) -> None:
    """Given to both commands; an export that was not asked to does not say so of an older one."""
    note, out = tmp_path / "note", tmp_path / "out"
    note.write_text(usher.run(usher.services.ledger.checkpoint()))
    assert command("export", "--out", tmp_path / "plain").exit_code == 0
    assert command("export", "--out", out, "--checkpoint", note).exit_code == 0
    assert verify(command, out, "--checkpoint", note).exit_code == 0
    assert verify(command, tmp_path / "plain", "--checkpoint", note).exit_code == 1
    note.write_text("nonsense")
    assert isinstance(command("export", "--out", tmp_path / "more", "--checkpoint", note).exception, UserError)


def test_nothing_half_made_is_left_and_nothing_written_over(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is given up on the way, arrives damaged or is refused there is nothing, under no name."""
    out = tmp_path / "out"
    chunks = Export.chunks

    async def gives_up(self: Export) -> AsyncIterator[bytes]:
        async with aclosing(chunks(self)) as parts:
            yield await anext(parts)

    async def damages(self: Export) -> AsyncIterator[bytes]:
        async for part in chunks(self):
            yield part.replace(b"manifest.note", b"manifest.nope")

    for broken in (gives_up, damages):
        monkeypatch.setattr(Export, "chunks", broken)
        for name in (out, tmp_path / "out.zip"):
            assert isinstance(command("export", "--out", name).exception, Refused)
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"key"}


def test_bad_usage_is_told(command: Run, tmp_path: Path) -> None:
    """A place that is taken, or that is in no folder; what the server refuses."""
    for out in (tmp_path, tmp_path / "key", tmp_path / "no" / "folder"):
        refused = command("export", "--out", out).exception
        assert isinstance(refused, UserError)
        assert refused.field == "--out"
    assert isinstance(command("export", "--out", tmp_path / "x", "--type", "nonsense").exception, Refused)
