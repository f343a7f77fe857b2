"""Who may call what: every route says so, and every bad key gets the same answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException
from tests.web.chat_kit import PATH
from tests.web.world import OPERATOR, World, world

from usher.app import create_operator_app
from usher.people import NewKey
from usher.web.auth import Access, routes

HEALTH = {"/health/live", "/health/ready"}


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("auth")) as made:
        yield made


async def _starts(app: Litestar) -> None:
    async with app.lifespan():
        pass


def test_every_route_of_both_apps_has_an_access_rule(usher: World) -> None:
    """The schema's and the framework's too."""
    for app in (usher.app, usher.operator_app()):
        usher.run(_starts(app))
        assert all(isinstance(access, Access) for _, _, access in routes(app))


def test_a_route_without_a_rule_stops_the_start(usher: World) -> None:
    """It is named; and if it were served all the same, the guard would deny it."""

    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> str:
        return "secret"

    app = create_operator_app(usher.services)  # its own: it is changed
    app.register(forgotten)
    named = pytest.RaisesExc(ImproperlyConfiguredException, match="/forgotten")
    with pytest.RaisesGroup(named):
        usher.run(_starts(app))
    usher.app, served = app, usher.app
    try:
        assert usher.ask("GET", "/forgotten", "carol").status_code == 403
    finally:
        usher.app = served


def test_only_health_and_the_schema_are_public(usher: World) -> None:
    """Everything else needs a key; a WebSocket in its first frame."""
    rules = {path: access for path, _, access in routes(usher.app) if isinstance(access, Access)}
    public = {path for path, access in rules.items() if not (access.key or access.first_frame)}
    assert {path for path in public if not path.startswith("/schema")} == HEALTH
    assert [path for path, access in rules.items() if access.first_frame] == ["/ws/chat"]
    for path in (*HEALTH, "/schema", "/schema/openapi.json", "/schema/ws-chat-v1.json"):
        assert usher.ask("GET", path, None).status_code == 200
    gettable = {route.path for route in usher.app.routes if "GET" in getattr(route, "methods", ())}
    for path, _, access in routes(usher.app):
        if isinstance(access, Access) and access.key:
            method = "GET" if path in gettable else "POST"
            assert usher.ask(method, path.replace("{document:str}", "x"), None).status_code == 401


def test_operator_routes_are_not_on_the_public_app(usher: World) -> None:
    """Whoever asks finds no such address."""
    assert not [path for path, _, _ in routes(usher.app) if path.startswith("/operator")]
    for who in (None, "carol"):
        assert usher.ask("POST", "/operator/key", who, json={"user": "x"}).status_code == 404


def _credentials(usher: World) -> dict[str, str]:
    """Every kind of bad credential, as an `authorization` header."""
    services, made = usher.services, usher.run(_made(usher))
    good = usher.keys["bob"]
    usher.run(services.people.revoke_key(made["revoked"].id, OPERATOR))
    usher.run(services.people.deactivate("ida", OPERATOR))
    ident, secret = good.split("-")[1:3]
    return {
        "absent": "",
        "no scheme": good,
        "another scheme": f"Basic {good}",
        "empty": "Bearer ",
        "garbled": "Bearer \x7f\xe4\xf6%00",
        "very long": "Bearer " + "x" * 5000,
        "unknown": f"Bearer usher-{'0' * 16}-{'A' * 43}",
        "a known id with another secret": f"Bearer usher-{ident}-{'A' * 43}",
        "cut": f"Bearer {good[:-1]}",
        "with more behind": f"Bearer {good} {good}",
        "in capitals": f"Bearer usher-{ident.upper()}-{secret}" if ident.upper() != ident else "Bearer x",
        "revoked": f"Bearer {made['revoked'].key}",
        "of somebody deactivated": f"Bearer {made['deactivated'].key}",
    }


async def _made(usher: World) -> dict[str, NewKey]:
    create = usher.services.people.create_key
    return {
        "revoked": await create("bob", None, None, OPERATOR),
        "deactivated": await create("ida", None, None, OPERATOR),
    }


def test_every_bad_key_gets_the_same_answer(usher: World) -> None:
    """Absent, garbled, unknown, revoked, of somebody deactivated: one status, one body, one set of headers."""
    credentials = _credentials(usher).items()
    for path in ("/api/me", "/v1/models"):
        answers = {
            name: usher.ask("GET", path, None, headers={"authorization": header.encode("latin-1")} if header else {})
            for name, header in credentials
        }
        assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 401)
        assert len({(answer.text, str(answer.headers)) for answer in answers.values()}) == 1
        assert answers["absent"].headers["www-authenticate"] == "Bearer"


def test_an_expired_key_gets_it_too(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its instant on."""
    later = datetime.now(UTC) + timedelta(days=1)
    key = usher.run(usher.services.people.create_key("bob", later, None, OPERATOR)).key
    header = {"authorization": f"Bearer {key}"}
    assert usher.ask("GET", "/api/me", None, headers=header).status_code == 200
    monkeypatch.setattr(usher.services.authority, "_clock", lambda: later)
    expired = usher.ask("GET", "/api/me", None, headers=header)
    assert (expired.status_code, expired.text) == (401, usher.ask("GET", "/api/me", None).text)


def test_a_stranger_leaves_nothing_in_the_ledger(usher: World) -> None:
    """A failed authentication is a line in the log only."""
    before = len(usher.events())
    usher.ask("POST", PATH, None, json={})
    assert len(usher.events()) == before


def test_a_bad_key_comes_before_a_bad_body(usher: World) -> None:
    """Without a key nothing of a body is read, whatever its size."""
    for body in (b"\xff", b"{", b"[" * 100_000, b"x" * (2 << 20)):
        assert usher.ask("POST", PATH, None, content=body).status_code == 401


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", [PATH, "/v1/models", "/api/search", "/api/me", "/api/documents", "/health/live"])
def test_a_method_that_a_route_does_not_know_is_405_in_its_shape(usher: World, method: str, path: str) -> None:
    """OpenAI's under `/v1`, a problem elsewhere; OPTIONS says what there is, to those whom the route admits."""
    response = usher.ask(method, path)
    if method == "OPTIONS":
        assert (response.status_code, "OPTIONS" in response.headers["allow"]) == (204, True)
        assert usher.ask(method, path, None).status_code == (204 if path in HEALTH else 401)
        return
    assert response.status_code == 405
    kind = "application/json" if path.startswith("/v1/") else "application/problem+json"
    assert response.headers["content-type"] == kind
    assert response.headers["allow"]
    if method != "HEAD":
        assert ("error" in response.json()) == path.startswith("/v1/")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/embeddings", "/api", "/api/search/x/y", "/nothing", "/schema/x.html"]
)
def test_an_address_that_is_not_there_is_404_in_its_shape(usher: World, path: str) -> None:
    """With and without a key, alike."""
    response = usher.ask("GET", path)
    assert response.status_code == 404
    assert ("error" in response.json()) == path.startswith("/v1/")
    assert usher.ask("GET", path, None).text == response.text
