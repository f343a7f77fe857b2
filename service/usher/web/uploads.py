"""`/api/documents`, changing: a file in, a document moved, a document out, in the collections that you may fill."""

from __future__ import annotations

from os import SEEK_END
from typing import Annotated, Any, BinaryIO, cast
from uuid import UUID

from litestar import Request, Response, delete, post
from litestar.datastructures import State, UploadFile
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import BodyKwarg, FromPath
from pydantic import BaseModel, ConfigDict, Field

from usher.authority import Grant
from usher.errors import UserError
from usher.library import NoSuchDocument
from usher.ports import FileRefused
from usher.services import Services
from usher.shelf_rights import may_fill_any
from usher.uploads import Outcome, Upload, WrongKind
from usher.web.auth import KEY, provide_grant
from usher.web.problems import of_anything, of_user_error
from usher.web.schema import PROBLEMS, example, problems

OVERHEAD = 64 * 1024
"""Bytes of an upload beside its file: boundaries, headers and the other fields."""
PARTS = 8

AnyRequest = Request[Any, Any, State]

_EXAMPLES = example(
    "A page of the travel shelf",
    {"collection": "handbook", "path": "travel/trains.md", "file": "# Trains\n\nTake the train below 400 km.\n"},
)
NOT_FOUND = problems({404: "There is no such document, or you may not read it"})
_PUT = problems(
    {
        409: "Another document is in the way, or others change documents now: try again after `retry-after` seconds",
        413: "The file is larger than is taken",
        415: "The body is no `multipart/form-data`, or the file is of a kind that is not taken",
        422: "The file could not be converted: why, and how to mend it",
    }
)
_ADDED = ResponseSpec(Outcome, generate_examples=False, description="The document was added")
_BUSY = problems({409: "Others change documents now: try again after `retry-after` seconds"})


class UploadForm(BaseModel):
    """Fields that are not listed are refused: who may read a document follows from its collection alone."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    collection: str = Field(max_length=400, description="Where it is shelved, such as `finance/payroll`.")
    file: UploadFile | None = Field(None, description="The file; only a document that moves as it is needs none.")
    path: str | None = Field(None, max_length=4000, description="A plain relative path; default: the file's name.")
    document: str | None = Field(
        None, max_length=100, description="The id of a document that this replaces; it moves to `collection`."
    )


async def _worth_reading(request: AnyRequest) -> None:
    """Before any of the body is read: it may be large."""
    may_fill_any(provide_grant(request.scope))
    if request.content_type[0] != RequestEncodingType.MULTI_PART:
        raise WrongKind("body", "is no form with a file", "send it as multipart/form-data")


async def put_document(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    data: Annotated[
        UploadForm,
        BodyKwarg(media_type=RequestEncodingType.MULTI_PART, multipart_form_part_limit=PARTS, examples=_EXAMPLES),
    ],
) -> Response[Outcome]:
    """Needs `document.ingest` on the collection, and on the one that the document leaves where it moves.

    A document with readers or markings is the operator's to change. Without `document`, the uploaded document of the
    same collection and path is replaced. 201 if a document was added.
    """
    outcome = await services.uploads.put(grant, _upload(data))
    return Response(outcome, status_code=201 if outcome.outcome == "added" else 200)


def _of_lookup(request: AnyRequest, error: LookupError) -> Response[dict[str, Any]]:
    """A part of the form that names a character set which there is not."""
    if type(error) is not LookupError:  # a KeyError, for example, is no mistake of the client's
        return of_anything(request, error)
    return of_user_error(request, UserError("body", "has a part in an unknown character set", "send it as UTF-8"))


@delete(
    "/{document:str}",
    status_code=200,
    opt={"access": KEY},
    responses={**PROBLEMS, **NOT_FOUND, **_BUSY},
    summary="Take a document out",
)
async def delete_document(
    services: NamedDependency[Services], grant: NamedDependency[Grant], document: FromPath[str]
) -> Outcome:
    """Needs `document.ingest` on its collection. It is gone at once, its earlier versions too."""
    return await services.uploads.delete(grant, uuid_of(document))


def _upload(form: UploadForm) -> Upload:
    """An empty field is one that was not filled in."""
    document = uuid_of(form.document) if form.document else None
    if form.file is None:
        return Upload(form.collection, form.path or None, document, None)
    given = form.path or (None if document else form.file.filename)
    spooled = cast("BinaryIO", form.file.file)
    return Upload(form.collection, given, document, _Spooled(spooled), spooled.seek(0, SEEK_END))


class _Spooled:
    """The file of a form, as `Files` of one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, path: str, limit: int) -> bytes:
        self._file.seek(0)
        data = self._file.read(limit + 1)
        if len(data) > limit:
            raise FileRefused(f"it is larger than {limit} bytes", "split it")
        return data


def handlers(max_file_size: int) -> list[HTTPRouteHandler]:
    """The routes that change documents, for files of so many bytes."""
    put = post(
        "/",
        status_code=200,
        opt={"access": KEY},
        request_max_body_size=max_file_size + OVERHEAD,
        before_request=_worth_reading,
        exception_handlers={LookupError: _of_lookup},
        responses={201: _ADDED, **PROBLEMS, **NOT_FOUND, **_PUT},
        summary="Put a document in, replace one, or move one",
    )
    return [put(put_document), delete_document]


def uuid_of(text: str) -> UUID:
    """Raises `NoSuchDocument`: what is no id leads nowhere."""
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchDocument from None
