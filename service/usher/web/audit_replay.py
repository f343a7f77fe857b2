"""`/api/audit/replay`: a recorded exchange, decided again as of then and as of now. Recorded before it is answered."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from usher.audit.replay_answer import Replayed
from usher.audit.reviewers import Reviewer
from usher.authority import Grant
from usher.services import Services
from usher.web.audit_questions import NO_STORE, Names
from usher.web.auth import KEY, OPERATOR
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.schema import BY_KEY, PROBLEMS, problems

Policy = Annotated[
    int | None, QueryParameter(description="Decide it under this policy version instead of the one in force")
]
_NOT_FOUND = problems({404: "There is no such exchange, or your right does not reach it"})


@get("/{audit_id:str}", responses={**PROBLEMS, **_NOT_FOUND}, summary="An exchange decided again, then and now")
async def replay(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    audit_id: FromPath[str],
    policy: Policy = None,
    names: Names = False,
) -> Response[Replayed]:
    """What was recorded, what the policy of then makes of it again, and what the policy of now would, rule by rule.

    `agreement` is `contradicts the record` where deciding again under the recorded policy and labels does not give
    what was recorded: `problems` then say what. `basis` says what is recorded and what is assumed. The rules' text
    comes with `policy.read` or `audit.identify`.
    """
    reviewer = Reviewer(grant, grant.credential.kind, names)
    return Response(await services.replays.of(reviewer, audit_id, policy), headers=NO_STORE)


@get("/{audit_id:str}")
async def operator_replay(
    services: NamedDependency[Services],
    request: OperatorRequest,
    audit_id: FromPath[str],
    policy: Policy = None,
    names: Names = False,
) -> Response[Replayed]:
    by = operator_of(request)
    reviewer = Reviewer(None, f"{by.kind}:{by.id}", names)
    return Response(await services.replays.of(reviewer, audit_id, policy), headers=NO_STORE)


router = Router("/api/audit/replay", route_handlers=[replay], opt={"access": KEY}, security=BY_KEY, tags=["audit"])
operator_router = Router(
    "/operator/audit/replay", route_handlers=[operator_replay], opt={"access": OPERATOR}, include_in_schema=False
)
