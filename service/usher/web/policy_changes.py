"""`/api/policy/changesets`: changes of the policy are looked at, approved, refused, activated."""

from __future__ import annotations

from dataclasses import dataclass

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from usher.authority import utc_now
from usher.policy.editors import Editor
from usher.services import Services
from usher.web import policy_drafts
from usher.web.audit_proposals import After, Limit
from usher.web.audit_questions import NO_STORE
from usher.web.auth import OPERATOR, POLICY
from usher.web.policy import BY_OPERATOR, BY_PERSON, DEFAULT_LIMIT
from usher.web.policy_shown import (
    HANDLERS,
    Activated,
    ChangesetPage,
    ChangesetWithPlan,
    ShownChangeset,
    activated,
    changeset_id,
    plan_words,
    shown,
)
from usher.web.policy_token import etag, newest
from usher.web.schema import BY_KEY, PROBLEMS, problems

STANDS = problems({404: "There is no such changeset", 409: "As it stands, this cannot be done"})


@dataclass(frozen=True, slots=True)
class DigestBody:
    """The `digest` that stands beside the plan that you looked at: it is of exactly that."""

    digest: str


@dataclass(frozen=True, slots=True)
class AloneBody(DigestBody):
    reason: str
    minutes: int = 60


@get("/changesets", responses=PROBLEMS, summary="What was drafted, activated or done alone")
async def changesets(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    after: After = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response[ChangesetPage]:
    """Of what you may look at."""
    before = None if after is None else changeset_id(after)
    found = await services.policies.changesets.page(by, before, limit)
    now, in_force = utc_now(), await newest(services)
    told = [ShownChangeset.of(one, now, in_force) for one in found]
    return Response(ChangesetPage(told, found[-1].id if len(found) == limit else None), headers=NO_STORE)


@get("/changesets/{changeset:str}", responses={**PROBLEMS, **STANDS}, summary="One changeset, with its plan")
async def changeset(
    services: NamedDependency[Services], by: NamedDependency[Editor], changeset: FromPath[str]
) -> Response[ChangesetWithPlan]:
    ident = changeset_id(changeset)
    found = await services.policies.changesets.get(ident, by)
    plan = await services.policies.changesets.plan_of(ident, by)
    in_force = await newest(services)
    words = plan_words(plan, await services.documents.per_class())
    told = ChangesetWithPlan(ShownChangeset.of(found, utc_now(), in_force), words)
    return Response(told, headers={**NO_STORE, **etag(in_force)})


@post("/changesets/{changeset:str}/approve", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Approve it")
async def approve(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    changeset: FromPath[str],
    data: JSONBody[DigestBody],
) -> Response[ShownChangeset]:
    """By somebody else than had a part in it."""
    found = await services.policies.changesets.approve(changeset_id(changeset), data.digest, by)
    return await shown(services, found)


@post("/changesets/{changeset:str}/refuse", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Refuse it")
async def refuse(
    services: NamedDependency[Services], by: NamedDependency[Editor], changeset: FromPath[str]
) -> Response[ShownChangeset]:
    """By whoever might approve it: it is over."""
    return await shown(services, await services.policies.changesets.refuse(changeset_id(changeset), by))


@post("/changesets/{changeset:str}/withdraw", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Withdraw it")
async def withdraw(
    services: NamedDependency[Services], by: NamedDependency[Editor], changeset: FromPath[str]
) -> Response[ShownChangeset]:
    """By whoever made it: it is over."""
    return await shown(services, await services.policies.changesets.withdraw(changeset_id(changeset), by))


@post("/changesets/{changeset:str}/activate", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Activate it")
async def activate(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    changeset: FromPath[str],
    data: JSONBody[DigestBody],
) -> Response[Activated]:
    """It is the version in force when this answers."""
    done = await services.policies.activation.activate(changeset_id(changeset), data.digest, by)
    return await activated(services, done)


@post(
    "/changesets/{changeset:str}/break-glass", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Do it alone"
)
async def break_glass(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    changeset: FromPath[str],
    data: JSONBody[AloneBody],
) -> Response[ShownChangeset]:
    """For some minutes, with an alarm, and a review that stays open until somebody else closes it."""
    found = await services.policies.glass.break_glass(
        changeset_id(changeset), data.digest, by, data.reason, data.minutes
    )
    return await shown(services, found)


@post(
    "/changesets/{changeset:str}/review", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Close its review"
)
async def review(
    services: NamedDependency[Services], by: NamedDependency[Editor], changeset: FromPath[str]
) -> Response[ShownChangeset]:
    """Of what somebody else did alone, once its time is over."""
    return await shown(services, await services.policies.glass.review(changeset_id(changeset), by))


_BOTH = (changesets, changeset, withdraw, activate)
router = Router(
    "/api/policy",
    route_handlers=[*policy_drafts.PEOPLES, *_BOTH, approve, refuse, break_glass, review],
    opt={"access": POLICY},
    dependencies=BY_PERSON,
    exception_handlers=HANDLERS,
    request_max_body_size=policy_drafts.MAX_BODY,
    security=BY_KEY,
    tags=["policy"],
)
operator_router = Router(
    "/operator/policy",
    route_handlers=[*policy_drafts.OPERATORS, *_BOTH],
    opt={"access": OPERATOR},
    dependencies=BY_OPERATOR,
    exception_handlers=HANDLERS,
    request_max_body_size=policy_drafts.MAX_BODY,
    include_in_schema=False,
)
