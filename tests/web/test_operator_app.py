"""The operator's routes, the health of the whole, and who may call what."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from usher.core.standing import Actor
from usher.errors import UserError
from usher.ingest import IngestOptions
from usher.people import NewKey
from usher.ports import Person
from usher.services import Services
from usher.settings import Settings
from usher.web.app import build_app
from usher.web.auth import OPERATOR, PUBLIC, Access, routes

NOW = datetime(2026, 1, 7, tzinfo=UTC)


class People:
    """Answers, and remembers who acted."""

    def __init__(self) -> None:
        self.acted: list[Actor] = []

    async def add(self, user: str, groups: list[str], by: Actor) -> Person:
        self.acted.append(by)
        if not user:
            raise UserError("user", "is empty", "give a name")
        return Person(user, True, tuple(groups), "operator", NOW)

    async def create_key(self, user: str, expires_at: datetime | None, purpose: str | None, by: Actor) -> NewKey:
        self.acted.append(by)
        return NewKey("secret", "id", user, expires_at)


class Ingest:
    async def run(self, options: IngestOptions, by: Actor) -> AsyncIterator[dict[str, Any]]:
        yield {"event": "progress", "done": 1, "total": 2}
        if options.sync:
            raise UserError("acl", "is empty", "fill it")
        yield {"event": "report", "added": 2, "root": str(options.root)}


class World:
    """Both apps over services that are made up, called without a socket."""

    def __init__(self, **parts: str) -> None:
        async def ready() -> dict[str, str]:
            return parts or {"ledger": "ok"}

        self.people = People()
        made: dict[str, Any] = {"people": self.people, "ingest": Ingest(), "ready": ready}
        made["settings"] = Settings()
        self.services = Services(**dict.fromkeys(Services.__dataclass_fields__) | made)

    def ask(self, method: str, path: str, *, operator: bool = True, client: Any = None, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            app = build_app(self.services, operator_too=operator)
            transport = httpx.ASGITransport(app, client=client or ("", 0))
            async with httpx.AsyncClient(transport=transport, base_url="http://usher") as asking:
                return await asking.request(method, path, **more)

        return asyncio.run(asked())


def test_an_act_is_the_os_users_at_the_socket() -> None:
    """The listener names the caller's user id, and that is who acted."""
    world = World()
    told = world.ask("POST", "/operator/person", client=("uid:1234", 7), json={"user": "alice", "groups": ["hr"]})
    assert (told.status_code, told.json()["groups"]) == (200, ["hr"])
    assert world.people.acted == [Actor("operator", "uid:1234")]


def test_a_client_address_is_no_user() -> None:
    """Where no listener has named a user, the act is this process's user's."""
    world = World()
    world.ask("POST", "/operator/key", client=("10.0.0.1", 7), json={"user": "alice"})
    assert world.people.acted == [Actor("operator", f"uid:{os.getuid()}")]


def test_bad_input_is_a_problem() -> None:
    """What a use case refuses comes back with its field, problem and remedy."""
    told = World().ask("POST", "/operator/person", json={"user": ""})
    assert (told.status_code, told.json()["field"], told.json()["remedy"]) == (400, "user", "give a name")


def test_ingest_tells_its_steps_in_lines() -> None:
    """Each event is one line of JSON, the report last."""
    told = World().ask("POST", "/operator/ingest", json={"root": "/docs", "source": "s"})
    lines = [json.loads(line) for line in told.text.splitlines()]
    assert [line["event"] for line in lines] == ["progress", "report"]
    assert lines[-1]["root"] == "/docs"


def test_an_ingest_that_is_refused_says_so_in_its_last_line() -> None:
    """The status has gone out by then, so the error is a line with its remedy."""
    told = World().ask("POST", "/operator/ingest", json={"root": "/docs", "source": "s", "sync": True})
    assert json.loads(told.text.splitlines()[-1]) == {
        "event": "error",
        "field": "acl",
        "problem": "is empty",
        "remedy": "fill it",
    }


def test_ingest_over_http_needs_a_source() -> None:
    """The folder's path is no name that a server may guess."""
    assert World().ask("POST", "/operator/ingest", json={"root": "/docs"}).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("GET", "/operator/person"), ("POST", "/operator/key")])
def test_the_public_app_knows_no_operator(method: str, path: str) -> None:
    """The operator's addresses are not there at all."""
    assert World().ask(method, path, operator=False, json={"user": "alice"}).status_code == 404


def test_health_needs_no_key() -> None:
    """Alive as long as the process answers; ready when every part is."""
    assert World().ask("GET", "/health/live", operator=False).json() == {"status": "ok"}
    assert World().ask("GET", "/health/ready", operator=False).status_code == 200


def test_a_part_that_fails_is_named() -> None:
    """Not ready is 503, with the reason beside the part."""
    told = World(ledger="the disk reserve is reached", store="ok").ask("GET", "/health/ready", operator=False)
    assert (told.status_code, told.json()["status"]) == (503, "unavailable")
    assert told.json()["parts"]["ledger"] == "the disk reserve is reached"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("its file is read-only; make /srv/a b/ledger.sqlite writable", "its file is read-only"),
        ("ledger /srv/a b/ledger.sqlite: its format is 9", "does not work"),
        ("x" * 101, "does not work"),
    ],
)
def test_the_public_reason_is_short_and_names_no_path(reason: str, told: str) -> None:
    """The operator has all of it."""
    world = World(ledger=reason)
    assert world.ask("GET", "/health/ready", operator=False).json()["parts"] == {"ledger": told}
    assert world.ask("GET", "/operator/status").json() == {"ledger": reason}


def test_every_route_has_an_access_rule() -> None:
    """On both apps, whoever adds a route says who may call it; without a key only health and the schema are open."""
    for operator in (False, True):
        found = list(routes(build_app(World().services, operator_too=operator)))
        assert all(isinstance(access, Access) for _, _, access in found)
        assert {path.split("/")[1] for path, _, access in found if access == PUBLIC} == {"health", "schema"}
        assert any(access == OPERATOR for _, _, access in found) is operator
        mine = [access for path, _, access in found if path.startswith("/operator")]
        assert all(isinstance(access, Access) and access.operator for access in mine)
