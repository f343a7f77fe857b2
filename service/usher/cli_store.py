"""`usher store`: one vector index for several servers on this host."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from usher.cli_output import Json, dump, say
from usher.settings import Settings, read_settings

Told = Callable[[str, dict[str, Any]], None]


def store(
    socket: Annotated[Path, typer.Option(help="Where servers connect: they get USHER_QDRANT_URL=unix:PATH.")],
    json: Json = False,
) -> None:
    """Own the vector index in USHER_HOME and serve it to several servers of this host, until a signal."""
    settings = read_settings()
    import uvloop

    from usher.data_folder import private
    from usher.logs import configure_logs

    def told(words: str, as_json: dict[str, Any]) -> None:
        if json:
            dump(as_json)
        else:
            say(words)
        sys.stdout.flush()

    configure_logs(logging.INFO)
    with private(settings.home):
        uvloop.run(_served(settings, socket.expanduser().absolute(), told))


async def _served(settings: Settings, path: Path, told: Told) -> None:
    from usher.backends.embed_onnx import OnnxEmbedder
    from usher.backends.index_identity import IndexIdentity
    from usher.backends.store_edge import EdgeStore
    from usher.backends.store_socket_server import serving
    from usher.server import stop_on_signal

    folder = settings.home / "vectors"
    identity = IndexIdentity(OnnxEmbedder.model, OnnxEmbedder.precision, OnnxEmbedder.dimensions)
    told(f"opening the vector index {folder}", {"opening": str(folder)})
    stop = asyncio.Event()
    with stop_on_signal(stop):
        edge = await EdgeStore.open(folder, identity)
        try:
            async with serving(edge, identity, path) as server:
                chunks = await edge.count()
                told(f"serving {chunks} chunks at {path}", {"ready": True, "socket": str(path), "chunks": chunks})
                await stop.wait()
                told(f"stopping: {server.under_way} calls under way", {"stopping": True})
        finally:
            await edge.close()
    told("stopped", {"stopped": True})
