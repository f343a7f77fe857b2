"""vLLM's guard as a module, as vLLM imports it: by path, without any package of ours."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
PATH = ROOT / "deploy" / "vllm" / "guard.py"
TOKEN = "t0ken-" * 6
BODY = b'{"error":"not found"}'


def paths(file: str) -> list[str]:
    return Path(__file__).with_name(file).read_text("utf-8").split()


def guard_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("usher_vllm_guard", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Asked:
    """One scope through a guard: what came back, and the scopes that reached the server behind it."""

    guard: Any
    sent: list[dict[str, Any]] = field(default_factory=list)
    behind: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def through(cls, token: str | None, monkeypatch: Any) -> Asked:
        module = guard_module()
        if token is None:
            monkeypatch.delenv(module.TOKEN_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(module.TOKEN_VARIABLE, token)
        asked = cls(None)
        asked.guard = module.Guard(asked._app)
        return asked

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.behind.append(dict(scope))

    def scope(self, scope: Mapping[str, Any]) -> bool:
        """Whether it went through; `sent` has what was answered where it did not."""
        self.sent.clear()
        before = len(self.behind)

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        asyncio.run(self.guard(dict(scope), receive, send))
        return len(self.behind) > before

    def http(self, method: str, raw: bytes, *headers: tuple[bytes, bytes], **more: Any) -> bool:
        return self.scope(http(method, raw, *headers, **more))


def http(method: str, raw: bytes, *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    """A scope as uvicorn makes it of this line of a request."""
    path, _, query = raw.partition(b"?")
    return {
        "type": "http",
        "method": method,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
        **more,
    }
