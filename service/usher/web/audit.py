"""`/api/audit/events`: the log for its reviewers. Pseudonyms, ids and labels; each read is itself recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from usher.audit.ranges import Range
from usher.audit.review import EventQuery
from usher.audit.reviewers import AUDIT, Reviewer
from usher.services import Services
from usher.web.audit_asking import NO_STORE, Person, Pseudonym, known, operators, people
from usher.web.audit_asking import From as From
from usher.web.audit_asking import To as To
from usher.web.audit_asking import instant as instant
from usher.web.schema import PROBLEMS

Type = Annotated[str | None, QueryParameter(name="type", description="One event type, such as `answer`")]
Document = Annotated[
    str | None, QueryParameter(description="Only events about this document, and all of each exchange that found it")
]
TARGET = AUDIT


@dataclass(frozen=True, slots=True)
class EventPage:
    """`next` goes into `after` for the page that follows; null at the end of the log. `complete` is false where the
    index, by which some of this is found, was not yet up to the log."""

    events: list[dict[str, Any]]
    next: int | None
    complete: bool


@get("/events", responses=PROBLEMS, summary="Events of the audit log")
async def events(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    part: NamedDependency[Range],
    kind: Type = None,
    outcome: FromQuery[str | None] = None,
    document: Document = None,
    person: Person = None,
    pseudonym: Pseudonym = None,
) -> Response[EventPage]:
    """As they stand in the log. Whose right is limited to collections gets what is about documents of these, cut to
    them."""
    ident = None if document is None else known("document", document)
    query = EventQuery(part, kind, outcome, ident, person, pseudonym)
    answer = await services.audit.review.events(reviewer, query)
    page = EventPage([dict(event) for event in answer.entries], answer.next, answer.complete)
    return Response(page, headers=NO_STORE)


router = people([events])
operator_router = operators([events])
