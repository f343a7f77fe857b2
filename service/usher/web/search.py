"""`/api/search`: permitted passages that fit a question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.exceptions import PermissionDeniedException
from litestar.params import BodyKwarg, QueryParameter

from usher.authority import Grant
from usher.retrieve import DEFAULT_K, SearchAnswer
from usher.services import Services
from usher.web.auth import KEY
from usher.web.schema import BY_KEY, PROBLEMS, example

_EXAMPLES = example("The three best passages", {"q": "How much may a hotel cost per night?", "k": 3})


@dataclass(frozen=True, slots=True)
class SearchBody:
    """A question of up to 8,000 characters; `k` counts passages, from 1 to 100."""

    q: str
    k: int = DEFAULT_K


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A passage. `path` is relative to its source's root."""

    document: UUID
    path: str
    title: str
    chunk: UUID
    text: str
    score: float
    headings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SearchResult:
    policy_version: int
    audit_id: str
    hits: list[SearchHit]


@post("/", status_code=200, responses=PROBLEMS, summary="Search the documents that you may read")
async def search(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    data: Annotated[SearchBody, BodyKwarg(media_type=RequestEncodingType.JSON, examples=_EXAMPLES)],
) -> SearchResult:
    return _result(await services.retrieve.search(grant, data.q, data.k))


@get("/", responses=PROBLEMS, summary="Search, for scripts")
async def search_by_query(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    q: Annotated[str, QueryParameter(description="The question, up to 8,000 characters")] = "",
    k: Annotated[int, QueryParameter(description="How many passages, from 1 to 100")] = DEFAULT_K,
) -> SearchResult:
    return _result(await services.retrieve.search(grant, q, k))


def _result(answer: SearchAnswer) -> SearchResult:
    if answer.denied is not None:
        raise PermissionDeniedException(f"You may not search: {answer.denied}.")
    scores = answer.retrieved.scores
    hits = [
        SearchHit(
            document=passage.document,
            path=passage.path,
            title=passage.title,
            chunk=passage.label.chunk,
            text=passage.text,
            score=scores[passage.label.chunk],
            headings=list(passage.headings),
        )
        for passage in answer.retrieved.passages
    ]
    return SearchResult(answer.policy_version, answer.audit_id, hits)


router = Router(
    "/api/search", route_handlers=[search, search_by_query], opt={"access": KEY}, security=BY_KEY, tags=["search"]
)
