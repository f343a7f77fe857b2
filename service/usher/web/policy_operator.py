"""`/operator/policy`: changes of the policy by whoever runs the CLI on the data folder; approving takes a person."""

from __future__ import annotations

from dataclasses import dataclass

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from usher.core.plan_words import PlanWords
from usher.services import Services
from usher.web.auth import OPERATOR
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.policy import DEFAULT_LIMIT, operator
from usher.web.policy_changes import (
    MAX_BODY,
    Activated,
    DigestBody,
    DraftBody,
    EditBody,
    LinesBody,
    PolicyBody,
    RollbackBody,
    activated,
    changeset_id,
    drafted,
    edited,
    page,
    planned,
    shown,
    whole,
)
from usher.web.policy_shown import HANDLERS, ChangesetPage, ChangesetWithPlan, ShownChangeset
from usher.web.policy_token import base_of


@dataclass(frozen=True, slots=True)
class OperatorApplyBody(PolicyBody):
    """With a `reason`: by breaking the glass, for so many `minutes`."""

    reason: str | None = None
    minutes: int | None = None


@post("/plan", status_code=200)
async def operator_plan(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[PolicyBody]
) -> Response[PlanWords]:
    return await planned(services, await services.policies.changesets.plan(data.source, operator(request)))


@post("/edits/plan", status_code=200)
async def operator_plan_edit(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[LinesBody]
) -> Response[PlanWords]:
    found = await services.policies.changesets.plan_edit(data.add, data.remove, operator(request))
    return await planned(services, found)


@post("/apply", status_code=200)
async def operator_apply(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[OperatorApplyBody]
) -> Response[Activated]:
    by = operator_of(request)
    done = await services.policies.activation.operator_apply(data.source, by, data.reason, data.minutes)
    return await activated(services, done)


@post("/changesets", status_code=201)
async def operator_draft(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[DraftBody]
) -> Response[ShownChangeset]:
    return await drafted(services, operator(request), base_of(request), data)


@post("/edits", status_code=201)
async def operator_edit(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[EditBody]
) -> Response[ShownChangeset]:
    return await edited(services, operator(request), base_of(request), data)


@post("/rollback", status_code=201)
async def operator_rollback(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[RollbackBody]
) -> Response[ShownChangeset]:
    found = await services.policies.changesets.to_version(data.version, operator(request), data.comment)
    return await shown(services, found)


@get("/changesets")
async def operator_changesets(
    services: NamedDependency[Services],
    request: OperatorRequest,
    after: FromQuery[str | None] = None,
    limit: FromQuery[int] = DEFAULT_LIMIT,
) -> Response[ChangesetPage]:
    return await page(services, operator(request), after, limit)


@get("/changesets/{changeset:str}")
async def operator_changeset(
    services: NamedDependency[Services], request: OperatorRequest, changeset: FromPath[str]
) -> Response[ChangesetWithPlan]:
    return await whole(services, operator(request), changeset)


@post("/changesets/{changeset:str}/withdraw", status_code=200)
async def operator_withdraw(
    services: NamedDependency[Services], request: OperatorRequest, changeset: FromPath[str]
) -> Response[ShownChangeset]:
    found = await services.policies.changesets.withdraw(changeset_id(changeset), operator(request))
    return await shown(services, found)


@post("/changesets/{changeset:str}/activate", status_code=200)
async def operator_activate(
    services: NamedDependency[Services], request: OperatorRequest, changeset: FromPath[str], data: JSONBody[DigestBody]
) -> Response[Activated]:
    done = await services.policies.activation.activate(changeset_id(changeset), data.digest, operator(request))
    return await activated(services, done)


router = Router(
    "/operator/policy",
    route_handlers=[
        *(operator_plan, operator_plan_edit, operator_apply, operator_draft, operator_edit, operator_rollback),
        *(operator_changesets, operator_changeset, operator_withdraw, operator_activate),
    ],
    opt={"access": OPERATOR},
    exception_handlers=HANDLERS,
    request_max_body_size=MAX_BODY,
    include_in_schema=False,
)
