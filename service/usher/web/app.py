"""The app over the services: its routes, its guard, and what all of them share."""

from __future__ import annotations

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from usher import __version__
from usher.services import Services
from usher.web import audit, documents, health, me, openai, operator, search
from usher.web.auth import authorize, provide_grant, require_access
from usher.web.problems import HANDLERS
from usher.web.schema import schema_router

MAX_BODY = 1024 * 1024
"""Bytes of a request's body, where a route does not say otherwise."""


def build_app(services: Services, operator_too: bool) -> Litestar:
    """People's routes and, on the operator's socket, the operator's."""

    def provide_services() -> Services:
        return services

    handlers = [openai.router, search.router, me.router, documents.router, audit.router, health.router]
    if operator_too:
        handlers += [operator.router, audit.operator_router]
    return Litestar(
        route_handlers=handlers,
        guards=[authorize],
        dependencies={
            "services": Provide(provide_services, sync_to_thread=False),
            "grant": Provide(provide_grant, sync_to_thread=False),
        },
        exception_handlers=HANDLERS,
        on_startup=[require_access],
        state=State({"services": services, "operator": operator_too}),
        request_max_body_size=MAX_BODY,
        openapi_config=_openapi(),
        logging_config=None,
    )


def _openapi() -> OpenAPIConfig:
    """Served under `/schema`."""
    key = SecurityScheme(type="http", scheme="bearer", description="An API key, as `usher key create` prints it.")
    return OpenAPIConfig(
        title="Usher",
        version=__version__,
        summary="Answers made only of what the person who asks may read.",
        components=Components(security_schemes={"key": key}),
        security=[{"key": []}],
        openapi_router=schema_router(),
    )
