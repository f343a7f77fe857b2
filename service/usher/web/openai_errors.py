"""Errors of `/v1`, in OpenAI's shape. They name the field and the remedy, and quote nothing that was sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from usher.chat_exchange import ACCESS_CHANGED, INTERRUPTED, ChatRefused
from usher.core.history import InvalidMessages
from usher.core.prompt import QuestionTooLong
from usher.core.routing import CHAT_NOT_ALLOWED
from usher.errors import DatabaseUnavailable, UserError
from usher.ledger.log import LedgerUnavailable
from usher.limits import LimitExceeded
from usher.ports import ModelUnavailable, ScopeTooWide, StoreUnavailable
from usher.web.problems import retry_after

_log = structlog.stdlib.get_logger("usher.web")

AnyRequest = Request[Any, Any, Any]

_OUTCOMES: Mapping[str, tuple[int, str, str]] = {
    "model_unavailable": (503, "server_error", "The model does not answer. Try again later."),
    "cancelled": (503, "server_error", "The server is stopping. Ask again in a moment."),
    "unrecorded": (503, "server_error", "Usher cannot record now, and answers nothing unrecorded. Try again later."),
    "unavailable": (503, "server_error", "A part that this needs does not answer. Try again later."),
    INTERRUPTED: (503, "server_error", "The server ended before the answer did. Ask again."),
    "failed": (500, "server_error", "Something failed here. The log has it under the request's id."),
    CHAT_NOT_ALLOWED: (403, "permission_error", "You may not ask here: the policy gives you no chat.ask on sys:chat."),
    ACCESS_CHANGED: (403, "permission_error", "What you may read has changed while this was answered. Ask again."),
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_FIXED = {
    400: "The body is not a JSON object of the form that this address takes.",
    404: "There is no such address.",
    405: "This address does not know that method.",
    413: "The body is larger than 1 MiB: shorten the messages, or leave out earlier turns.",
}


class ModelNotFound(Exception):
    """The client asked for a model other than the one there is."""


def error_body(outcome: str) -> dict[str, Any]:
    """The error object of an exchange that ended without its whole answer."""
    _, kind, message = _OUTCOMES.get(outcome, (403, "permission_error", f"You may not ask this: {outcome}."))
    return {"error": {"message": message, "type": kind, "code": outcome, "param": None}}


def error_response(outcome: str, audit_id: str | None = None) -> Response[dict[str, Any]]:
    """The same as a response; a denial tells clients not to try again."""
    status = _OUTCOMES.get(outcome, (403, "", ""))[0]
    headers = {"x-should-retry": "false"} if status == 403 else {"retry-after": "5"} if status == 503 else {}
    body = error_body(outcome)
    return Response(body | ({"usher": {"audit_id": audit_id}} if audit_id else {}), status_code=status, headers=headers)


def stream_error(error: Exception) -> dict[str, Any]:
    """An error inside a stream that has begun."""
    return error_body(_outcome(error))


def _outcome(error: Exception) -> str:
    if isinstance(error, LedgerUnavailable):
        return "unrecorded"
    if isinstance(error, DatabaseUnavailable | StoreUnavailable | ModelUnavailable | ScopeTooWide):
        return "unavailable"
    _log.error("unexpected", error=error)
    return "failed"


def _error(status: int, message: str, code: str | None, param: str | None = None, **headers: str) -> Response[Any]:
    error = {"message": message, "type": _TYPES.get(status, "invalid_request_error"), "code": code, "param": param}
    return Response({"error": error}, status_code=status, headers=headers)


def _of_user_error(request: AnyRequest, error: UserError) -> Response[Any]:
    return _error(error.status, str(error), "invalid_value", error.field)


def _of_limit(request: AnyRequest, error: LimitExceeded) -> Response[Any]:
    return _error(error.status, str(error), error.code, error.field, **retry_after(error))


def _of_messages(request: AnyRequest, error: InvalidMessages) -> Response[Any]:
    return _error(400, str(error), "invalid_value", error.field)


def _of_long_question(request: AnyRequest, error: QuestionTooLong) -> Response[Any]:
    return _error(400, str(error), "context_length_exceeded", error.field)


def _of_model(request: AnyRequest, error: ModelNotFound) -> Response[Any]:
    return _error(404, "There is one model here: use `assistant`.", "model_not_found", "model")


def _of_refused(request: AnyRequest, error: ChatRefused) -> Response[Any]:
    return error_response(error.code, error.audit_id)


def _of_validation(request: AnyRequest, error: ValidationException) -> Response[Any]:
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    key, what = str(first.get("key", "body")), str(first.get("message", "is not valid"))
    field, what = ("body", "is empty") if key == "data" else (key, what)
    return _error(400, f"{field}: {what}. See /schema for the form of this request.", "invalid_value", field)


def _of_encoding(request: AnyRequest, error: UnicodeDecodeError) -> Response[Any]:
    return _error(400, "The body is not UTF-8: send it as UTF-8.", "invalid_value")


def _of_http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    status = error.status_code
    code = {401: "invalid_api_key", 403: "permission_denied", 413: "request_too_large"}.get(status)
    headers = {"x-should-retry": "false"} if status in (401, 403) else {}
    return _error(status, _FIXED.get(status, error.detail), code, None, **{**(error.headers or {}), **headers})


def _of_anything(request: AnyRequest, error: Exception) -> Response[Any]:
    return error_response(_outcome(error))


HANDLERS: ExceptionHandlersMap = {
    UserError: _of_user_error,
    LimitExceeded: _of_limit,
    InvalidMessages: _of_messages,
    QuestionTooLong: _of_long_question,
    ModelNotFound: _of_model,
    ChatRefused: _of_refused,
    ValidationException: _of_validation,
    UnicodeDecodeError: _of_encoding,
    HTTPException: _of_http,
    Exception: _of_anything,
}
