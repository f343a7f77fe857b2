"""`/schema`: the OpenAPI document, public, as JSON (a page that renders it would load scripts from elsewhere)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from litestar import Request, Router
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Example, SecurityScheme

from usher import __version__
from usher.web.auth import PUBLIC
from usher.web.ws_frames import SCHEMA_PATH, chat_schema

PATH = "/schema"
BY_KEY: list[dict[str, list[str]]] = [{"key": []}]
"""For a router's `security`: its routes take an API key."""


@dataclass(frozen=True, slots=True)
class Problem:
    """RFC 9457. `field`, `problem` and `remedy` come with what the caller can mend, `code` with a limit."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    problem: str | None = None
    remedy: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorObject:
    message: str
    type: str
    code: str | None
    param: str | None


@dataclass(frozen=True, slots=True)
class OpenAIError:
    """OpenAI's error. A refusal by policy comes with `x-should-retry: false`."""

    error: ErrorObject


_STATUS = {
    400: "A value is not valid: what and how to mend it",
    401: "No valid key",
    403: "Not allowed to whoever has this key",
    429: "More than one person gets; `retry-after` says in how many seconds to try again",
    503: "Nothing can be answered now, since it could not be recorded or a part does not answer",
}


def _responses(kind: type, media_type: str, status: Mapping[int, str] = _STATUS) -> Mapping[int, ResponseSpec]:
    return {
        number: ResponseSpec(kind, generate_examples=False, description=words, media_type=media_type)
        for number, words in status.items()
    }


def problems(status: Mapping[int, str]) -> Mapping[int, ResponseSpec]:
    """Answers of one's own beside `PROBLEMS`: what each status means here."""
    return _responses(Problem, "application/problem+json", status)


def openai_errors(status: Mapping[int, str]) -> Mapping[int, ResponseSpec]:
    """The same beside `OPENAI_ERRORS`."""
    return _responses(OpenAIError, "application/json", status)


PROBLEMS = _responses(Problem, "application/problem+json")
OPENAI_ERRORS = _responses(OpenAIError, "application/json")


def openapi_config() -> OpenAPIConfig:
    key = SecurityScheme(type="http", scheme="bearer", description="An API key, as `usher key create` prints it.")
    return OpenAPIConfig(
        title="Usher",
        version=__version__,
        summary="Answers made only of what the person who asks may read.",
        components=Components(security_schemes={"key": key}),
        render_plugins=[JsonRenderPlugin()],
        openapi_router=Router(
            PATH, route_handlers=[chat_schema], opt={"access": PUBLIC}, before_request=_known, include_in_schema=False
        ),
    )


def example(summary: str, value: Mapping[str, Any]) -> list[Example]:
    """For a body's `examples`."""
    return [Example(summary=summary, value=dict(value))]


async def _known(request: Request[Any, Any, State]) -> None:
    """The framework would answer any other address below with a page of its own."""
    if request.url.path.rstrip("/") not in (PATH, f"{PATH}/openapi.json", PATH + SCHEMA_PATH):
        raise NotFoundException
