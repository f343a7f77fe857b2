"""`/api/policy/explain`, `/who`, `/what`, the access matrix, and what a draft would have made of recorded exchanges."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

from usher.policy.editors import Editor
from usher.policy.replay import DEFAULT_EXCHANGES
from usher.policy.replay_answer import Progress, Redone
from usher.policy.view_values import Explained, OwnExplained, WhatMay, WhoMay
from usher.policy.views import DEFAULT_PEOPLE, Columns
from usher.services import Services
from usher.web.audit_asking import NO_STORE
from usher.web.auth import KEY, OPERATOR, POLICY
from usher.web.policy import BY_OPERATOR, BY_PERSON
from usher.web.policy_shown import changeset_id
from usher.web.problems import members_of
from usher.web.schema import BY_KEY, PROBLEMS, problems
from usher_policy.vocabulary import Action

READ = Action.DOCUMENT_READ.value
CSV = "text/csv; charset=utf-8; header=present"
Object = Annotated[str, QueryParameter(name="object", description="What it is about, such as coll:finance")]
Verb = Annotated[str, QueryParameter(description="The action")]
Of = Annotated[str | None, QueryParameter(description="Whom it is about; without it, yourself")]
Limit = Annotated[int, QueryParameter(description="How many names, from 1 to 5000")]
OneAction = Annotated[str | None, QueryParameter(name="action", description="Only this one; without it, all")]
OneObject = Annotated[str | None, QueryParameter(name="object", description="Only this one; without it, all")]
Last = Annotated[int, QueryParameter(name="n", description="How many of the last exchanges, from 1 to 1000")]
Named = Annotated[bool, QueryParameter(description="With people's names; takes `audit.identify`")]
Told = Annotated[bool, QueryParameter(description="As JSON lines: how far it is, and the answer as the last one")]


@get("/explain", responses=PROBLEMS, summary="Why somebody may, or may not")
async def explain(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    target: Object,
    action: Verb = READ,
    user: Of = None,
) -> Response[Explained | OwnExplained]:
    """One decision as it would fall now. About yourself it takes no right, and tells of nothing but yourself; with
    `policy.read` it has every rule that took part, what is missing, and the single lines that would turn it round.
    """
    return Response(await services.policies.views.explain(by, target, action, user), headers=NO_STORE)


@get("/who", responses=PROBLEMS, summary="Who may do this")
async def who(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    target: Object,
    action: Verb = READ,
    limit: Limit = DEFAULT_PEOPLE,
) -> Response[WhoMay]:
    """Active people of the directory, and groups whose members may; takes `policy.read` on it."""
    return Response(await services.policies.views.who(by, target, action, limit), headers=NO_STORE)


@get("/what", responses=PROBLEMS, summary="What somebody may")
async def what(
    services: NamedDependency[Services], by: NamedDependency[Editor], user: FromQuery[str]
) -> Response[WhatMay]:
    """All that rules and reader lists say to one person, allowed now or not; takes `policy.read`."""
    return Response(await services.policies.views.what(by, user), headers=NO_STORE)


@get("/matrix.csv", responses=PROBLEMS, media_type=CSV, summary="The access matrix")
async def matrix(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    action: OneAction = None,
    target: OneObject = None,
) -> Response[str]:
    """A row for each person, a column for each action and object, `yes` where it is allowed now. It opens safely in a
    spreadsheet. Takes `policy.read`.
    """
    table = await services.policies.views.matrix(by, Columns(action, target))
    headers = {**NO_STORE, "content-disposition": 'attachment; filename="access-matrix.csv"'}
    return Response(table, media_type=CSV, headers=headers)


@get(
    "/changesets/{changeset:str}/replay",
    responses={**PROBLEMS, **problems({404: "There is no such changeset"})},
    summary="Whose answers a draft would have changed",
)
async def replay(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    changeset: FromPath[str],
    n: Last = DEFAULT_EXCHANGES,
    names: Named = False,
    progress: Told = False,
) -> Response[Redone] | Stream:
    """The last recorded exchanges decided again under a draft: which passages they would have lost, and gained. Their
    questions are asked again inside, and never shown. Takes `policy.read`.
    """
    ident = changeset_id(changeset)
    replays = services.policies.replays
    if not progress:
        return Response(await replays.of(ident, by, n, names=names), headers=NO_STORE)
    steps = replays.steps(ident, by, n, names=names)
    first = await anext(steps)  # what is refused is a problem with its status, and no line
    return Stream(_lines(first, steps), media_type="application/jsonl", headers=NO_STORE)


async def _lines(first: Progress | Redone, steps: AsyncIterator[Progress | Redone]) -> AsyncIterator[bytes]:
    yield _line(first)
    try:
        async for step in steps:
            yield _line(step)
    except Exception as error:  # the status has gone out: an error can only be a line
        yield json.dumps({"event": "error"} | members_of(error)).encode() + b"\n"


def _line(step: Progress | Redone) -> bytes:
    event = "progress" if isinstance(step, Progress) else "report"
    told: dict[str, Any] = msgspec.to_builtins(step)
    return json.dumps({"event": event} | told).encode() + b"\n"


_ABOUT_OTHERS = [who, what, matrix, replay]
own_router = Router(
    "/api/policy",
    route_handlers=[explain],
    opt={"access": KEY},
    dependencies=BY_PERSON,
    security=BY_KEY,
    tags=["policy"],
)
router = Router(
    "/api/policy",
    route_handlers=_ABOUT_OTHERS,
    opt={"access": POLICY},
    dependencies=BY_PERSON,
    security=BY_KEY,
    tags=["policy"],
)
operator_router = Router(
    "/operator/policy",
    route_handlers=[explain, *_ABOUT_OTHERS],
    opt={"access": OPERATOR},
    dependencies=BY_OPERATOR,
    include_in_schema=False,
)
