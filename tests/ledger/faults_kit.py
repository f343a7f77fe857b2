"""Real faults for tests: a library under the process that makes disk and clock fail, and a small file system."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

HANGS = -1
Story = Callable[[Path, "Page"], Coroutine[Any, Any, Any]]


class Page:
    """The switches of `faults.c`, in a page that two processes share."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(4096))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)

    def sync_fails(self, error: int) -> None:
        """An errno, `HANGS`, or 0."""
        struct.pack_into("=i", self._map, 0, error)

    def write_fails(self, error: int) -> None:
        """An errno, or 0."""
        struct.pack_into("=i", self._map, 4, error)

    def shift_clock(self, seconds: float) -> None:
        struct.pack_into("=q", self._map, 8, int(seconds * 1e9))

    def hanging(self) -> int:
        """Calls that hang at this moment."""
        return int(struct.unpack_from("=q", self._map, 16)[0])


def missing_compiler() -> str | None:
    """Why the faulting library cannot be made here, if so."""
    if sys.platform != "linux":
        return "LD_PRELOAD is Linux's"
    return None if shutil.which("cc") else "there is no C compiler (cc)"


def build(folder: Path) -> Path:
    """The faulting library."""
    made = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", made, source, "-ldl"], check=True)
    return made


def missing_mounts() -> str | None:
    """Why no small file system can be mounted here, if so."""
    if shutil.which("unshare") is None:
        return "there is no `unshare`"
    tried = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else f"`unshare -rm` may not mount here: {tried.stderr.strip()}"


def faulty(library: Path, folder: Path, **more: Path) -> dict[str, str]:
    """The environment of a process with the library under it, whose ledger lies in the folder."""
    page = folder / "page"
    Page(page)
    own = {"LD_PRELOAD": library, "FAULTS_PAGE": page, "FAULTS_MATCH": "ledger.sqlite", **more}
    return {name: str(value) for name, value in own.items()}


def told(module: str, folder: Path, environment: Mapping[str, str], *before: str) -> dict[str, Any]:
    """What the stories of a module said, each run in the same other process: its value, or how it failed."""
    paths = os.pathsep.join(["service", "policies", "adapters", "."])
    done = subprocess.run(
        [*before, sys.executable, "-m", module, str(folder)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line["story"]: line for line in map(json.loads, done.stdout.splitlines())}


def tell(stories: Mapping[str, Story], folder: Path) -> None:
    """The other side of `told`: run each story in a folder of its own."""
    page = Page(folder / "page")
    for name, story in stories.items():
        own = folder / name
        own.mkdir()
        try:
            line = {"value": asyncio.run(asyncio.wait_for(story(own, page), 60))}
        except Exception:
            line = {"failed": traceback.format_exc()}
        print(json.dumps({"story": name, **line}), flush=True)
