"""What the tests of proofs share: the log's file and key, and the command line without the data folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.web.world import World
from typer.testing import CliRunner, Result

from usher import cli_audit_proof
from usher.backends.keyring import KeyRing
from usher.cli import app

Run = Callable[..., Result]


def ledger_file(usher: World) -> Path:
    return usher.folder / "home" / "ledger.sqlite"


def public_key(usher: World) -> bytes:
    return KeyRing.open(usher.folder / "home.keys").public_key


def commands(usher: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command line, on a machine without the data folder; its road leads to the world's operator app."""

    operator = cast(Any, usher.operator_app())

    async def ask(settings: object, method: str, path: str, params: dict[str, str] | None = None) -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(operator), base_url="http://operator") as client:
            response = await client.request(method, path, params=params)
            assert response.status_code == 200, response.text
            return response.json()

    monkeypatch.setenv("USHER_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(cli_audit_proof, "ask_operator", ask)
    monkeypatch.setattr(cli_audit_proof, "run", usher.run)
    return lambda *words: CliRunner().invoke(app, ["audit", *map(str, words)])
