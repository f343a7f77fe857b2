"""The README's tour runs as it stands there: every command, and what it prints."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MARK = "--- command {} ---"
PORT, HOME = "8080", "/tmp/usher-tour"  # noqa: S108  # as they stand in the README; the test uses others


def _commands() -> list[tuple[str, list[str]]]:
    """Each command of the `console` blocks with the lines that should follow it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _script(commands: list[tuple[str, list[str]]]) -> str:
    """A bash script that runs them one after the other in one shell, a mark and the exit code between them."""
    lines = ["set -m"]
    for number, (command, _) in enumerate(commands):
        lines.append(f"echo '{MARK.format(number)}'")
        lines.append(command if command.endswith("&") else f'{{ {command}; }} 2>&1; echo "[exit $?]"')
        if command.endswith("&"):  # a server: go on once it has said that it is ready
            asked = f"curl -s -o /dev/null http://127.0.0.1:{PORT}/health/live"
            lines.append(f"for _ in $(seq 600); do {asked} && break; sleep 0.1; done; sleep 1")
    return "\n".join(lines)


def _matches(expected: list[str], printed: list[str]) -> bool:
    """`…` in a line stands for anything in it; a line that is only `…` for any number of lines."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


@pytest.mark.slow
@pytest.mark.loopback
@pytest.mark.crash
def test_the_tour_prints_what_the_readme_says(tmp_path: Path) -> None:
    """Commands and output are the README's, but for the port and the folder."""
    commands = _commands()
    assert len(commands) > 10
    port, home = _free_port(), tmp_path / "home"
    script = _script(commands).replace(PORT, str(port)).replace(HOME, str(home))
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=280)
    sections = re.split(r"^--- command \d+ ---\n", done.stdout, flags=re.MULTILINE)[1:]
    assert len(sections) == len(commands), done.stdout + done.stderr
    for (command, expected), section in zip(commands, sections, strict=True):
        printed = section.replace(str(port), PORT).replace(str(home), HOME).removesuffix("[exit 0]\n").rstrip()
        assert _matches(expected or [""], printed.split("\n")), f"$ {command}\n{section}\n{done.stderr[-2000:]}"
