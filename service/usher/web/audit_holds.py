"""`/api/audit/holds`: legal holds, which two people place and release; and the operator's runs of retention."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from usher.audit.holds import Holds, Listed, Wanted
from usher.audit.reviewers import Reviewer
from usher.authority import Grant
from usher.errors import UserError
from usher.services import Services
from usher.web.audit import TARGET, instant
from usher.web.audit_proposals import Shown, operator, reviewer
from usher.web.audit_questions import NO_STORE
from usher.web.auth import OPERATOR, needs
from usher.web.operator_act import OperatorRequest
from usher.web.problems import members_of
from usher.web.schema import BY_KEY, PROBLEMS, problems
from usher_policy.vocabulary import Action

DEFAULT_LIMIT = 50
_BINDS = problems({404: "There is no such hold, or it does not bind any more"})
After = Annotated[str | None, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(description="How many, from 1 to 500")]


@dataclass(frozen=True, slots=True)
class HoldBody:
    """What to hold, `on` a person (by `user` or by pseudonym), conversation, exchange, document or collection; of what
    happened `since` then and before `until`; and why."""

    on: str
    reason: str
    target: str | None = None
    user: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class ReasonBody:
    reason: str


@dataclass(frozen=True, slots=True)
class HoldShown:
    """`released_at` is null while it binds. `reason` is null once it can be opened no more."""

    id: str
    on: str
    target: str
    since: datetime | None
    until: datetime | None
    placed_at: datetime
    released_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class HoldPage:
    """Newest first. `next` goes into `after` for the page that follows; null at the end."""

    holds: list[HoldShown]
    next: str | None


@get("", responses=PROBLEMS, summary="Legal holds, released ones too")
async def holds(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    after: After = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response[HoldPage]:
    return await _page(services.audit.holds, reviewer(grant), after, limit)


@post("", status_code=201, responses=PROBLEMS, summary="Propose a legal hold")
async def propose(
    services: NamedDependency[Services], grant: NamedDependency[Grant], data: JSONBody[HoldBody]
) -> Shown:
    """It binds once somebody else has approved it."""
    return Shown.of(await services.audit.holds.propose(reviewer(grant), _wanted(data), data.reason))


@post("/{hold:str}/release", status_code=201, responses={**PROBLEMS, **_BINDS}, summary="Propose a hold's release")
async def release(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    hold: FromPath[str],
    data: JSONBody[ReasonBody],
) -> Shown:
    """It binds until somebody else has approved that."""
    return Shown.of(await services.audit.holds.propose_release(reviewer(grant), _id("hold", hold), data.reason))


@get("/holds")
async def operator_holds(
    services: NamedDependency[Services],
    request: OperatorRequest,
    after: FromQuery[str | None] = None,
    limit: FromQuery[int] = DEFAULT_LIMIT,
) -> Response[HoldPage]:
    return await _page(services.audit.holds, operator(request), after, limit)


@post("/retention", status_code=200)
async def retention(
    services: NamedDependency[Services], request: OperatorRequest, dry_run: FromQuery[bool] = False
) -> Stream:
    """One JSON line for each step, the report last, or `{"event": "error", …}` with what was wrong."""
    by = operator(request)
    events = services.audit.retention.preview(by) if dry_run else services.audit.retention.run(by.actor)
    return Stream(_lines(events), media_type="application/jsonl")


async def _lines(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield json.dumps(event).encode() + b"\n"
    except Exception as error:  # the status has gone out: an error can only be a line
        yield json.dumps({"event": "error"} | members_of(error)).encode() + b"\n"


async def _page(holds: Holds, by: Reviewer, after: str | None, limit: int) -> Response[HoldPage]:
    before = None if after is None else _id("after", after)
    found = await holds.page(by, before, limit)
    last = found[-1].row.hold.id if len(found) == limit else None
    return Response(HoldPage([_shown(one) for one in found], last), headers=NO_STORE)


def _shown(listed: Listed) -> HoldShown:
    row, hold = listed.row, listed.row.hold
    when = (hold.since, hold.until, row.placed_at, row.released_at)
    return HoldShown(hold.id, hold.on.value, hold.target, *when, listed.reason)


def _wanted(data: HoldBody) -> Wanted:
    return Wanted(data.on, data.target, data.user, instant("since", data.since), instant("until", data.until))


def _id(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UserError(name, "is not an id", "copy it from the list of holds") from None


router = Router(
    "/api/audit/holds",
    route_handlers=[holds, propose, release],
    opt={"access": needs(Action.AUDIT_HOLD, TARGET)},
    security=BY_KEY,
    tags=["audit"],
)
operator_router = Router(
    "/operator/audit",
    route_handlers=[operator_holds, retention],
    opt={"access": OPERATOR},
    include_in_schema=False,
)
