"""The embedding model's graph, built once and lent to many data folders: a second and 90 MB less for each."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def build(folder: Path) -> Path:
    """The graph's file in that folder. One process builds it, others that ask meanwhile wait for it."""
    from usher.backends.embed_onnx import OnnxEmbedder

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        OnnxEmbedder.load(folder)
    (graph,) = folder.glob("*.onnx")
    return graph


def lend(graph: Path, home: Path) -> None:
    """Put it into a data folder that has none yet. One that is not there is made, with the mark of Usher's own."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "lock").touch(mode=0o600)
    models = home / "models"
    models.mkdir()
    os.link(graph, models / graph.name)
