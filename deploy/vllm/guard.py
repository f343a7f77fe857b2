"""Shuts every path of a vLLM server but those that Usher calls.

vLLM's API key stands before `/v1` only; what it answers elsewhere is open to whoever reaches its port, and with loading
at run time so is the way to put other weights under an adapter's name. This module is given to vLLM's `--middleware`:

    PYTHONPATH=/guard vllm serve … --middleware guard.Guard

It needs the standard library only. A request goes through if its method and its path are, byte by byte, one of `OPEN`;
or one of `LOADING`, and it carries the second token (`USHER_MODEL_LOAD_TOKEN` in vLLM's environment; without one these
are shut too). Any other request gets one and the same answer, and never reaches vLLM.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

OPEN = frozenset({("GET", "/health"), ("GET", "/v1/models"), ("POST", "/v1/chat/completions")})
LOADING = frozenset({("POST", "/v1/load_lora_adapter"), ("POST", "/v1/unload_lora_adapter")})

TOKEN_VARIABLE = "USHER_MODEL_LOAD_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_HEADER = b"x-usher-load-token"
SHORTEST_TOKEN = 32
"""Characters."""

_BODY = b'{"error":"not found"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
_WEBSOCKET_ANSWER = "websocket.http.response"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """The ASGI middleware, outside all others. Raises `ValueError` for a token that is too short to keep anybody out:
    vLLM then does not start."""

    def __init__(self, app: App) -> None:
        token = os.environ.get(TOKEN_VARIABLE, "")
        if token and len(token) < SHORTEST_TOKEN:
            raise ValueError(f"{TOKEN_VARIABLE} has fewer than {SHORTEST_TOKEN} characters")
        self._app = app
        self._token = _digest(token.encode()) if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
        elif kind == "http" and self._allowed(scope):
            await self._app(_without_token(scope), receive, send)
        elif kind == "http":
            await _not_found(send, "http.response")
        elif kind == "websocket":
            await _no_websocket(scope, receive, send)

    def _allowed(self, scope: Scope) -> bool:
        asked = (scope["method"], _path(scope))
        return asked in OPEN or (asked in LOADING and self._has_token(scope))

    def _has_token(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name.lower() == TOKEN_HEADER]
        return self._token is not None and len(given) == 1 and hmac.compare_digest(_digest(given[0]), self._token)


def _path(scope: Scope) -> str | None:
    """The path as the client wrote it; None where it has another form than the router will see, or a query."""
    path, raw = scope["path"], scope.get("raw_path")
    plain = not scope.get("root_path") and not scope.get("query_string")
    return path if plain and raw is not None and raw == path.encode("utf-8", "replace") else None


def _digest(secret: bytes) -> bytes:
    """Of one length, so that comparing tells nothing of a secret's own."""
    return hashlib.sha256(secret).digest()


def _without_token(scope: Scope) -> Scope:
    """What runs behind here has no use for it, and may write headers down."""
    return {**scope, "headers": [(n, value) for n, value in scope["headers"] if n.lower() != TOKEN_HEADER]}


async def _not_found(send: Send, prefix: str) -> None:
    await send({"type": f"{prefix}.start", "status": 404, "headers": list(_HEADERS)})
    await send({"type": f"{prefix}.body", "body": _BODY})


async def _no_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """The same answer where the server can give one in the place of a handshake; else no handshake."""
    await receive()
    if _WEBSOCKET_ANSWER in (scope.get("extensions") or {}):
        await _not_found(send, _WEBSOCKET_ANSWER)
    else:
        await send({"type": "websocket.close", "code": 1000})
