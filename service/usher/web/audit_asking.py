"""What the routes of the audit log share: who asks, by which right, and for which part of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Router
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from usher.audit.ranges import DEFAULT_LIMIT, Range
from usher.audit.reviewers import Reviewer
from usher.authority import Grant
from usher.errors import UserError
from usher.web.auth import OPERATOR, needs_somewhere
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.schema import BY_KEY
from usher_policy.vocabulary import Action

NO_STORE = {"cache-control": "no-store"}
_TIME = {"format": "date-time"}
From = Annotated[
    str | None, QueryParameter(name="from", description="From this instant on, with its zone", schema_extra=_TIME)
]
To = Annotated[
    str | None, QueryParameter(name="to", description="Before this instant, with its zone", schema_extra=_TIME)
]
After = Annotated[int, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(description="How many, from 1 to 500")]
Names = Annotated[
    bool, QueryParameter(description="People's names, paths and titles beside the ids; takes `audit.identify`")
]
Person = Annotated[str | None, QueryParameter(description="A user; takes `audit.identify`")]
Pseudonym = Annotated[str | None, QueryParameter(description="The pseudonym of somebody in the log, instead")]


def instant(name: str, text: str | None) -> datetime | None:
    """A time in a query. Raises `UserError`."""
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise UserError(name, "is not a time", "write it as 2026-01-31T09:00:00Z") from None


def known(name: str, text: str) -> UUID:
    """An id in a query. Raises `UserError`."""
    try:
        return UUID(text)
    except ValueError:
        raise UserError(name, "is not an id", "copy it from an answer or from the list of documents") from None


def part_of(after: After = 0, limit: Limit = DEFAULT_LIMIT, since: From = None, until: To = None) -> Range:
    """The dependency `part`."""
    return Range(after, limit, instant("from", since), instant("to", until))


def by_person(grant: NamedDependency[Grant], names: Names = False) -> Reviewer:
    """The dependency `reviewer` of people's routes."""
    return Reviewer(grant, grant.credential.kind, names)


def by_operator(request: OperatorRequest, names: Names = False) -> Reviewer:
    """The dependency `reviewer` of the operator's routes."""
    by = operator_of(request)
    return Reviewer(None, f"{by.kind}:{by.id}", names)


_PART = Provide(part_of, sync_to_thread=False)


def people(handlers: Sequence[Any], right: Action = Action.AUDIT_READ) -> Router:
    """Routes under `/api/audit` for whoever has this right on the log, or on any collection."""
    return Router(
        "/api/audit",
        route_handlers=list(handlers),
        opt={"access": needs_somewhere(right)},
        dependencies={"reviewer": Provide(by_person, sync_to_thread=False), "part": _PART},
        security=BY_KEY,
        tags=["audit"],
    )


def operators(handlers: Sequence[Any]) -> Router:
    """The same routes under `/operator/audit`."""
    return Router(
        "/operator/audit",
        route_handlers=list(handlers),
        opt={"access": OPERATOR},
        dependencies={"reviewer": Provide(by_operator, sync_to_thread=False), "part": _PART},
        include_in_schema=False,
    )
