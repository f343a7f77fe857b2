"""vLLM's run-time loading of adapters, behind the guard (`deploy/vllm/guard.py`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from usher.backends.http_line import IDLE, LineTransport
from usher.ports.adapter_server import Loaded, ServerFailed

LIST_S: Final = 3.0
"""Seconds for the list of what is loaded."""
LOAD_S: Final = 60.0
"""Seconds to load an adapter: the server reads its files, and waits for a step of its engine."""
MOST_BYTES: Final = 4 << 20
"""Of a list: some ten thousand adapters."""

TOKEN_HEADER: Final = "x-usher-load-token"  # noqa: S105 - the name of a header
LIST, LOAD, UNLOAD = "/v1/models", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


class VllmServer:
    """The `AdapterServer` port. It is asked what it has twice a second, over one connection. What the server says in an
    error is not passed on: it names paths."""

    def __init__(
        self,
        url: str,
        load_token: str | None = None,
        api_key: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        list_s: float = LIST_S,
        load_s: float = LOAD_S,
    ) -> None:
        """`url` is the server's base, with or without `/v1`. Without a token it can only be looked at."""
        self.name = url.rstrip("/").removesuffix("/v1")
        self._token = {TOKEN_HEADER: load_token} if load_token else {}
        self._list_s, self._load_s = list_s, load_s
        self._headers = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        self._transport = transport or LineTransport(idle=IDLE, most_idle=1)

    async def close(self) -> None:
        await self._transport.aclose()

    async def loaded(self) -> Loaded:
        data = await self._asked(httpx.Request("GET", self.name + LIST, headers=self._headers), self._list_s)
        try:
            return _loaded(json.loads(data))
        except (ValueError, RecursionError):
            raise ServerFailed("told what it has in a form that is not known") from None

    async def load(self, name: str, folder: Path) -> None:
        await self._told(LOAD, {"lora_name": name, "lora_path": str(folder)})

    async def unload(self, name: str) -> None:
        await self._told(UNLOAD, {"lora_name": name})

    async def _told(self, path: str, body: Mapping[str, Any]) -> None:
        headers = {**self._headers, **self._token}
        await self._asked(httpx.Request("POST", self.name + path, headers=headers, json=body), self._load_s)

    async def _asked(self, request: httpx.Request, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                response = await self._transport.handle_async_request(request)
                try:
                    data = await _body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise ServerFailed(f"did not answer within {seconds:g} s") from None
        except httpx.HTTPError as error:
            raise ServerFailed(f"cannot be reached ({type(error).__name__})") from None
        if response.status_code != httpx.codes.OK:
            raise ServerFailed(f"answered {response.status_code}")
        return data


async def _body(response: httpx.Response) -> bytes:
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > MOST_BYTES:
            raise ServerFailed("said too much")
    return bytes(data)


def _loaded(told: Any) -> Loaded:
    """Raises `ValueError` for another form than vLLM's. A base model is a model without a parent."""
    if not isinstance(told, dict) or not isinstance(told.get("data"), list):
        raise ValueError
    base, adapters = set(), {}
    for one in told["data"]:
        if not isinstance(one, dict) or not isinstance(one.get("id"), str):
            raise ValueError
        if one.get("parent") is None:
            base.add(one["id"])
        else:
            adapters[one["id"]] = str(one.get("root"))
    return Loaded(frozenset(base), adapters)
