"""Changesets, plans and versions of the policy as HTTP shows them, and the problems that come with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.types import ExceptionHandlersMap

from usher.authority import utc_now
from usher.core.approval import Proposal
from usher.core.changeset import Changeset
from usher.core.impact_words import Stock, impact_words
from usher.core.plan_words import FailedCase, Found, PlanWords
from usher.errors import UserError
from usher.policy.acts import NoSuchChangeset
from usher.policy.plan import Outdated, Plan, Refused, Unsound
from usher.policy_admin import AppliedPolicy
from usher.services import Services
from usher.web import problems
from usher.web.audit_questions import NO_STORE
from usher.web.policy_token import etag, newest
from usher_policy.cases import CaseResult
from usher_policy.vocabulary import split_name


@dataclass(frozen=True, slots=True)
class ShownChangeset:
    """A changeset and how it stands: `open`, `expired`, `refused`, `withdrawn` or `carried_out`; `unreviewed` or
    `reviewed` for a break-glass, which is in force until `expires_at` at the longest.

    It is against version `base`, and became `version` when it was activated. People are pseudonyms, or the operator.
    `comment` is null once it opens no more. `policy_version` is the one in force now.
    """

    id: UUID
    state: str
    base: int
    digest: str
    by: str
    approved_by: list[str]
    comment: str | None
    created_at: datetime
    expires_at: datetime
    supersedes: UUID | None
    rollback: int | None
    version: int | None
    policy_version: int

    @classmethod
    def of(cls, changeset: Changeset, now: datetime, policy_version: int) -> Self:
        stands = changeset.stands
        approvals = stands.approvals if isinstance(stands, Proposal) else ()
        return cls(
            id=changeset.id,
            state=changeset.state(now),
            base=changeset.base,
            digest=changeset.digest,
            by=changeset.by,
            approved_by=[split_name(one.approver)[1] for one in approvals],
            comment=changeset.comment,
            created_at=changeset.created_at,
            expires_at=stands.expires_at if isinstance(stands, Proposal) else stands.ends_at,
            supersedes=changeset.supersedes,
            rollback=changeset.rollback,
            version=changeset.version,
            policy_version=policy_version,
        )


@dataclass(frozen=True, slots=True)
class Activated:
    """The version that has come into force. `digest` is of its rules."""

    version: int
    digest: str
    warnings: list[str]
    policy_version: int


@dataclass(frozen=True, slots=True)
class ChangesetPage:
    """Newest first. `next` goes into `after` for the page that follows; null at the end."""

    changesets: list[ShownChangeset]
    next: UUID | None


@dataclass(frozen=True, slots=True)
class ChangesetWithPlan:
    """A changeset, and what it would do now."""

    changeset: ShownChangeset
    plan: PlanWords


async def shown(services: Services, changeset: Changeset) -> Response[ShownChangeset]:
    """The answer of an act: the changeset as it stands now."""
    in_force = await newest(services)
    told = ShownChangeset.of(changeset, utc_now(), in_force)
    return Response(told, headers={**NO_STORE, **etag(in_force)})


async def activated(services: Services, done: AppliedPolicy) -> Response[Activated]:
    """The answer of one that has brought a version into force."""
    in_force = await newest(services)
    told = Activated(done.version, done.digest, list(done.warnings), in_force)
    return Response(told, headers={**NO_STORE, **etag(in_force)})


def changeset_id(text: str) -> UUID:
    """What is no id at all names no changeset either."""
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchChangeset from None


def plan_words(plan: Plan, documents: Mapping[int, int]) -> PlanWords:
    """A plan in words. `documents`: how many of them each access class has now."""
    return PlanWords(
        base=plan.base,
        digest=plan.digest,
        sound=plan.sound,
        may_come=plan.may_come,
        needs_approval=plan.needs_approval,
        findings=tuple(Found(one.line, one.message, one.remedy, one.severity) for one in plan.findings),
        cases=plan.cases,
        failed=tuple(map(_failed, plan.failed)),
        diff=plan.diff,
        impact=impact_words(plan.impact, Stock.of(plan.catalog, documents)),
        gains=plan.gains,
        refusals=plan.refusals,
        moved=plan.moved,
    )


def _failed(result: CaseResult) -> FailedCase:
    case = result.case
    return FailedCase(case.name, case.user, case.object, case.action.value, case.expect.value)


def of_outdated(request: Request[Any, Any, Any], error: Outdated) -> Response[dict[str, Any]]:
    """With the version in force and what it changed."""
    return _with(request, error, base=error.base, moved=error.moved)


def of_unsound(request: Request[Any, Any, Any], error: Unsound) -> Response[dict[str, Any]]:
    """With what lint found, and the cases that failed."""
    told = plan_words(error.plan, {})
    return _with(request, error, findings=told.findings, failed=told.failed)


def of_refused(request: Request[Any, Any, Any], error: Refused) -> Response[dict[str, Any]]:
    """With every reason."""
    return _with(request, error, reasons=error.reasons)


def _with(request: Request[Any, Any, Any], error: UserError, **more: object) -> Response[dict[str, Any]]:
    told = problems.of_user_error(request, error)
    told.content |= {name: msgspec.to_builtins(value) for name, value in more.items()}
    return told


HANDLERS: ExceptionHandlersMap = {Outdated: of_outdated, Unsound: of_unsound, Refused: of_refused}
"""For the `exception_handlers` of the policy's routers."""
