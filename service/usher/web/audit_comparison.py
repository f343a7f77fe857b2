"""`/api/audit/narrowed`: what one policy version allowed that another would not. `/api/audit/break-glass`: what one
person did alone."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from usher.audit.narrowed import NarrowedAnswer
from usher.audit.ranges import Range
from usher.audit.reviewers import Reviewer
from usher.services import Services
from usher.web.audit import EventPage
from usher.web.audit_asking import NO_STORE, operators, people
from usher.web.schema import PROBLEMS

Version = Annotated[int, QueryParameter(description="The policy version under which it was decided")]
Than = Annotated[int | None, QueryParameter(description="The version to hold it against; the next one if left out")]


@get("/narrowed", responses=PROBLEMS, summary="What a policy version allowed that another would not")
async def narrowed(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    part: NamedDependency[Range],
    version: Version,
    than: Than = None,
) -> Response[NarrowedAnswer]:
    """For each person by their name and the roles that were recorded. Their groups of then are not recorded, nor the
    purpose of their key: what hangs on these is `unknown`. `limit` is how many entries are looked at."""
    return Response(await services.audit.comparison.narrowed(reviewer, version, than, part), headers=NO_STORE)


@get("/break-glass", responses=PROBLEMS, summary="What one person did alone because nobody could be waited for")
async def break_glass(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], part: NamedDependency[Range]
) -> Response[EventPage]:
    """The events of such uses, and of their reviews."""
    answer = await services.audit.review.break_glass(reviewer, part)
    page = EventPage([dict(event) for event in answer.entries], answer.next, answer.complete)
    return Response(page, headers=NO_STORE)


HANDLERS = (narrowed, break_glass)
router = people(HANDLERS)
operator_router = operators(HANDLERS)
