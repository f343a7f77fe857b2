"""The README's tours as scripts: their commands, run one after the other in one shell, and what they print."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


@dataclass(frozen=True)
class Command:
    """One line of a `console` block after the prompt, and what should follow it. `printed` is what did."""

    line: str
    expected: list[str] = field(default_factory=list)
    printed: str = ""

    def as_told(self) -> bool:
        """`…` in a line stands for anything in it; a line that is only `…` for any number of lines."""
        pattern = "".join(
            r"(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
            for line in self.expected or [""]
        )
        return re.fullmatch(pattern, self.printed + "\n") is not None


def commands(*headings: str) -> list[Command]:
    """Those of these sections of the README."""
    return [one for heading in headings for one in _commands(_section(heading))]


def _section(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def _commands(section: str) -> Iterator[Command]:
    for block in re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        for told in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *expected = told.splitlines()
            yield Command(line, expected)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def ran(tour: Sequence[Command], instead: Mapping[str, str], seconds: float) -> list[Command]:
    """The commands with what they printed. `instead`: what stands in the README, such as a port, and what the test has
    for it; in what was printed the README's is put back. What is still running after that is killed."""
    with subprocess.Popen(
        ["bash", "-c", _replaced(_script(tour), instead)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, problems = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end_session(process.pid)
            said, problems = process.communicate()
        finally:
            _end_session(process.pid)
    sections = re.split(r"^--- command \d+ ---\n", said, flags=re.MULTILINE)[1:]
    assert len(sections) == len(tour), said + problems[-4000:]
    back = {other: own for own, other in instead.items()}
    return [
        Command(one.line, one.expected, _replaced(section, back).removesuffix("[exit 0]\n").rstrip())
        for one, section in zip(tour, sections, strict=True)
    ]


def _script(tour: Sequence[Command]) -> str:
    """Runs them in one shell, a mark and the exit code between them. A server is waited for until it answers."""
    lines = ["set -m"]
    for number, one in enumerate(tour):
        lines.append(f"echo '--- command {number} ---'")
        lines.append(one.line if one.line.endswith("&") else f'{{ {one.line}; }} 2>&1; echo "[exit $?]"')
        if served := re.match(r"usher serve --port (\d+)", one.line):
            asked = f"curl -s -o /dev/null http://127.0.0.1:{served[1]}/health/live"
            lines.append(f"for _ in $(seq 600); do {asked} && break; sleep 0.1; done; sleep 1")
    return "\n".join(lines)


def _replaced(text: str, instead: Mapping[str, str]) -> str:
    for own, other in instead.items():
        text = text.replace(own, other)
    return text


def _end_session(leader: int) -> None:
    """Each job of the shell has a process group of its own; what they have in common is the session."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(ProcessLookupError):
                if os.getsid(int(entry.name)) == leader:
                    os.kill(int(entry.name), signal.SIGKILL)
