"""`/api/audit`: the log for its reviewers. Pseudonyms, ids and labels; each read is itself recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.exceptions import PermissionDeniedException
from litestar.params import FromQuery, QueryParameter

from usher.audit.review import DEFAULT_LIMIT, EventQuery, Page
from usher.authority import Grant
from usher.errors import UserError
from usher.retrieve import who
from usher.services import Services
from usher.web.auth import OPERATOR, needs
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.schema import BY_KEY, PROBLEMS
from usher_policy.vocabulary import Action

_TIME = {"format": "date-time"}
From = Annotated[
    str | None, QueryParameter(name="from", description="From this instant on, with its zone", schema_extra=_TIME)
]
To = Annotated[
    str | None, QueryParameter(name="to", description="Before this instant, with its zone", schema_extra=_TIME)
]
Type = Annotated[str | None, QueryParameter(name="type", description="One event type, such as `answer`")]


TARGET = "sys:audit"


@dataclass(frozen=True, slots=True)
class EventPage:
    """`next` goes into `after` for the page that follows; null at the end of the log."""

    events: list[dict[str, Any]]
    next: int | None


@get("/events", responses=PROBLEMS, summary="Events of the audit log")
async def events(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    since: From = None,
    until: To = None,
    kind: Type = None,
    outcome: FromQuery[str | None] = None,
    after: FromQuery[int] = 0,
    limit: FromQuery[int] = DEFAULT_LIMIT,
) -> EventPage:
    by = who(grant, await services.ledger.pseudonym(grant.credential.user))
    query = EventQuery(after, limit, kind, outcome, instant("from", since), instant("to", until))
    page = await services.review.events(query, by, grant.credential.kind)
    _refuse_unless(await services.authority.again(grant))
    return _page(page)


@get("/events")
async def operator_events(
    services: NamedDependency[Services],
    request: OperatorRequest,
    since: From = None,
    until: To = None,
    kind: Type = None,
    outcome: FromQuery[str | None] = None,
    after: FromQuery[int] = 0,
    limit: FromQuery[int] = DEFAULT_LIMIT,
) -> EventPage:
    by = operator_of(request)
    query = EventQuery(after, limit, kind, outcome, instant("from", since), instant("to", until))
    return _page(await services.review.events(query, None, f"{by.kind}:{by.id}"))


def instant(name: str, text: str | None) -> datetime | None:
    """A time in a query. Raises `UserError`."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise UserError(name, "is not a time", "write it as 2026-01-31T09:00:00Z") from None


def _refuse_unless(grant: Grant) -> None:
    """The page was recorded and read; whoever lost the right meanwhile does not get it."""
    if not grant.may(Action.AUDIT_READ, TARGET).allowed:
        raise PermissionDeniedException("You may no longer read the audit log.")


def _page(page: Page) -> EventPage:
    return EventPage([dict(event) for _, event in page.events], page.next)


router = Router(
    "/api/audit",
    route_handlers=[events],
    opt={"access": needs(Action.AUDIT_READ, TARGET)},
    security=BY_KEY,
    tags=["audit"],
)
operator_router = Router(
    "/operator/audit", route_handlers=[operator_events], opt={"access": OPERATOR}, include_in_schema=False
)
