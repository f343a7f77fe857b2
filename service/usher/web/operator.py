"""What whoever runs the CLI on the data folder may do. These routes exist on the operator app only: its listener is
a Unix socket of mode 0600, never TCP, and every act is recorded with the OS user id of the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody

from usher.people import NewKey
from usher.ports import KeyInfo, Person
from usher.services import Services
from usher.web.auth import OPERATOR
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.operator_ingest import ingest

MAX_BODY = 16 * 1024**2
"""Bytes. A rule file of 100,000 lines fits."""


@dataclass(frozen=True, slots=True)
class PersonBody:
    user: str
    groups: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class UserBody:
    user: str


@dataclass(frozen=True, slots=True)
class KeyBody:
    user: str
    expires_at: datetime | None = None
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class KeyIdBody:
    id: str


@get("/person")
async def list_people(
    services: NamedDependency[Services], after: FromQuery[str | None] = None, limit: FromQuery[int] = 500
) -> list[Person]:
    return await services.people.list(after, limit)


@post("/person", status_code=200)
async def add_person(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[PersonBody]
) -> Person:
    return await services.people.add(data.user, data.groups, operator_of(request))


@post("/person/groups", status_code=200)
async def set_groups(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[PersonBody]
) -> Person:
    return await services.people.set_groups(data.user, data.groups, operator_of(request))


@post("/person/deactivate", status_code=200)
async def deactivate(services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[UserBody]) -> Person:
    return await services.people.deactivate(data.user, operator_of(request))


@get("/key")
async def list_keys(services: NamedDependency[Services], user: FromQuery[str | None] = None) -> list[KeyInfo]:
    return await services.people.list_keys(user)


@post("/key", status_code=200)
async def create_key(services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[KeyBody]) -> NewKey:
    """The only place where a key is ever shown."""
    return await services.people.create_key(data.user, data.expires_at, data.purpose, operator_of(request))


@post("/key/revoke", status_code=200)
async def revoke_key(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[KeyIdBody]
) -> KeyInfo:
    return await services.people.revoke_key(data.id, operator_of(request))


@get("/status")
async def status(services: NamedDependency[Services]) -> dict[str, str]:
    """Each part's state, for `usher doctor`."""
    return await services.ready()


router = Router(
    "/operator",
    route_handlers=[
        list_people,
        add_person,
        set_groups,
        deactivate,
        list_keys,
        create_key,
        revoke_key,
        status,
        ingest,
    ],
    opt={"access": OPERATOR},
    request_max_body_size=MAX_BODY,
    include_in_schema=False,
)
