"""`/api/audit/export`: events of the log, with what proves them, as one ZIP. Recorded before it is given."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter

from usher.audit.export import ExportQuery
from usher.audit.reviewers import Reviewer
from usher.errors import UserError
from usher.services import Services
from usher.web.audit_asking import NO_STORE, From, To, instant, known, operators, people
from usher.web.closing_stream import ClosingStream
from usher.web.schema import PROBLEMS, problems
from usher_policy.vocabulary import Action

ZIP = "application/zip"
_HEADERS = {**NO_STORE, "content-disposition": 'attachment; filename="usher-export.zip"'}

Types = Annotated[
    list[str] | None, QueryParameter(name="type", description="An event type, such as `answer`; more than one may be")
]
Document = Annotated[str | None, QueryParameter(description="A document's id, which the event or its exchange names")]
Person = Annotated[str | None, QueryParameter(description="A user, whom it names; takes `audit.identify`")]
Pseudonym = Annotated[str | None, QueryParameter(description="Somebody's pseudonym in the log, instead")]
Format = Annotated[
    str, QueryParameter(description="`jsonl`: the events as they are stored; `csv`: a table of them too")
]
Held = Annotated[
    int | None,
    QueryParameter(description="The size of a checkpoint that you hold: the export then proves that it continues it"),
]
_ANSWERS = {
    **PROBLEMS,
    **problems({404: "Nobody of that name is in the log"}),
    200: ResponseSpec(
        bytes, generate_examples=False, description="The export; `usher audit verify FILE` checks it", media_type=ZIP
    ),
}


@get("/export", responses=_ANSWERS, media_type=ZIP, summary="Events of the audit log, with what proves them")
async def export(
    services: NamedDependency[Services],
    reviewer: NamedDependency[Reviewer],
    since: From = None,
    until: To = None,
    types: Types = None,
    document: Document = None,
    person: Person = None,
    pseudonym: Pseudonym = None,
    format: Format = "jsonl",
    held: Held = None,
) -> ClosingStream:
    """Takes `audit.export` and `audit.read`. A ZIP that does not end was given up on the way, and is no export."""
    if format not in ("jsonl", "csv"):
        raise UserError("format", "is not known", "give jsonl or csv")
    query = ExportQuery(
        since=instant("from", since),
        until=instant("to", until),
        types=tuple(types or ()),
        document=None if document is None else known("document", document),
        person=person,
        pseudonym=None if pseudonym is None else known("pseudonym", pseudonym),
        table=format == "csv",
        held=held,
    )
    chunks = (await services.audit.exports.begin(reviewer, query)).chunks()
    return ClosingStream(chunks, chunks.aclose, media_type=ZIP, headers=_HEADERS)


router = people([export], Action.AUDIT_EXPORT)
operator_router = operators([export])
