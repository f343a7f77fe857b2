"""`/api/audit/replay`: a recorded exchange, decided again as of then and as of now. Recorded before it is answered."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from usher.audit.replay_answer import Replayed
from usher.audit.reviewers import Reviewer
from usher.services import Services
from usher.web.audit_asking import NO_STORE, operators, people
from usher.web.schema import PROBLEMS, problems

Policy = Annotated[
    int | None, QueryParameter(description="Decide it under this policy version instead of the one in force")
]
_NOT_FOUND = problems({404: "There is no such exchange, or your right does not reach it"})


@get("/replay/{audit_id:str}", responses={**PROBLEMS, **_NOT_FOUND}, summary="An exchange decided again, then and now")
async def replay(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    audit_id: FromPath[str],
    policy: Policy = None,
) -> Response[Replayed]:
    """What was recorded, what the policy of then makes of it again, and what the policy of now would, rule by rule.

    `agreement` is `contradicts the record` where deciding again under the recorded policy and labels does not give
    what was recorded: `problems` then say what. `basis` says what is recorded and what is assumed. The rules' text
    comes with `policy.read` or `audit.identify`.
    """
    return Response(await services.audit.replays.of(reviewer, audit_id, policy), headers=NO_STORE)


router = people([replay])
operator_router = operators([replay])
