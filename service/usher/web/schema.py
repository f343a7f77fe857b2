"""`/schema`: the OpenAPI document, public."""

from __future__ import annotations

from litestar import Router

from usher.web.auth import PUBLIC


def schema_router() -> Router:
    """The router that OpenAPI's handlers are added to."""
    return Router("/schema", route_handlers=[], opt={"access": PUBLIC})
