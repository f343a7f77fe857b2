"""The guard before a real vLLM: what Usher calls is open, and nothing else that this vLLM serves."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from tests.deploy.guard_kit import BODY, guard_module, paths
from tests.vllm.kit import API_KEY, QUESTIONS, TOKEN, TOKEN_HEADER, Vllm, ask, names, said
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.loopback

GUARD = guard_module()
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS")


def routes(server: Vllm) -> list[tuple[str, str]]:
    """Every route that vLLM says it has: (method, path)."""
    told = re.findall(r"Route: (\S+), Methods: ([A-Z, ]+)", server.log)
    return [(method, path) for path, methods in told for method in methods.replace(" ", "").split(",")]


def test_what_usher_calls_is_open(server: Vllm) -> None:
    """Health without a key; models and chat with vLLM's own key, which still stands behind the guard."""
    with server.client() as client, server.client(key=False) as stranger:
        assert stranger.get("/health").status_code == httpx.codes.OK
        assert stranger.get("/v1/models").status_code == httpx.codes.UNAUTHORIZED
        assert names(client) == ["base"]
        assert said(ask(client, "base", QUESTIONS[0]))


def test_every_other_route_that_it_has_is_shut(server: Vllm) -> None:
    """Those that its log lists at the start, with key and token, by one answer."""
    found = routes(server)
    assert ("POST", "/v1/load_lora_adapter") in found
    assert len(found) > 40
    shut = [(m, p) for m, p in found if (m, p) not in GUARD.OPEN | GUARD.LOADING]
    with server.client(token=True) as client:
        for method, path in shut:
            answer = client.request(method, re.sub(r"\{.*?\}", "x", path), json={})
            assert answer.status_code == httpx.codes.NOT_FOUND, (method, path)
            assert answer.content == (b"" if method == "HEAD" else BODY), (method, path)


def test_what_another_release_may_serve_is_shut(server: Vllm) -> None:
    """The routes of vLLM's other parts and modes, under every method."""
    with server.client(token=True) as client:
        for path in paths("shut_paths.txt"):
            for method in METHODS:
                answer = client.request(method, path)
                assert (answer.status_code, answer.content) == (httpx.codes.NOT_FOUND, BODY), (method, path)


def test_an_open_path_has_one_spelling(server: Vllm) -> None:
    """Sent byte by byte, as no client library would. (The absolute form is none: the server itself makes it a path.)"""
    for path in [path for path in paths("twisted_paths.txt") if not path.startswith("http://")]:
        for method in ("GET", "POST"):
            status, body = raw(server, method, path)
            assert (status == 404 and body == BODY) or status == 400, (method, path, status, body)


def raw(server: Vllm, method: str, path: str) -> tuple[int, bytes]:
    """400 is uvicorn's own, for what is no request at all."""
    host, port = urlsplit(server.url).netloc.split(":")
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {API_KEY}\r\n{TOKEN_HEADER}: {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        sock.sendall(head.encode())
        data = b""
        while part := sock.recv(65536):
            data += part
    return int(data.split()[1]), data.partition(b"\r\n\r\n")[2]


def test_loading_takes_the_second_token(server: Vllm) -> None:
    """vLLM's own key is not enough; without the token the path is as absent as any."""
    body = {"lora_name": "stolen", "lora_path": "/nowhere"}
    with server.client() as client:
        for headers in ({}, {TOKEN_HEADER: TOKEN[:-1]}, {TOKEN_HEADER: API_KEY}):
            for act in ("load", "unload"):
                answer = client.post(f"/v1/{act}_lora_adapter", json=body, headers=headers)
                assert (answer.status_code, answer.content) == (httpx.codes.NOT_FOUND, BODY)
    with server.client(token=True) as trusted:
        refused = trusted.post("/v1/load_lora_adapter", json=body)
        assert refused.status_code == httpx.codes.NOT_FOUND  # vLLM's own: there is no such folder
        assert refused.content != BODY
        assert names(trusted) == ["base"]


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/models", "/v1/chat/completions", "/"])
def test_no_websocket_is_opened(server: Vllm, path: str) -> None:
    """The handshake is answered like any other path."""
    headers = {"Authorization": f"Bearer {API_KEY}", TOKEN_HEADER: TOKEN}
    with pytest.raises(InvalidStatus) as refused:
        connect(server.url.replace("http", "ws") + path, additional_headers=headers, proxy=None)
    assert refused.value.response.status_code in (403, 404)


def test_the_token_is_in_no_log(server: Vllm) -> None:
    """Neither is what people asked."""
    with server.client(token=True) as client:
        ask(client, "base", "Is the harbour mistress in?")
    assert TOKEN not in server.log
    assert "harbour mistress" not in server.log
