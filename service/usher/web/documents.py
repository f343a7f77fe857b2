"""`/api/documents`: what is on the shelves that you may read, and the text that a citation leads to."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from usher.authority import Grant
from usher.errors import UserError
from usher.ports import DocumentInfo, Opened
from usher.services import Services
from usher.web import uploads
from usher.web.auth import needs
from usher.web.schema import BY_KEY, PROBLEMS, problems
from usher.web.uploads import NOT_FOUND, uuid_of
from usher_policy.vocabulary import Action

MAX_LIMIT = 500
NO_STORE = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """`next` goes into `after` for the page that follows; null at the end."""

    documents: list[DocumentInfo]
    next: UUID | None


@dataclass(frozen=True, slots=True)
class PassagePlace:
    """Where a passage begins and ends in `text`, in characters (Unicode code points, not UTF-16 units)."""

    chunk: UUID
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DocumentText(DocumentInfo):
    """A version of a document. `changed` says that a newer one has taken its place since it was quoted."""

    current_version: int
    changed: bool
    text: str
    passage: PassagePlace | None


_READING = {**PROBLEMS, **problems({409: "It changes again and again while it is recorded: ask again"})}


@get("/", responses=_READING, summary="List the documents that you may read")
async def list_documents(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    after: Annotated[UUID | None, QueryParameter(description="`next` of the page before")] = None,
    limit: Annotated[int, QueryParameter(description="How many, from 1 to 500")] = 50,
) -> DocumentPage:
    """Metadata only. Which documents were listed is recorded before the list is given."""
    if not 1 <= limit <= MAX_LIMIT:
        raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_LIMIT}")
    page, more = await services.library.page(grant, after, limit)
    return DocumentPage(page, page[-1].id if more and page else None)


@get("/{document:str}", responses={**_READING, **NOT_FOUND}, summary="One document's text, or a cited passage in it")
async def read_document(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    document: FromPath[str],
    passage: Annotated[
        str | None, QueryParameter(description="A citation's `chunk`: gives the version that was quoted, and the place")
    ] = None,
) -> Response[DocumentText]:
    """A foreign id, an absent one and one that is no id get the same answer. A view is recorded before it is given.

    A passage's version is shown while the document's requirements of now, and those that this version had when it was
    replaced, are all readable for you.
    """
    chunk = None if passage is None else uuid_of(passage)
    return Response(_text(await services.library.read(grant, uuid_of(document), chunk), chunk), headers=NO_STORE)


def _text(opened: Opened, chunk: UUID | None) -> DocumentText:
    about = {field.name: getattr(opened.info, field.name) for field in fields(DocumentInfo)}
    place = None if chunk is None or opened.passage is None else PassagePlace(chunk, *opened.passage)
    changed = opened.info.version != opened.current_version
    return DocumentText(
        **about, current_version=opened.current_version, changed=changed, text=opened.text, passage=place
    )


def router(max_file_size: int) -> Router:
    """All of `/api/documents`, for files of so many bytes."""
    return Router(
        "/api/documents",
        route_handlers=[list_documents, read_document, *uploads.handlers(max_file_size)],
        opt={"access": needs(Action.CHAT_ASK, "sys:chat")},
        security=BY_KEY,
        tags=["documents"],
    )
