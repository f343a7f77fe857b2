"""`/api/policy/plan`, `/apply`, `/changesets`, `/edits`, `/rollback`: changes of the policy are planned and drafted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from usher.core.plan_words import PlanWords
from usher.core.policy_source import PolicySource
from usher.policy.editors import Editor
from usher.policy.plan import Plan
from usher.policy_admin import AppliedPolicy
from usher.services import Services
from usher.web.audit_questions import NO_STORE
from usher.web.operator_act import operator_of
from usher.web.policy_shown import (
    Activated,
    ShownChangeset,
    activated,
    changeset_id,
    plan_words,
    shown,
)
from usher.web.policy_token import base_of, etag
from usher.web.schema import PROBLEMS, problems

MAX_BODY = 80 * 1024**2
"""Bytes. A rule file of 64 MiB fits, as JSON too, with its documents and cases."""
MATCHED = problems(
    {
        409: "It may not be made at all: `reasons`",
        412: "Changes are made from another version: `moved` has what it changed",
        413: "The policy is larger than is taken",
        428: "`If-Match` is missing",
    }
)
AnyRequest = Request[Any, Any, State]


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
class OperatorApplyBody(PolicyBody):
    """With a `reason`: by breaking the glass, for so many `minutes`."""

    reason: str | None = None
    minutes: int | None = None


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


@post("/plan", status_code=200, responses={**PROBLEMS, **MATCHED}, summary="What a policy would change")
async def plan(
    services: NamedDependency[Services], by: NamedDependency[Editor], data: JSONBody[PolicyBody]
) -> Response[PlanWords]:
    """Nothing is kept."""
    return await _planned(services, await services.policies.changesets.plan(data.source, by))


@post("/edits/plan", status_code=200, responses={**PROBLEMS, **MATCHED}, summary="What lines would change")
async def plan_edit(
    services: NamedDependency[Services], by: NamedDependency[Editor], data: JSONBody[LinesBody]
) -> Response[PlanWords]:
    """Nothing is kept."""
    found = await services.policies.changesets.plan_edit(data.add, data.remove, by)
    return await _planned(services, found)


@post("/apply", status_code=200, responses={**PROBLEMS, **MATCHED}, summary="Bring a policy into force")
async def apply(
    services: NamedDependency[Services], by: NamedDependency[Editor], data: JSONBody[ApplyBody]
) -> Response[ShownChangeset] | Response[Activated]:
    """If nobody gains anything by it, or somebody else has approved exactly this; else it waits as a draft. The policy
    that is in force already is answered with its version, and that there was nothing to do."""
    made = await services.policies.activation.apply(data.source, by, data.comment)
    if made is not None:
        return await shown(services, made)
    now = await services.policy.active()
    return await activated(services, AppliedPolicy(now["version"], now["digest"], ("nothing to do: it is in force",)))


@post("/apply", status_code=200)
async def operator_apply(
    services: NamedDependency[Services], request: AnyRequest, data: JSONBody[OperatorApplyBody]
) -> Response[Activated]:
    by = operator_of(request)
    done = await services.policies.activation.operator_apply(data.source, by, data.reason, data.minutes)
    return await activated(services, done)


@post("/changesets", status_code=201, responses={**PROBLEMS, **MATCHED}, summary="Draft a policy")
async def draft(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    request: AnyRequest,
    data: JSONBody[DraftBody],
) -> Response[ShownChangeset]:
    """With `If-Match`: the version that it was made from."""
    base, over = base_of(request), _superseded(data.supersedes)
    return await shown(services, await services.policies.changesets.draft(data.source, by, base, data.comment, over))


@post("/edits", status_code=201, responses={**PROBLEMS, **MATCHED}, summary="Draft lines to add and to remove")
async def edit(
    services: NamedDependency[Services],
    by: NamedDependency[Editor],
    request: AnyRequest,
    data: JSONBody[EditBody],
) -> Response[ShownChangeset]:
    """With `If-Match`: the version that it was made from."""
    base, over = base_of(request), _superseded(data.supersedes)
    found = await services.policies.changesets.edit(data.add, data.remove, by, base, data.comment, over)
    return await shown(services, found)


@post("/rollback", status_code=201, responses={**PROBLEMS, **MATCHED}, summary="Draft an earlier version")
async def rollback(
    services: NamedDependency[Services], by: NamedDependency[Editor], data: JSONBody[RollbackBody]
) -> Response[ShownChangeset]:
    found = await services.policies.changesets.to_version(data.version, by, data.comment)
    return await shown(services, found)


async def _planned(services: Services, plan: Plan) -> Response[PlanWords]:
    words = plan_words(plan, await services.documents.per_class())
    return Response(words, headers={**NO_STORE, **etag(plan.base)})


def _superseded(given: str | None) -> UUID | None:
    return None if given is None else changeset_id(given)


BOTH = (plan, plan_edit, draft, edit, rollback)
PEOPLES = (*BOTH, apply)
OPERATORS = (*BOTH, operator_apply)
"""Served by the routers of `policy_changes`, which has other methods of the same addresses."""
