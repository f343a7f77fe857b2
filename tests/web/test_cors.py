"""Pages of listed origins may call from a browser; pages of others learn nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.web.world import World, world

from usher.app import create_app
from usher.errors import UserError
from usher.settings import read_settings

OURS, OTHERS = "https://chat.example.com", "https://evil.example"


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("cors")) as made:
        settings = made.services.settings.model_copy(update={"origins": (OURS,)})
        made.services = replace(made.services, settings=settings)
        made.app = create_app(made.services)
        yield made


def told(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def preflight(usher: World, path: str, origin: str, method: str = "POST", headers: str = "") -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": method}
    return usher.ask("OPTIONS", path, None, headers=asked | {"access-control-request-headers": headers})


def test_a_listed_origin_may_read_answers(usher: World) -> None:
    """Also errors, so that the page can show them; and no credentials of the browser's."""
    for answer in (
        usher.ask("GET", "/api/me", headers={"origin": OURS}),
        usher.ask("GET", "/api/me", None, headers={"origin": OURS}),
        usher.ask("POST", "/v1/chat/completions", json={"model": "other", "messages": []}, headers={"origin": OURS}),
    ):
        assert told(answer)["access-control-allow-origin"] == OURS
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers["vary"] == "origin"


def test_a_preflight_of_a_listed_origin(usher: World) -> None:
    """The key, the media type and the conversation may be sent, and nothing else."""
    allowed = preflight(usher, "/v1/chat/completions", OURS, headers="authorization,content-type,x-usher-conversation")
    assert allowed.status_code == 204
    assert told(allowed)["access-control-allow-origin"] == OURS
    assert preflight(usher, "/v1/chat/completions", OURS, headers="x-forwarded-for").status_code == 400
    assert preflight(usher, "/v1/chat/completions", OURS, "TRACE").status_code == 400


@pytest.mark.parametrize(
    "origin", [OTHERS, "null", "http://chat.example.com", f"{OURS}.evil.example", f"{OURS}:444", OURS.upper(), "*"]
)
def test_other_origins_learn_nothing(usher: World, origin: str) -> None:
    """No header on an answer; and a preflight answers the same whatever the address, the method and the headers."""
    assert told(usher.ask("GET", "/api/me", headers={"origin": origin})) == {}
    answers = [
        preflight(usher, path, origin, method)
        for path in ("/v1/chat/completions", "/api/me", "/walrus")
        for method in ("GET", "POST")
    ]
    assert all(told(answer) == {} for answer in answers)
    assert {(answer.status_code, answer.content) for answer in answers} == {(400, b"Disallowed CORS Origin")}


def test_without_origins_no_page_learns_anything(usher: World) -> None:
    """The default."""
    usher.app, served = create_app(replace(usher.services, settings=read_settings(home=usher.folder / "x"))), usher.app
    try:
        assert told(usher.ask("GET", "/api/me", headers={"origin": OURS})) == {}
        assert told(preflight(usher, "/v1/chat/completions", OURS)) == {}
    finally:
        usher.app = served


def test_origins_are_told_as_browsers_send_them(tmp_path: Path) -> None:
    """In lower case, without a default port."""
    given = "https://Chat.Example.com:443, http://localhost:3000,https://[::1]:8443"
    origins = read_settings(home=tmp_path, origins=given).origins
    assert origins == (OURS, "http://localhost:3000", "https://[::1]:8443")
    assert read_settings(home=tmp_path).origins == ()


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*.example.com",
        "null",
        "chat.example.com",
        "ftp://a",
        "https://a/",
        "https://a/x",
        "https://a?x",
        "https://me@a",
        "https://a,",
        "https://a:99999",
        "https://münchen.example",
        "https://",
    ],
)
def test_what_is_no_origin_is_refused(tmp_path: Path, origin: str) -> None:
    """By its variable's name."""
    with pytest.raises(UserError) as error:
        read_settings(home=tmp_path, origins=origin)
    assert error.value.field == "USHER_ORIGINS"
