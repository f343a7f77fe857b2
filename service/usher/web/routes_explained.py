"""`/api/route/explain`: how a question would be answered now, and why."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from usher.policy.editors import Editor
from usher.policy.routes import OwnRoute, RouteExplained
from usher.services import Services
from usher.web.audit_asking import NO_STORE
from usher.web.auth import KEY, OPERATOR
from usher.web.policy import BY_OPERATOR, BY_PERSON
from usher.web.schema import BY_KEY, PROBLEMS

Question = Annotated[str, QueryParameter(description="The question, up to 8,000 characters")]
Of = Annotated[str | None, QueryParameter(description="Whose question it would be; without it, yours")]


@get("/explain", responses=PROBLEMS, summary="How a question would be answered")
async def explain(
    services: NamedDependency[Services], by: NamedDependency[Editor], q: Question = "", user: Of = None
) -> Response[OwnRoute | RouteExplained]:
    """Nothing is asked, and the question is kept nowhere. Your own takes no right; with `policy.read` on everything you
    are told of anybody's, with each rule, and each adapter with what keeps it away.
    """
    return Response(await services.policies.routes.explain(by, q, user), headers=NO_STORE)


router = Router(
    "/api/route",
    route_handlers=[explain],
    opt={"access": KEY},
    dependencies=BY_PERSON,
    security=BY_KEY,
    tags=["chat"],
)
operator_router = Router(
    "/operator/route",
    route_handlers=[explain],
    opt={"access": OPERATOR},
    dependencies=BY_OPERATOR,
    include_in_schema=False,
)
