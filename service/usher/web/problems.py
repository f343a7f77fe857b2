"""Errors outside `/v1`: RFC 9457 problems. They say what to do, and nothing of what is inside."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from usher.errors import DatabaseUnavailable, UserError
from usher.ledger.log import LedgerUnavailable
from usher.ledger.subjects import Erased
from usher.limits import LimitExceeded
from usher.outbox import ChangePending
from usher.ports import ModelUnavailable, ScopeTooWide, StoreUnavailable

MEDIA_TYPE = "application/problem+json"
RETRY = {"retry-after": "5"}

_log = structlog.stdlib.get_logger("usher.web")

_FIXED = {
    400: "The request is not well formed.",
    405: "This address does not know that method.",
    415: "This address does not take that media type.",
    429: "Too many requests.",
    500: "Something failed here. The log has it under the request's id.",
}
"""Words for errors that the framework raises; its own may quote the address or the body."""

_UNRECORDED = "Usher cannot record now, and does nothing unrecorded. Try again later."

_PENDING = (
    "Usher cannot record now. The change is kept, though: it takes effect once it can be recorded, before the next "
    "change or at the next start. Until then what it takes away is denied, and what it gives is not yet given."
)

_OURS = frozenset({401, 403, 404})
"""Only Usher's own code raises these with words of its own."""


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: str
) -> Response[dict[str, Any]]:
    """A problem whose type is its status (`about:blank`); `members` are extension members such as `field`."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    filled = {name: text for name, text in members.items() if text}
    return Response(body | filled, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def retry_after(error: UserError) -> dict[str, str]:
    """The header, where waiting helps."""
    return {} if error.retry_after is None else {"retry-after": str(error.retry_after)}


def of_user_error(request: Request[Any, Any, Any], error: UserError) -> Response[dict[str, Any]]:
    words = {"field": error.field, "problem": error.problem, "remedy": error.remedy}
    return problem(error.status, str(error), headers=retry_after(error), **words)


def of_limit(request: Request[Any, Any, Any], error: LimitExceeded) -> Response[dict[str, Any]]:
    words = {"field": error.field, "problem": error.problem, "remedy": error.remedy, "code": error.code}
    return problem(error.status, str(error), headers=retry_after(error), **words)


def of_validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[dict[str, Any]]:
    """The first field that the framework refused. Its message names types and limits, not values."""
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    field, what = str(first.get("key", "")), str(first.get("message", "is not valid"))
    return of_user_error(
        request, UserError(field or "body", f"is not valid ({what})", "see /schema for what this address takes")
    )


def of_encoding(request: Request[Any, Any, Any], error: UnicodeDecodeError) -> Response[dict[str, Any]]:
    """The body's bytes are no text; the JSON reader lets this one through as it is."""
    return of_user_error(request, UserError("body", "is not UTF-8", "send it as UTF-8"))


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    status = error.status_code
    phrase = HTTPStatus(status).phrase
    detail = error.detail if status in _OURS and error.detail else _FIXED.get(status, phrase)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        bound = request.route_handler.resolve_request_max_body_size()
        detail = f"The body is larger than the {bound:,} bytes that this address takes."
    return problem(status, detail, headers=error.headers)


def of_ledger(request: Request[Any, Any, Any], error: LedgerUnavailable) -> Response[dict[str, Any]]:
    _log.error("ledger_unavailable", error=error)
    if isinstance(error, ChangePending):
        return problem(503, _PENDING)
    return problem(503, _UNRECORDED, headers=RETRY)


def of_part(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    _log.error("part_unavailable", error=error)
    return problem(503, "A part that this needs does not answer. Try again later.", headers=RETRY)


def of_erased(request: Request[Any, Any, Any], error: Erased) -> Response[dict[str, Any]]:
    """Whom somebody met on the way to something else. It is no failure, and it stays so."""
    return problem(410, "It was erased with the person whose it was; an `erasure` event says so.")


def of_scope(request: Request[Any, Any, Any], error: ScopeTooWide) -> Response[dict[str, Any]]:
    return problem(503, str(error))


def of_anything(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    _log.error("unexpected", error=error)
    return problem(500, _FIXED[500])


def members_of(error: Exception) -> dict[str, str]:
    """An error as members of a line of a stream that has already begun."""
    if isinstance(error, UserError):
        return {"field": error.field, "problem": error.problem, "remedy": error.remedy}
    if isinstance(error, LedgerUnavailable):
        return {"problem": _PENDING if isinstance(error, ChangePending) else _UNRECORDED}
    _log.error("unexpected", error=error)
    return {"problem": _FIXED[500]}


HANDLERS: ExceptionHandlersMap = {
    UserError: of_user_error,
    LimitExceeded: of_limit,
    ValidationException: of_validation,
    UnicodeDecodeError: of_encoding,
    HTTPException: of_http,
    LedgerUnavailable: of_ledger,
    Erased: of_erased,
    DatabaseUnavailable: of_part,
    StoreUnavailable: of_part,
    ModelUnavailable: of_part,
    ScopeTooWide: of_scope,
    Exception: of_anything,
}
"""For the app's `exception_handlers`."""
