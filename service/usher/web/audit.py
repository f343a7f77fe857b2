"""`/api/audit`: the log for its reviewers. Pseudonyms, ids and labels; each read is itself recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from litestar import Router, get
from litestar.params import Parameter

from usher.authority import Grant
from usher.retrieve import who
from usher.review import DEFAULT_LIMIT, EventQuery, Page
from usher.services import Services
from usher.web.auth import OPERATOR, needs
from usher.web.operator_act import OperatorRequest, operator_of
from usher_policy.vocabulary import Action

From = Annotated[datetime | None, Parameter(query="from", description="From this instant on, with its zone")]
To = Annotated[datetime | None, Parameter(query="to", description="Before this instant, with its zone")]
Type = Annotated[str | None, Parameter(query="type", description="One event type, such as `answer`")]


@dataclass(frozen=True, slots=True)
class EventPage:
    """`next` goes into `after` for the page that follows; null at the end of the log."""

    events: list[dict[str, Any]]
    next: int | None


@get("/events", summary="Events of the audit log")
async def events(
    services: Services,
    grant: Grant,
    since: From = None,
    until: To = None,
    kind: Type = None,
    outcome: str | None = None,
    after: int = 0,
    limit: int = DEFAULT_LIMIT,
) -> EventPage:
    by = who(grant, await services.ledger.pseudonym(grant.credential.user))
    query = EventQuery(after, limit, kind, outcome, since, until)
    return _page(await services.review.events(query, by, grant.credential.kind))


@get("/events")
async def operator_events(
    services: Services,
    request: OperatorRequest,
    since: From = None,
    until: To = None,
    kind: Type = None,
    outcome: str | None = None,
    after: int = 0,
    limit: int = DEFAULT_LIMIT,
) -> EventPage:
    by = operator_of(request)
    query = EventQuery(after, limit, kind, outcome, since, until)
    return _page(await services.review.events(query, None, f"{by.kind}:{by.id}"))


def _page(page: Page) -> EventPage:
    return EventPage([dict(event) for _, event in page.events], page.next)


router = Router(
    "/api/audit",
    route_handlers=[events],
    opt={"access": needs(Action.AUDIT_READ, "sys:audit")},
    tags=["audit"],
)
operator_router = Router(
    "/operator/audit", route_handlers=[operator_events], opt={"access": OPERATOR}, include_in_schema=False
)
