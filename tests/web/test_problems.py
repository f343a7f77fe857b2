"""Errors outside `/v1` are problems that say what to do and nothing of what is inside."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from litestar import Litestar, get, post
from litestar.exceptions import NotAuthorizedException, NotFoundException, PermissionDeniedException
from litestar.params import FromPath, JSONBody

from usher.errors import DataFolderBusy, UserError
from usher.ledger.log import LedgerUnavailable
from usher.outbox import ChangePending
from usher.ports import ModelUnavailable, ScopeTooWide, StoreUnavailable
from usher.web.operator import UserBody
from usher.web.problems import HANDLERS, MEDIA_TYPE, members_of

SECRET = "the merger closes in May"

ERRORS: dict[str, tuple[Exception, int, str]] = {
    "user": (UserError("k", "is 0", "give a whole number from 1 to 100"), 400, "k is 0: give"),
    "busy": (DataFolderBusy("USHER_HOME", "is in use", "stop the other"), 409, "stop the other"),
    "ledger": (LedgerUnavailable(SECRET), 503, "cannot record"),
    "pending": (ChangePending(SECRET), 503, "the change is kept"),
    "store": (StoreUnavailable(SECRET), 503, "Try again"),
    "model": (ModelUnavailable(SECRET), 503, "Try again"),
    "scope": (ScopeTooWide("the scope has too many classes: join collections"), 503, "join collections"),
    "absent": (NotFoundException("No such document."), 404, "No such document."),
    "stranger": (NotAuthorizedException("A key is needed.", headers={"www-authenticate": "Bearer"}), 401, "A key"),
    "forbidden": (PermissionDeniedException("You may not."), 403, "You may not."),
    "bug": (RuntimeError(SECRET), 500, "the log has it"),
}


@get("/raise/{name:str}", sync_to_thread=False)
def fail(name: FromPath[str]) -> None:
    raise ERRORS[name][0]


@post("/body", status_code=200, sync_to_thread=False, request_max_body_size=1000)
def body(data: JSONBody[UserBody]) -> None: ...


APP = Litestar([fail, body], exception_handlers=HANDLERS, logging_config=None, openapi_config=None)


def ask(method: str, path: str, **more: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(APP)
        async with httpx.AsyncClient(transport=transport, base_url="http://usher") as client:
            return await client.request(method, path, **more)

    with structlog.testing.capture_logs() as logged:
        response = asyncio.run(asked())
    assert all(SECRET not in repr(line.get("event")) for line in logged)
    return response


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_a_problem(name: str) -> None:
    """Status, media type and words are the error's; what is inside is not told."""
    _, status, words = ERRORS[name]
    response = ask("GET", f"/raise/{name}")
    told = response.json()
    assert (response.status_code, told["status"]) == (status, status)
    assert response.headers["content-type"].startswith(MEDIA_TYPE)
    assert words.lower() in told["detail"].lower()
    assert SECRET not in response.text
    assert "Traceback" not in response.text


def test_an_error_that_can_be_mended_has_its_parts() -> None:
    """Field, problem and remedy are members of their own."""
    told = ask("GET", "/raise/user").json()
    assert [told[name] for name in ("field", "problem", "remedy")] == ["k", "is 0", "give a whole number from 1 to 100"]


def test_an_error_keeps_its_headers() -> None:
    """A challenge stays, and who is turned away for now is told when to come back."""
    assert ask("GET", "/raise/stranger").headers["www-authenticate"] == "Bearer"
    assert ask("GET", "/raise/ledger").headers["retry-after"] == "5"
    assert "retry-after" not in ask("GET", "/raise/pending").headers


FRAMEWORK: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "no such address": ("GET", "/nothing?q=" + SECRET, {}, 404),
    "another method": ("DELETE", "/body", {}, 405),
    "a body that is no JSON": ("POST", "/body", {"content": SECRET.encode()}, 400),
    "a body that is not UTF-8": ("POST", "/body", {"content": b'{"user": "\xff"}'}, 400),
    "a value of another type": ("POST", "/body", {"json": {"user": [SECRET]}}, 400),
    "a value that is missing": ("POST", "/body", {"json": {"usr": SECRET}}, 400),
    "a body that is too large": ("POST", "/body", {"json": {"user": "u" * 2000}}, 413),
}


@pytest.mark.parametrize(("method", "path", "more", "status"), FRAMEWORK.values(), ids=FRAMEWORK)
def test_the_frameworks_errors_are_problems_too(method: str, path: str, more: dict[str, Any], status: int) -> None:
    """What was sent comes back neither from the address nor from the body."""
    response = ask(method, path, **more)
    assert (response.status_code, response.json()["status"]) == (status, status)
    assert response.headers["content-type"].startswith(MEDIA_TYPE)
    assert SECRET not in response.text
    assert "uuu" not in response.text


def test_a_line_of_a_stream_tells_as_little() -> None:
    """After the status has gone out, an error is a line with its words or with fixed ones."""
    assert members_of(UserError("acl", "is empty", "fill it"))["remedy"] == "fill it"
    assert "change is kept" in members_of(ChangePending(SECRET))["problem"]
    assert SECRET not in repr([members_of(ChangePending(SECRET))])
    assert SECRET not in repr([members_of(LedgerUnavailable(SECRET)), members_of(RuntimeError(SECRET))])
