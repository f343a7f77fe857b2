"""`/api/me`: who you are here, what you may read, and your keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from litestar import Router, get
from litestar.di import NamedDependency

from usher.authority import Grant
from usher.ports import KeyInfo
from usher.services import Services
from usher.web.auth import KEY
from usher.web.schema import BY_KEY, PROBLEMS


@dataclass(frozen=True, slots=True)
class OwnScope:
    """What you may read: collections and markings by name, and how many reader lists name you."""

    words: str
    collections: list[str]
    markings: list[str]
    reader_lists: int
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Me:
    user: str
    groups: list[str]
    roles: list[str]
    scope: OwnScope
    policy_version: int
    keys: list[KeyInfo]


@get("/", responses=PROBLEMS, summary="Who am I, and what may I read?")
async def me(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> Me:
    principal = grant.standing.principals[0]
    return Me(
        user=principal.user,
        groups=sorted(principal.groups),
        roles=list(grant.roles),
        scope=_own_scope(grant),
        policy_version=grant.scope.policy_version,
        keys=await services.keys.keys(grant.credential.user),
    )


def _own_scope(grant: Grant) -> OwnScope:
    classes = grant.snapshots[0].catalog.classes
    names = sorted({name for number in grant.scope.classes for name in classes[number]})
    collections = [name.removeprefix("coll:") for name in names if name.startswith("coll:")]
    markings = [name.removeprefix("mark:") for name in names if name.startswith("mark:")]
    lists = sum(name.startswith("readers:") for name in names)
    return OwnScope(_words(collections, markings, lists), collections, markings, lists, grant.scope.valid_until)


def _words(collections: list[str], markings: list[str], lists: int) -> str:
    if not collections and not lists:
        return "You may read no document."
    parts = [f"documents in {', '.join(collections)}"] if collections else []
    parts += [f"documents of {lists} reader list{'s' if lists > 1 else ''}"] if lists else []
    marked = f", also those marked {', '.join(markings)}" if markings else ""
    return f"You may read {' and '.join(parts)}{marked}."


router = Router("/api/me", route_handlers=[me], opt={"access": KEY}, security=BY_KEY, tags=["me"])
