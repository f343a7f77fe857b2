"""`POST /api/audit/unseal`: what one exchange said, for a typed reason. `/api/audit/uses`: who looked at the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import Body, JSONBody

from usher.audit.ranges import Range
from usher.audit.reviewers import Reviewer
from usher.audit.unseal import Content, UsesAnswer
from usher.services import Services
from usher.web.audit_asking import NO_STORE, known, operators, people
from usher.web.schema import PROBLEMS, example, problems
from usher_policy.vocabulary import Action

_EXAMPLE = {"exchange": "019a7f3e-25a5-71d1-98db-b2170744b0c1", "reason": "Complaint 2026-114: what was answered?"}
_ANSWERS = problems(
    {
        404: "There is no such exchange, it has not ended, or something that it showed is out of your reach",
        410: "The content was erased or is no longer kept; its events say when and why",
    }
)


@dataclass(frozen=True, slots=True)
class Opening:
    """`exchange` is an audit id. The reason, of at most 2,000 characters, is kept sealed, for those who review."""

    exchange: str
    reason: str


@post(
    "/unseal", status_code=200, responses={**PROBLEMS, **_ANSWERS}, summary="What one exchange said, for a typed reason"
)
async def unseal(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    data: Annotated[JSONBody[Opening], Body(examples=example("For a complaint", _EXAMPLE))],
) -> Response[Content]:
    """Recorded before anything is opened, and listed with its reason to those who hold `audit.review`. Every document
    that the exchange showed must be within the reach of the right."""
    content = await services.audit.unsealing.content(reviewer, known("exchange", data.exchange), data.reason)
    return Response(content, headers=NO_STORE)


@get("/uses", responses=PROBLEMS, summary="Who looked at the log, what for and why")
async def uses(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], part: NamedDependency[Range]
) -> Response[UsesAnswer]:
    """Every reading of the log, this one too. With `audit.review` on collections only, the uses about these."""
    return Response(await services.audit.unsealing.uses(reviewer, part), headers=NO_STORE)


unseal_router = people([unseal], Action.AUDIT_UNSEAL)
uses_router = people([uses], Action.AUDIT_REVIEW)
operator_router = operators([unseal, uses])
