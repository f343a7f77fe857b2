"""The app over the services: its routes, its guard, and what all of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import ClientException

from usher.services import Services
from usher.web import (
    adapter_data,
    adapter_serving,
    adapters,
    adapters_operator,
    audit,
    audit_cases,
    audit_comparison,
    audit_erase,
    audit_export,
    audit_holds,
    audit_proof,
    audit_proposals,
    audit_questions,
    audit_replay,
    audit_report,
    audit_unseal,
    chat_ws,
    conversations,
    documents,
    feedback,
    health,
    me,
    metrics,
    openai,
    openai_errors,
    operator,
    policy,
    policy_changes,
    policy_views,
    problems,
    routes_explained,
    search,
)
from usher.web.auth import authorize, provide_grant, require_access
from usher.web.cors import cors
from usher.web.schema import openapi_config

MAX_BODY = 1024 * 1024
"""Bytes of a request's body, where a route does not say otherwise."""


def build_app(services: Services, operator_too: bool) -> Litestar:
    """People's routes and, on the operator's socket, the operator's."""
    shelves = documents.router(services.settings.max_file_size)
    handlers = [openai.router, search.router, me.router, shelves, conversations.router, feedback.router]
    handlers += [audit.router, audit_proof.router, audit_questions.router]
    handlers += [audit_comparison.router, audit_unseal.unseal_router, audit_unseal.uses_router]
    handlers += [audit_cases.router, audit_replay.router, audit_export.router, audit_report.router]
    handlers += [adapters.router, adapter_data.router]
    handlers += [audit_holds.router, audit_proposals.router, audit_erase.router]
    handlers += [
        policy.number,
        policy.router,
        policy_changes.router,
        policy_views.router,
        policy_views.own_router,
    ]
    handlers += [routes_explained.router, health.router, metrics.router, chat_ws.sockets, chat_ws.tickets]
    if operator_too:
        handlers += [routes_explained.operator_router]
        handlers += [adapters_operator.router, adapters_operator.authored_router, adapter_data.operator_router]
        handlers += [adapter_serving.router]
        handlers += [operator.router, audit.operator_router, audit_proof.operator_router]
        handlers += [audit_questions.operator_router, audit_comparison.operator_router, audit_unseal.operator_router]
        handlers += [
            audit_cases.operator_router,
            audit_replay.operator_router,
            audit_export.operator_router,
            audit_report.operator_router,
        ]
        handlers += [
            policy.operator_router,
            policy_changes.operator_router,
            policy_views.operator_router,
        ]
        handlers += [audit_holds.operator_router, audit_proposals.operator_router, audit_erase.operator_router]
    return Litestar(
        route_handlers=handlers,
        guards=[authorize],
        dependencies={
            "services": Provide(_provide_services, sync_to_thread=False),
            "grant": Provide(provide_grant, sync_to_thread=False),
        },
        exception_handlers={Exception: _error_response},
        on_startup=[require_access],
        state=State({"services": services, "operator": operator_too}),
        request_max_body_size=MAX_BODY,
        **cors(services.settings.origins),
        openapi_config=openapi_config(),
        logging_config=None,
    )


def _provide_services(state: State) -> Services:
    services: Services = state.services
    return services


def _error_response(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Every error, also one before a route is found, in its surface's shape: OpenAI's under `/v1`, else a problem."""
    error = ClientException() if _too_deep(error) else error
    handlers = openai_errors.HANDLERS if request.url.path.startswith("/v1/") else problems.HANDLERS
    handle: Callable[..., Response[Any]] = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    return handle(request, error)


def _too_deep(error: Exception) -> bool:
    """The JSON reader gave up: the mistake is the sender's."""
    return isinstance(error, RecursionError) and "deserializing" in str(error)
