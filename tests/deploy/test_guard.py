"""What stands before vLLM's paths: a request goes through only if it is exactly one that Usher makes."""

from __future__ import annotations

import ast
import sys
from typing import Any

import pytest
from tests.deploy.guard_kit import BODY, PATH, TOKEN, Asked, guard_module, http, paths

GUARD = guard_module()
HEADER = (b"x-usher-load-token", TOKEN.encode())
OPEN = sorted(GUARD.OPEN)
LOADING = sorted(GUARD.LOADING)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "BREW")

VLLM = paths("shut_paths.txt")
"""Paths that some vLLM serves, or might."""

TWISTED = paths("twisted_paths.txt")
"""The open paths, written in ways that some router or proxy takes for them."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked.through(TOKEN, monkeypatch)


def refused(asked: Asked) -> bool:
    """Whether the one answer was given."""
    start, body = asked.sent
    return (start["status"], start["headers"], body["body"]) == (404, GUARD._HEADERS, BODY) and not asked.behind


def test_the_list_is_as_short_as_what_usher_calls() -> None:
    """Five pairs of a method and a path."""
    assert OPEN == [("GET", "/health"), ("GET", "/v1/models"), ("POST", "/v1/chat/completions")]
    assert LOADING == [("POST", "/v1/load_lora_adapter"), ("POST", "/v1/unload_lora_adapter")]


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_what_usher_calls_goes_through(asked: Asked, method: str, path: str) -> None:
    """Without the second token, and under no other method."""
    assert asked.http(method, path.encode())
    asked.behind.clear()
    for other in METHODS:
        if other != method:
            assert not asked.http(other, path.encode(), HEADER), other
            assert refused(asked)


@pytest.mark.parametrize(("method", "path"), LOADING)
def test_loading_takes_the_second_token(asked: Asked, method: str, path: str) -> None:
    """Once, whole, in its own header: anything else is answered as a path that is not there."""
    assert asked.http(method, path.encode(), HEADER)
    asked.behind.clear()
    name, token = HEADER
    wrong = [
        *[(), ((name, b""),), ((name, token[:-1]),), ((name, token + b" "),), ((name, token.upper()),)],
        *[((b"authorization", b"Bearer " + token),), ((name, token), (name, token)), ((name, b"x"), (name, token))],
        *[((name, b"Bearer " + token),), ((b"x-usher-load-token ", token),), ((name, b"\xff" * 36),)],
    ]
    for headers in wrong:
        assert not asked.http(method, path.encode(), *headers), headers
        assert refused(asked)
    for other in METHODS:
        if other != method:
            assert not asked.http(other, path.encode(), HEADER)
            assert refused(asked)


@pytest.mark.parametrize("path", VLLM)
def test_whatever_else_vllm_serves_is_shut(asked: Asked, path: str) -> None:
    """Under every method, with the token too, by the same answer."""
    for method in METHODS:
        assert not asked.http(method, path.encode(), HEADER)
        assert refused(asked)


@pytest.mark.parametrize("path", TWISTED)
def test_a_path_is_read_as_it_is_written(asked: Asked, path: str) -> None:
    """No other spelling of an open path is open."""
    for method in ("GET", "POST"):
        assert not asked.http(method, path.encode(), HEADER)
        assert refused(asked)


@pytest.mark.parametrize(
    "more",
    [
        {"raw_path": None},
        {"raw_path": b"/metrics"},
        {"path": "/metrics"},
        {"root_path": "/v1"},
        {"root_path": "/x", "path": "/x/v1/models", "raw_path": b"/x/v1/models"},
        {"path": "/v1/models\udcff", "raw_path": b"/v1/models?"},
    ],
)
def test_a_path_with_two_readings_is_shut(asked: Asked, more: dict[str, Any]) -> None:
    """The router behind may take another one than was looked at here."""
    assert not asked.http("GET", b"/v1/models", **more)
    assert refused(asked)


def test_no_websocket_is_opened(asked: Asked) -> None:
    """Not on an open path either: the same answer where the server can give one, else no handshake."""
    scope = http("GET", b"/v1/models", HEADER) | {"type": "websocket"}
    assert not asked.scope(scope | {"extensions": {"websocket.http.response": {}}})
    assert [m["type"] for m in asked.sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert refused(asked)
    assert not asked.scope(scope)
    assert [m["type"] for m in asked.sent] == ["websocket.close"]


def test_the_server_may_start_and_stop_behind_it(asked: Asked) -> None:
    """The lifespan goes through; a kind of connection that is not known does not."""
    assert asked.scope({"type": "lifespan"})
    assert not asked.scope({"type": "webtransport", "path": "/v1/models", "raw_path": b"/v1/models", "headers": []})


def test_the_token_ends_at_the_guard(asked: Asked) -> None:
    """What runs behind it never sees the header, whose paths and methods it may write down."""
    assert asked.http("POST", b"/v1/load_lora_adapter", HEADER, (b"authorization", b"Bearer key"))
    assert asked.behind[-1]["headers"] == [(b"authorization", b"Bearer key")]


def test_without_a_token_nobody_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset variable shuts these paths; so does an empty one, also to whoever sends an empty token."""
    for token in (None, ""):
        asked = Asked.through(token, monkeypatch)
        for given in ((), ((b"x-usher-load-token", b""),), (HEADER,)):
            assert not asked.http("POST", b"/v1/load_lora_adapter", *given)
            assert refused(asked)


def test_a_short_token_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would keep nobody out."""
    with pytest.raises(ValueError, match="fewer than 32"):
        Asked.through("t" * 31, monkeypatch)


def test_tokens_are_compared_in_constant_time(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `hmac.compare_digest`, over digests of one length."""
    seen: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        seen.append((a, b))
        return False

    monkeypatch.setattr(asked.guard._allowed.__globals__["hmac"], "compare_digest", compare)
    assert not asked.http("POST", b"/v1/load_lora_adapter", HEADER)
    assert [(len(a), len(b)) for a, b in seen] == [(32, 32)]


def test_it_needs_the_standard_library_only() -> None:
    """It is copied beside vLLM alone."""
    nodes = list(ast.walk(ast.parse(PATH.read_text("utf-8"))))
    named = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert {str(name).partition(".")[0] for name in named} <= sys.stdlib_module_names
