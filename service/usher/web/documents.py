"""`/api/documents`: what is on the shelves that you may read. Metadata only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, QueryParameter

from usher.authority import Grant
from usher.errors import UserError
from usher.ports import DocumentInfo
from usher.services import Services
from usher.web.auth import needs
from usher.web.schema import BY_KEY, PROBLEMS
from usher_policy.vocabulary import Action

MAX_LIMIT = 500
NO_SUCH = "There is no such document, or you may not read it."


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """`next` goes into `after` for the page that follows; null at the end."""

    documents: list[DocumentInfo]
    next: UUID | None


@get("/", responses=PROBLEMS, summary="List the documents that you may read")
async def list_documents(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    after: Annotated[UUID | None, QueryParameter(description="`next` of the page before")] = None,
    limit: Annotated[int, QueryParameter(description="How many, from 1 to 500")] = 50,
) -> DocumentPage:
    if not 1 <= limit <= MAX_LIMIT:
        raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")
    """Which documents were listed is recorded before the list is given."""
    page, more = await services.retrieve.listed(grant, after, limit)
    return DocumentPage(page, page[-1].id if more and page else None)


@get("/{document:str}", responses=PROBLEMS, summary="One document's metadata")
async def get_document(
    services: NamedDependency[Services], grant: NamedDependency[Grant], document: FromPath[str]
) -> DocumentInfo:
    """A foreign id, an absent one and one that is no id get the same answer. A view is recorded before it is given."""
    try:
        ident = UUID(document)
    except ValueError:
        raise NotFoundException(NO_SUCH) from None
    info = await services.retrieve.document(grant, ident)
    if info is None:
        raise NotFoundException(NO_SUCH)
    return info


router = Router(
    "/api/documents",
    route_handlers=[list_documents, get_document],
    opt={"access": needs(Action.CHAT_ASK, "sys:chat")},
    security=BY_KEY,
    tags=["documents"],
)
