"""`/api/audit/report`: figures over a span of the log, as a page to print. Recorded before it is given."""

from __future__ import annotations

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.openapi import ResponseSpec

from usher.audit.report import Span
from usher.audit.reviewers import Reviewer
from usher.core.report import policy
from usher.services import Services
from usher.web.audit_asking import NO_STORE, From, To, instant, operators, people
from usher.web.schema import PROBLEMS

_HEADERS = {
    **NO_STORE,
    "content-security-policy": f"{policy()}; frame-ancestors 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_ANSWERS = {
    **PROBLEMS,
    200: ResponseSpec(
        str, generate_examples=False, description="One page that needs nothing else", media_type=MediaType.HTML
    ),
}


@get(
    "/report", responses=_ANSWERS, media_type=MediaType.HTML, summary="Figures over a span of the audit log, as a page"
)
async def report(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], since: From = None, until: To = None
) -> Response[str]:
    """Takes `audit.read` on all of the log; who looked at the log is told to holders of `audit.review`."""
    page = await services.audit.reports.page(reviewer, Span(instant("from", since), instant("to", until)))
    return Response(page, media_type=MediaType.HTML, headers=_HEADERS)


router = people([report])
operator_router = operators([report])
