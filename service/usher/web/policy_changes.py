"""`/api/policy/changesets` and what leads there: changes of the policy, planned, drafted, approved and activated."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from usher.authority import Grant
from usher.core.changeset import Changeset
from usher.core.plan_words import PlanWords
from usher.core.policy_source import PolicySource
from usher.policy.acts import NoSuchChangeset
from usher.policy.editors import Editor
from usher.policy.plan import Plan
from usher.policy_admin import AppliedPolicy
from usher.services import Services
from usher.web.audit_proposals import After, Limit
from usher.web.audit_questions import NO_STORE
from usher.web.auth import POLICY
from usher.web.policy import DEFAULT_LIMIT, editor, newest
from usher.web.policy_shown import HANDLERS, ChangesetPage, ChangesetWithPlan, ShownChangeset, plan_words
from usher.web.policy_token import base_of, etag
from usher.web.schema import BY_KEY, PROBLEMS, problems

MAX_BODY = 80 * 1024**2
"""Bytes. A rule file of 64 MiB fits, as JSON too, with its documents and cases."""
STANDS = problems({404: "There is no such changeset", 409: "As it stands, this cannot be done"})
MATCHED = problems(
    {
        409: "It may not be made at all: `reasons`",
        412: "Another version is in force: `moved` has what it changed",
        413: "The policy is larger than is taken",
        428: "`If-Match` is missing",
    }
)


@dataclass(frozen=True, slots=True)
class PolicyBody:
    """A whole policy: the text of the rule file, and by file name those of the documents and of the cases."""

    rules_text: str
    documents: dict[str, str] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> PolicySource:
        return PolicySource(self.rules_text, self.documents, self.cases)


@dataclass(frozen=True, slots=True)
class ApplyBody(PolicyBody):
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DraftBody(ApplyBody):
    """`supersedes`: the draft that this one takes the place of; it is withdrawn."""

    supersedes: str | None = None


@dataclass(frozen=True, slots=True)
class LinesBody:
    """Lines of the rule file, to add and to remove."""

    add: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EditBody(LinesBody):
    """`supersedes`: the draft that this edit goes on from; it is withdrawn."""

    comment: str = ""
    supersedes: str | None = None


@dataclass(frozen=True, slots=True)
class RollbackBody:
    version: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class DigestBody:
    """The `digest` that stands beside the plan that you looked at: it is of exactly that."""

    digest: str


@dataclass(frozen=True, slots=True)
class AloneBody(DigestBody):
    reason: str
    minutes: int = 60


@dataclass(frozen=True, slots=True)
class Activated:
    """The version that has come into force. `digest` is of its rules."""

    version: int
    digest: str
    warnings: list[str]
    policy_version: int


AnyRequest = Request[Any, Any, State]


@post("/plan", status_code=200, responses={**PROBLEMS, **MATCHED}, summary="What a policy would change")
async def plan(
    services: NamedDependency[Services], grant: NamedDependency[Grant], data: JSONBody[PolicyBody]
) -> Response[PlanWords]:
    """Nothing is kept."""
    return await planned(services, await services.policies.changesets.plan(data.source, editor(grant)))


@post("/edits/plan", status_code=200, responses={**PROBLEMS, **MATCHED}, summary="What lines would change")
async def plan_edit(
    services: NamedDependency[Services], grant: NamedDependency[Grant], data: JSONBody[LinesBody]
) -> Response[PlanWords]:
    """Nothing is kept."""
    found = await services.policies.changesets.plan_edit(data.add, data.remove, editor(grant))
    return await planned(services, found)


@post("/apply", status_code=200, responses={**PROBLEMS, **MATCHED}, summary="Bring a policy into force")
async def apply(
    services: NamedDependency[Services], grant: NamedDependency[Grant], data: JSONBody[ApplyBody]
) -> Response[ShownChangeset]:
    """If nobody gains anything by it, or somebody else has approved exactly this; else it waits as a draft."""
    return await shown(services, await services.policies.activation.apply(data.source, editor(grant), data.comment))


@post("/changesets", status_code=201, responses={**PROBLEMS, **MATCHED}, summary="Draft a policy")
async def draft(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    request: AnyRequest,
    data: JSONBody[DraftBody],
) -> Response[ShownChangeset]:
    """With `If-Match`: the version that it was made from."""
    return await drafted(services, editor(grant), base_of(request), data)


@post("/edits", status_code=201, responses={**PROBLEMS, **MATCHED}, summary="Draft lines to add and to remove")
async def edit(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    request: AnyRequest,
    data: JSONBody[EditBody],
) -> Response[ShownChangeset]:
    """With `If-Match`: the version that it was made from."""
    return await edited(services, editor(grant), base_of(request), data)


@post("/rollback", status_code=201, responses={**PROBLEMS, **MATCHED}, summary="Draft an earlier version")
async def rollback(
    services: NamedDependency[Services], grant: NamedDependency[Grant], data: JSONBody[RollbackBody]
) -> Response[ShownChangeset]:
    found = await services.policies.changesets.to_version(data.version, editor(grant), data.comment)
    return await shown(services, found)


@get("/changesets", responses=PROBLEMS, summary="What was drafted, activated or done alone")
async def changesets(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    after: After = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response[ChangesetPage]:
    """Of what you may look at."""
    return await page(services, editor(grant), after, limit)


@get("/changesets/{changeset:str}", responses={**PROBLEMS, **STANDS}, summary="One changeset, with its plan")
async def changeset(
    services: NamedDependency[Services], grant: NamedDependency[Grant], changeset: FromPath[str]
) -> Response[ChangesetWithPlan]:
    return await whole(services, editor(grant), changeset)


@post("/changesets/{changeset:str}/approve", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Approve it")
async def approve(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    changeset: FromPath[str],
    data: JSONBody[DigestBody],
) -> Response[ShownChangeset]:
    """By somebody else than had a part in it."""
    found = await services.policies.changesets.approve(changeset_id(changeset), data.digest, editor(grant))
    return await shown(services, found)


@post("/changesets/{changeset:str}/refuse", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Refuse it")
async def refuse(
    services: NamedDependency[Services], grant: NamedDependency[Grant], changeset: FromPath[str]
) -> Response[ShownChangeset]:
    """By whoever might approve it: it is over."""
    return await shown(services, await services.policies.changesets.refuse(changeset_id(changeset), editor(grant)))


@post("/changesets/{changeset:str}/withdraw", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Withdraw it")
async def withdraw(
    services: NamedDependency[Services], grant: NamedDependency[Grant], changeset: FromPath[str]
) -> Response[ShownChangeset]:
    """By whoever made it: it is over."""
    return await shown(services, await services.policies.changesets.withdraw(changeset_id(changeset), editor(grant)))


@post("/changesets/{changeset:str}/activate", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Activate it")
async def activate(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    changeset: FromPath[str],
    data: JSONBody[DigestBody],
) -> Response[Activated]:
    """It is the version in force when this answers."""
    done = await services.policies.activation.activate(changeset_id(changeset), data.digest, editor(grant))
    return await activated(services, done)


@post(
    "/changesets/{changeset:str}/break-glass", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Do it alone"
)
async def break_glass(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    changeset: FromPath[str],
    data: JSONBody[AloneBody],
) -> Response[ShownChangeset]:
    """For some minutes, with an alarm, and a review that stays open until somebody else closes it."""
    found = await services.policies.glass.break_glass(
        changeset_id(changeset), data.digest, editor(grant), data.reason, data.minutes
    )
    return await shown(services, found)


@post(
    "/changesets/{changeset:str}/review", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Close its review"
)
async def review(
    services: NamedDependency[Services], grant: NamedDependency[Grant], changeset: FromPath[str]
) -> Response[ShownChangeset]:
    """Of what somebody else did alone, once its time is over."""
    return await shown(services, await services.policies.glass.review(changeset_id(changeset), editor(grant)))


async def planned(services: Services, plan: Plan) -> Response[PlanWords]:
    words = plan_words(plan, await services.documents.per_class())
    return Response(words, headers={**NO_STORE, **etag(plan.base)})


async def drafted(services: Services, by: Editor, base: int, data: DraftBody) -> Response[ShownChangeset]:
    over = None if data.supersedes is None else changeset_id(data.supersedes)
    return await shown(services, await services.policies.changesets.draft(data.source, by, base, data.comment, over))


async def edited(services: Services, by: Editor, base: int, data: EditBody) -> Response[ShownChangeset]:
    over = None if data.supersedes is None else changeset_id(data.supersedes)
    found = await services.policies.changesets.edit(data.add, data.remove, by, base, data.comment, over)
    return await shown(services, found)


async def activated(services: Services, done: AppliedPolicy) -> Response[Activated]:
    in_force = await newest(services)
    told = Activated(done.version, done.digest, list(done.warnings), in_force)
    return Response(told, headers={**NO_STORE, **etag(in_force)})


async def page(services: Services, by: Editor, after: str | None, limit: int) -> Response[ChangesetPage]:
    before = None if after is None else changeset_id(after)
    found = await services.policies.changesets.page(by, before, limit)
    now, in_force = datetime.now(UTC), await newest(services)
    told = [ShownChangeset.of(one, now, in_force) for one in found]
    return Response(ChangesetPage(told, found[-1].id if len(found) == limit else None), headers=NO_STORE)


async def whole(services: Services, by: Editor, changeset: str) -> Response[ChangesetWithPlan]:
    ident = changeset_id(changeset)
    found = await services.policies.changesets.get(ident, by)
    plan = await services.policies.changesets.plan_of(ident, by)
    in_force = await newest(services)
    words = plan_words(plan, await services.documents.per_class())
    told = ChangesetWithPlan(ShownChangeset.of(found, datetime.now(UTC), in_force), words)
    return Response(told, headers={**NO_STORE, **etag(in_force)})


async def shown(services: Services, changeset: Changeset) -> Response[ShownChangeset]:
    in_force = await newest(services)
    told = ShownChangeset.of(changeset, datetime.now(UTC), in_force)
    return Response(told, headers={**NO_STORE, **etag(in_force)})


def changeset_id(text: str) -> UUID:
    """What is no id at all names no changeset either."""
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchChangeset from None


router = Router(
    "/api/policy",
    route_handlers=[
        *(plan, plan_edit, apply, draft, edit, rollback, changesets, changeset),
        *(approve, refuse, withdraw, activate, break_glass, review),
    ],
    opt={"access": POLICY},
    exception_handlers=HANDLERS,
    request_max_body_size=MAX_BODY,
    security=BY_KEY,
    tags=["policy"],
)
