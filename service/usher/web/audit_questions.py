"""`/api/audit/who-saw`, `/saw` and `/denied`: the reviewers' questions. Each is recorded before its answer."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from usher.audit.questions import DeniedAnswer, Named, Questions, Range, SeenAnswer
from usher.audit.review import DEFAULT_LIMIT
from usher.audit.reviewers import Reviewer
from usher.authority import Grant
from usher.errors import UserError
from usher.services import Services
from usher.web.audit import TARGET, From, To, instant
from usher.web.auth import OPERATOR, needs
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.schema import BY_KEY, PROBLEMS
from usher_policy.vocabulary import Action

NO_STORE = {"cache-control": "no-store"}
After = Annotated[int, QueryParameter(description="`next` of the page before")]
Limit = Annotated[int, QueryParameter(description="How many, from 1 to 500")]
Names = Annotated[
    bool, QueryParameter(description="People's names, paths and titles beside the ids; takes `audit.identify`")
]
Document = Annotated[str | None, QueryParameter(description="A document's id")]
Path = Annotated[
    str | None, QueryParameter(description="Its path in its source instead of the id; takes `audit.identify`")
]
Source = Annotated[str | None, QueryParameter(description="The path's source, where several have such a path")]
Version = Annotated[int | None, QueryParameter(description="Only passages of this version")]
Passage = Annotated[str | None, QueryParameter(description="Only this passage, by its id, or the whole document")]
Person = Annotated[str | None, QueryParameter(description="A user; takes `audit.identify`")]
Pseudonym = Annotated[str | None, QueryParameter(description="The pseudonym of somebody in the log, instead")]


@get("/who-saw", responses=PROBLEMS, summary="Who was shown a document, when, and in which answer")
async def who_saw(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    document: Document = None,
    path: Path = None,
    source: Source = None,
    version: Version = None,
    passage: Passage = None,
    since: From = None,
    until: To = None,
    after: After = 0,
    limit: Limit = DEFAULT_LIMIT,
    names: Names = False,
) -> Response[SeenAnswer]:
    """Directly, or inherited: from an earlier exchange that stood in the prompt, or was viewed again."""
    reviewer, part = Reviewer(grant, grant.credential.kind, names), _range(after, limit, since, until)
    return await _who_saw(services.questions, reviewer, _named(document, path, source), version, passage, part)


@get("/saw", responses=PROBLEMS, summary="What somebody was shown")
async def saw(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    person: Person = None,
    pseudonym: Pseudonym = None,
    since: From = None,
    until: To = None,
    after: After = 0,
    limit: Limit = DEFAULT_LIMIT,
    names: Names = False,
) -> Response[SeenAnswer]:
    """Questions, searches and views. A name that nobody has was shown nothing."""
    reviewer = Reviewer(grant, grant.credential.kind, names)
    answer = await services.questions.saw(reviewer, person, pseudonym, _range(after, limit, since, until))
    return Response(answer, headers=NO_STORE)


@get("/denied", responses=PROBLEMS, summary="What was denied or refused, and why")
async def denied(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    since: From = None,
    until: To = None,
    after: After = 0,
    limit: Limit = DEFAULT_LIMIT,
    names: Names = False,
) -> Response[DeniedAnswer]:
    reviewer = Reviewer(grant, grant.credential.kind, names)
    return Response(await services.questions.denied(reviewer, _range(after, limit, since, until)), headers=NO_STORE)


@get("/who-saw")
async def operator_who_saw(
    services: NamedDependency[Services],
    request: OperatorRequest,
    document: FromQuery[str | None] = None,
    path: FromQuery[str | None] = None,
    source: FromQuery[str | None] = None,
    version: FromQuery[int | None] = None,
    passage: FromQuery[str | None] = None,
    since: From = None,
    until: To = None,
    after: FromQuery[int] = 0,
    limit: FromQuery[int] = DEFAULT_LIMIT,
    names: FromQuery[bool] = False,
) -> Response[SeenAnswer]:
    by, part = operator_of(request), _range(after, limit, since, until)
    reviewer = Reviewer(None, f"{by.kind}:{by.id}", names)
    return await _who_saw(services.questions, reviewer, _named(document, path, source), version, passage, part)


async def _who_saw(
    questions: Questions, reviewer: Reviewer, named: Named, version: int | None, passage: str | None, part: Range
) -> Response[SeenAnswer]:
    chunk = None if passage is None else _uuid("passage", passage)
    return Response(await questions.who_saw(reviewer, named, version, chunk, part), headers=NO_STORE)


def _named(document: str | None, path: str | None, source: str | None) -> Named:
    if (document is None) == (path is None):
        raise UserError("document", "and its path are two ways to ask", "give one of the two")
    return Named(None if document is None else _uuid("document", document), path, source)


def _uuid(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UserError(name, "is not an id", "copy it from an answer or from the list of documents") from None


def _range(after: int, limit: int, since: str | None, until: str | None) -> Range:
    return Range(after, limit, instant("from", since), instant("to", until))


router = Router(
    "/api/audit",
    route_handlers=[who_saw, saw, denied],
    opt={"access": needs(Action.AUDIT_READ, TARGET)},
    security=BY_KEY,
    tags=["audit"],
)
operator_router = Router(
    "/operator/audit", route_handlers=[operator_who_saw], opt={"access": OPERATOR}, include_in_schema=False
)
