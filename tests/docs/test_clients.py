"""The two small clients of the README and of docs/conversations.md: they are what the files hold, and they work."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.web.chat_kit import ScriptedModel
from tests.web.world import World, world

from usher.server import Listener, public_config

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "sample" / "clients"
NODE = shutil.which("node")
QUESTION = "How many days of holiday has an employee?"


@pytest.mark.parametrize(("page", "name"), [("README.md", "chat.py"), ("docs/conversations.md", "chat.js")])
def test_the_page_shows_the_client(page: str, name: str) -> None:
    """Line by line."""
    blocks = re.findall(r"^```(?:python|js)\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.M | re.S)
    source = (CLIENTS / name).read_text("utf-8")
    assert source in blocks
    assert len(source.splitlines()) <= 25


@pytest.mark.loopback
@pytest.mark.parametrize(
    "name", ["chat.py", pytest.param("chat.js", marks=pytest.mark.skipif(not NODE, reason="no node"))]
)
def test_the_client_prints_the_answer_and_its_sources(tmp_path: Path, name: str) -> None:
    """As it comes; a wrong key is said on stderr."""
    command = [sys.executable] if name.endswith(".py") else [str(NODE), "--experimental-websocket", "--no-warnings"]
    with world(tmp_path, model=ScriptedModel("They have 28 days", 0.1, " of holiday [1].")) as usher:
        told = usher.run(ran(usher, [*command, str(CLIENTS / name)], usher.keys["bob"]))
        refused = usher.run(ran(usher, [*command, str(CLIENTS / name)], "usher-wrong"))
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0] == "They have 28 days of holiday [1]."
    assert re.fullmatch(r"\[1\] \S+ /api/documents/[0-9a-f-]{36}\?passage=[0-9a-f-]{36}", lines[1])
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "unauthorized" in refused.stderr


async def ran(usher: World, command: list[str], key: str) -> subprocess.CompletedProcess[str]:
    """The command with a key, against a listener of this process."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        listener = Listener(public_config(usher.app, usher.services.settings))
        serving = await listener.begin(sock)
        url = f"ws://127.0.0.1:{sock.getsockname()[1]}/ws/chat"
        process = await asyncio.create_subprocess_exec(
            *command, url, QUESTION, env={**os.environ, "USHER_KEY": key}, stdout=-1, stderr=-1
        )
        async with asyncio.timeout(20):
            out, err = await process.communicate()
        listener.should_exit = True
        await serving
    return subprocess.CompletedProcess(command, process.returncode or 0, out.decode(), err.decode())
