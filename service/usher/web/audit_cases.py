"""`/api/audit/cases`: exchanges that reviewers look into together, with notes and a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from usher.audit.case_answer import CasePage, CaseTold, Changed
from usher.audit.cases import Query
from usher.audit.questions import Named
from usher.audit.ranges import DEFAULT_LIMIT, Range
from usher.audit.reviewers import Reviewer
from usher.core.cases import Review
from usher.errors import UserError
from usher.services import Services
from usher.web.audit_asking import NO_STORE, instant, operators, people
from usher.web.schema import PROBLEMS, problems
from usher_policy.vocabulary import Action

_NOT_FOUND = problems({404: "There is no such case, or your right does not reach it"})
_CHANGING = {
    **PROBLEMS,
    **problems(
        {
            404: "There is no such case or exchange, or your right does not reach it",
            409: "Somebody has changed the case meanwhile (the problem names the change), or it is decided",
        }
    ),
}


@dataclass(frozen=True, slots=True)
class NewCase:
    """`title` has up to 200 characters."""

    title: str


@dataclass(frozen=True, slots=True)
class CaseQuery:
    """One of: a `document` (or its `path`) that was seen, a `person` or `pseudonym` who saw, or `denied`. As the
    question of that name; `from` and `to` are called `since` and `until`."""

    document: UUID | None = None
    path: str | None = None
    source: str | None = None
    version: int | None = None
    passage: UUID | None = None
    person: str | None = None
    pseudonym: str | None = None
    denied: bool = False
    since: str | None = None
    until: str | None = None
    after: int = 0
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class Addition:
    """`version` is the case's that you have seen. Either `exchanges`, by their audit ids, or a `query`."""

    version: int
    exchanges: list[str] | None = None
    query: CaseQuery | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """`version` is the case's that you have seen; `text` has up to 10,000 characters."""

    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`version` is the case's that you have seen; `text` says why, if you like."""

    version: int
    decision: Review
    text: str | None = None


@get("/cases", responses=PROBLEMS, summary="Cases")
async def list_cases(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    after: Annotated[UUID | None, QueryParameter(description="`next` of the page before")] = None,
    limit: Annotated[int, QueryParameter(description="How many, from 1 to 100")] = DEFAULT_LIMIT,
) -> Response[CasePage]:
    """Those with an exchange that your rights reach, and those that you opened. This reading is itself recorded."""
    return Response(await services.audit.cases.page(reviewer, after, limit), headers=NO_STORE)


@get("/cases/{case:str}", responses={**PROBLEMS, **_NOT_FOUND}, summary="A case with its exchanges and steps")
async def show_case(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], case: FromPath[str]
) -> Response[CaseTold]:
    """The exchanges that your rights reach; what others typed only where they reach all. Itself recorded."""
    return Response(await services.audit.cases.show(reviewer, case), headers=NO_STORE)


@post("/cases", responses=PROBLEMS, summary="Open a case")
async def open_case(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], data: JSONBody[NewCase]
) -> Changed:
    return await services.audit.cases.open(reviewer, data.title)


@post("/cases/{case:str}/exchanges", status_code=200, responses=_CHANGING, summary="Add exchanges to a case")
async def add_exchanges(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    case: FromPath[str],
    data: JSONBody[Addition],
) -> Changed:
    """By their ids, all or none, or those on a page of a question's answer."""
    if (data.exchanges is None) == (data.query is None):
        raise UserError("exchanges", "and a query are two ways to add", "give one of the two")
    if data.query is None:
        return await services.audit.cases.add(reviewer, case, data.version, data.exchanges or [])
    return await services.audit.cases.add_found(reviewer, case, data.version, _query(data.query))


@post("/cases/{case:str}/notes", status_code=200, responses=_CHANGING, summary="Write a note in a case")
async def add_note(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], case: FromPath[str], data: JSONBody[Note]
) -> Changed:
    """Kept sealed, and in no event."""
    return await services.audit.cases.note(reviewer, case, data.version, data.text)


@post("/cases/{case:str}/decision", status_code=200, responses=_CHANGING, summary="Decide a case")
async def decide_case(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    case: FromPath[str],
    data: JSONBody[Decision],
) -> Changed:
    """`fine` and `violation` close it, `needs_more` opens it again. Nobody decides on an exchange of their own."""
    return await services.audit.cases.decide(reviewer, case, data.version, data.decision, data.text)


def _query(asked: CaseQuery) -> Query:
    by_document = asked.document is not None or asked.path is not None
    ways = [by_document, asked.person is not None or asked.pseudonym is not None, asked.denied]
    if sum(ways) != 1 or (asked.document is not None and asked.path is not None):
        raise UserError("query", "asks nothing, or several things", "give a document, a person, or denied")
    return Query(
        named=Named(asked.document, asked.path, asked.source) if by_document else None,
        version=asked.version,
        chunk=asked.passage,
        person=asked.person,
        pseudonym=asked.pseudonym,
        denied=asked.denied,
        part=Range(asked.after, asked.limit, instant("since", asked.since), instant("until", asked.until)),
    )


_HANDLERS = [list_cases, show_case, open_case, add_exchanges, add_note, decide_case]
router = people(_HANDLERS, Action.AUDIT_REVIEW)
operator_router = operators(_HANDLERS)
