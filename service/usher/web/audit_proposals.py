"""`/api/audit/proposals`: acts that take two people, for those who may decide on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from usher.audit.deciders import HOLD, RELEASE
from usher.audit.proposals import NoSuchProposal, Proposals
from usher.audit.reviewers import Reviewer
from usher.authority import Grant
from usher.core.approval import Proposal
from usher.ports.proposals import Item
from usher.services import Services
from usher.web.audit import TARGET
from usher.web.audit_questions import NO_STORE
from usher.web.auth import OPERATOR, needs
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.schema import BY_KEY, PROBLEMS, problems
from usher_policy.vocabulary import Action, split_name

DEFAULT_LIMIT = 50
STANDS = problems({404: "There is no such proposal", 409: "As it stands, this cannot be done"})
After = Annotated[str | None, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(description="How many, from 1 to 200")]
Names = Annotated[bool, QueryParameter(description="The name of whom it is about; takes `audit.identify`")]


@dataclass(frozen=True, slots=True)
class YesBody:
    """The `digest` that stands beside what was proposed: what is approved is exactly that."""

    digest: str


@dataclass(frozen=True, slots=True)
class Shown:
    """An act and how it stands: `open`, `refused`, `withdrawn`, `carried_out`, or `alone` and `reviewed` for a
    break-glass. `parts` are what is to be done. People are pseudonyms, or the operator; `user` is the name of the
    `subject`, where names were asked for. `reason` is null once it opens no more, `done_at` until nothing remains.
    """

    id: UUID
    kind: str
    state: str
    parts: list[str]
    digest: str
    subject: str | None
    user: str | None
    reason: str | None
    proposer: str
    approved_by: list[str]
    at: datetime
    expires_at: datetime
    done_at: datetime | None

    @classmethod
    def of(cls, item: Item, user: str | None = None) -> Self:
        stands, about = item.stands, (list(item.parts), item.stands.digest, item.subject, user, item.reason)
        if isinstance(stands, Proposal):
            state, end = stands.end.outcome.value if stands.end else "open", stands.expires_at
            people = (_name(stands.proposer), [_name(one.approver) for one in stands.approvals])
        else:
            state, end, people = "reviewed" if stands.reviewed else "alone", stands.ends_at, (_name(stands.person), [])
        return cls(item.id, item.kind, state, *about, *people, stands.at, end, item.done_at)


@dataclass(frozen=True, slots=True)
class ProposalPage:
    """Newest first. `next` goes into `after` for the page that follows; null at the end."""

    proposals: list[Shown]
    next: UUID | None


@get("", responses=PROBLEMS, summary="What waits for approval, was decided, or was done alone")
async def proposals(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    after: After = None,
    limit: Limit = DEFAULT_LIMIT,
    names: Names = False,
) -> Response[ProposalPage]:
    """Of the kinds that you may decide on; all, by `audit.review`."""
    return await _page(services.audit.proposals, reviewer(grant, names), after, limit)


@post("/{proposal:str}/approve", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Approve what is proposed")
async def approve(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    proposal: FromPath[str],
    data: JSONBody[YesBody],
) -> Shown:
    """By somebody else than proposed it. A hold, or its release, is done with that; an erasure, which is final, waits
    to be carried out."""
    ident, by = proposal_id(proposal), reviewer(grant)
    approved = (services.audit.holds if await _is_hold(services, ident, by) else services.audit.proposals).approve
    return Shown.of(await approved(ident, data.digest, by))


@post("/{proposal:str}/refuse", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Refuse what is proposed")
async def refuse(services: NamedDependency[Services], grant: NamedDependency[Grant], proposal: FromPath[str]) -> Shown:
    """By whoever might approve it: it is over."""
    return Shown.of(await services.audit.proposals.refuse(proposal_id(proposal), reviewer(grant)))


@post("/{proposal:str}/withdraw", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Withdraw a proposal")
async def withdraw(
    services: NamedDependency[Services], grant: NamedDependency[Grant], proposal: FromPath[str]
) -> Shown:
    """By whoever proposed it: it is over."""
    return Shown.of(await services.audit.proposals.withdraw(proposal_id(proposal), reviewer(grant)))


@post("/{proposal:str}/carry-out", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Do what was approved")
async def carry_out(
    services: NamedDependency[Services], grant: NamedDependency[Grant], proposal: FromPath[str]
) -> Shown:
    """Answers when it is done. Cut off, it goes on at the next start, or when this is asked once more."""
    return await _carried_out(services, proposal, reviewer(grant))


@post("/{proposal:str}/review", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Close a break-glass review")
async def review(services: NamedDependency[Services], grant: NamedDependency[Grant], proposal: FromPath[str]) -> Shown:
    """By somebody with `audit.review`, once the time of what was done alone is over."""
    return Shown.of(await services.audit.proposals.review(proposal_id(proposal), reviewer(grant)))


@get("")
async def operator_proposals(
    services: NamedDependency[Services],
    request: OperatorRequest,
    after: FromQuery[str | None] = None,
    limit: FromQuery[int] = DEFAULT_LIMIT,
    names: FromQuery[bool] = False,
) -> Response[ProposalPage]:
    return await _page(services.audit.proposals, operator(request, names), after, limit)


@post("/{proposal:str}/withdraw", status_code=200)
async def operator_withdraw(
    services: NamedDependency[Services], request: OperatorRequest, proposal: FromPath[str]
) -> Shown:
    return Shown.of(await services.audit.proposals.withdraw(proposal_id(proposal), operator(request)))


@post("/{proposal:str}/carry-out", status_code=200)
async def operator_carry_out(
    services: NamedDependency[Services], request: OperatorRequest, proposal: FromPath[str]
) -> Shown:
    return await _carried_out(services, proposal, operator(request))


async def _carried_out(services: Services, proposal: str, by: Reviewer) -> Shown:
    ident = proposal_id(proposal)
    acts = services.audit.holds if await _is_hold(services, ident, by) else services.audit.erasures
    return Shown.of(await acts.carry_out(ident, by))


async def _is_hold(services: Services, proposal: UUID, by: Reviewer) -> bool:
    """Whether it is of a hold or of a release. Raises `NoSuchProposal` where they may not know of it."""
    return (await services.audit.proposals.known(proposal, by)).kind in (HOLD, RELEASE)


async def _page(proposals: Proposals, by: Reviewer, after: str | None, limit: int) -> Response[ProposalPage]:
    before = None if after is None else proposal_id(after)
    items = await proposals.page(by, before, limit)
    shown = [Shown.of(item, user) for item, user in zip(items, await proposals.users_of(items, by), strict=True)]
    return Response(ProposalPage(shown, items[-1].id if len(items) == limit else None), headers=NO_STORE)


def reviewer(grant: Grant, names: bool = False) -> Reviewer:
    return Reviewer(grant, grant.credential.kind, names)


def operator(request: OperatorRequest, names: bool = False) -> Reviewer:
    by = operator_of(request)
    return Reviewer(None, f"{by.kind}:{by.id}", names)


def proposal_id(text: str) -> UUID:
    """What is no id at all names no proposal either."""
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchProposal from None


def _name(user: str) -> str:
    return split_name(user)[1]


router = Router(
    "/api/audit/proposals",
    route_handlers=[proposals, approve, refuse, withdraw, carry_out, review],
    opt={"access": needs(Action.AUDIT_ERASE, TARGET, Action.AUDIT_HOLD, Action.AUDIT_REVIEW)},
    security=BY_KEY,
    tags=["audit"],
)
operator_router = Router(
    "/operator/audit/proposals",
    route_handlers=[operator_proposals, operator_withdraw, operator_carry_out],
    opt={"access": OPERATOR},
    include_in_schema=False,
)
