"""`/api/audit/erase`: propose to erase a person or a document."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from usher.audit.erasure import Target
from usher.authority import Grant
from usher.errors import UserError
from usher.services import Services
from usher.web.audit import TARGET
from usher.web.audit_proposals import Shown, operator, reviewer
from usher.web.auth import OPERATOR, needs
from usher.web.operator_act import OperatorRequest
from usher.web.schema import BY_KEY, PROBLEMS
from usher_policy.vocabulary import Action


@dataclass(frozen=True, slots=True)
class EraseBody:
    """Whom, by `user` (which takes `audit.identify`) or by `pseudonym`, or which `document`; and why."""

    reason: str
    user: str | None = None
    pseudonym: str | None = None
    document: str | None = None


@dataclass(frozen=True, slots=True)
class OperatorEraseBody(EraseBody):
    """`alone`: at once, by breaking the glass; only where nobody holds `audit.erase`."""

    alone: bool = False


@post("", status_code=201, responses=PROBLEMS, summary="Propose to erase a person or a document")
async def propose(
    services: NamedDependency[Services], grant: NamedDependency[Grant], data: JSONBody[EraseBody]
) -> Shown:
    """It takes the approval of somebody else with `audit.erase`, and is then carried out, which is final."""
    return Shown.of(await services.audit.erasures.propose(reviewer(grant), _target(data), data.reason))


@post("", status_code=201)
async def operator_propose(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[OperatorEraseBody]
) -> Shown:
    ask = services.audit.erasures.alone if data.alone else services.audit.erasures.propose
    return Shown.of(await ask(operator(request), _target(data), data.reason))


def _target(data: EraseBody) -> Target:
    try:
        document = None if data.document is None else UUID(data.document)
    except ValueError:
        raise UserError("document", "is not an id", "copy it from an answer of the audit log") from None
    return Target(data.user, data.pseudonym, document)


router = Router(
    "/api/audit/erase",
    route_handlers=[propose],
    opt={"access": needs(Action.AUDIT_ERASE, TARGET)},
    security=BY_KEY,
    tags=["audit"],
)
operator_router = Router(
    "/operator/audit/erase",
    route_handlers=[operator_propose],
    opt={"access": OPERATOR},
    include_in_schema=False,
)
