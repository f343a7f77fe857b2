"""`/api/audit/who-saw`, `/saw`, `/denied`, `/by-adapter`, `/touched`: the reviewers' questions. Each is recorded before
its answer."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from usher.audit.questions import DeniedAnswer, Named, SeenAnswer
from usher.audit.ranges import Range
from usher.audit.reviewers import Reviewer
from usher.errors import UserError
from usher.services import Services
from usher.web.audit_asking import NO_STORE as NO_STORE
from usher.web.audit_asking import Names as Names
from usher.web.audit_asking import Person, Pseudonym, known, operators, people
from usher.web.schema import PROBLEMS

Document = Annotated[str | None, QueryParameter(description="A document's id")]
Path = Annotated[
    str | None, QueryParameter(description="Its path in its source instead of the id; takes `audit.identify`")
]
Source = Annotated[str | None, QueryParameter(description="The path's source, where several have such a path")]
Version = Annotated[int | None, QueryParameter(description="Only passages of this version")]
Passage = Annotated[str | None, QueryParameter(description="Only this passage, by its id, or the whole document")]
Adapter = Annotated[str, QueryParameter(description="Its name in the policy, or its served name with its digest")]
Marking = Annotated[str, QueryParameter(description="Such as `mark:pii`")]


@get("/who-saw", responses=PROBLEMS, summary="Who was shown a document, when, and in which answer")
async def who_saw(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    part: NamedDependency[Range],
    document: Document = None,
    path: Path = None,
    source: Source = None,
    version: Version = None,
    passage: Passage = None,
) -> Response[SeenAnswer]:
    """Directly, or inherited: from an earlier exchange that stood in the prompt, was asked again, or viewed."""
    named = _named(document, path, source)
    chunk = None if passage is None else known("passage", passage)
    return Response(await services.audit.questions.who_saw(reviewer, named, version, chunk, part), headers=NO_STORE)


@get("/saw", responses=PROBLEMS, summary="What somebody was shown")
async def saw(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    part: NamedDependency[Range],
    person: Person = None,
    pseudonym: Pseudonym = None,
) -> Response[SeenAnswer]:
    """Questions, searches and views. A name that nobody has was shown nothing."""
    return Response(await services.audit.questions.saw(reviewer, person, pseudonym, part), headers=NO_STORE)


@get("/denied", responses=PROBLEMS, summary="What was denied or refused, and why")
async def denied(
    services: NamedDependency[Services], reviewer: NamedDependency[Reviewer], part: NamedDependency[Range]
) -> Response[DeniedAnswer]:
    return Response(await services.audit.questions.denied(reviewer, part), headers=NO_STORE)


@get("/by-adapter", responses=PROBLEMS, summary="Every answer of an adapter")
async def by_adapter(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    part: NamedDependency[Range],
    adapter: Adapter,
) -> Response[SeenAnswer]:
    return Response(await services.audit.questions.by_adapter(reviewer, adapter, part), headers=NO_STORE)


@get("/touched", responses=PROBLEMS, summary="Everything that touched a marking")
async def touched(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    part: NamedDependency[Range],
    marking: Marking,
) -> Response[SeenAnswer]:
    """Whatever found, showed or inherited a document that had the marking then."""
    return Response(await services.audit.questions.touched(reviewer, marking, part), headers=NO_STORE)


def _named(document: str | None, path: str | None, source: str | None) -> Named:
    if (document is None) == (path is None):
        raise UserError("document", "and its path are two ways to ask", "give one of the two")
    return Named(None if document is None else known("document", document), path, source)


HANDLERS = (who_saw, saw, denied, by_adapter, touched)
router = people(HANDLERS)
operator_router = operators(HANDLERS)
