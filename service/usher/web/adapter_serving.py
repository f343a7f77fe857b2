"""`/operator/adapter-serving`: what model servers are to have, and what they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from usher.core.serve_config import ToServe, serve_config
from usher.errors import UserError
from usher.services import Services
from usher.web.auth import OPERATOR


@dataclass(frozen=True, slots=True)
class ShownServer:
    """A model server as it was last seen. `problem` is empty where all is well."""

    server: str
    ready: list[str]
    missing: list[str]
    leaving: list[str]
    problem: str


@dataclass(frozen=True, slots=True)
class ServerList:
    """`loads`: Usher loads and unloads adapters while they run."""

    loads: bool
    servers: list[ShownServer]


@get("")
async def operator_servers(services: NamedDependency[Services]) -> ServerList:
    """After a look at each of them."""
    serving = services.adapters.serving
    await serving.converge()
    shown = [
        ShownServer(one.server, list(one.ready), list(one.missing), list(one.leaving), one.problem)
        for one in serving.shown()
    ]
    return ServerList(services.settings.model_load_token is not None, shown)


@get("/config")
async def operator_config(services: NamedDependency[Services], at: FromQuery[str | None] = None) -> dict[str, Any]:
    """vLLM's flags for what is published now; `at` is where the server sees the folder of adapters."""
    settings, adapters = services.settings, services.adapters
    if settings.model is None:
        raise UserError("USHER_MODEL", "is not set, so nothing serves adapters", "name the model server's base")
    published = {one.id for one in await adapters.store.published()}
    folder = (at or str(settings.adapters_path)).rstrip("/")
    served = [
        ToServe(one.name, f"{folder}/{one.id}", one.identity.peft.highest_rank)
        for one in await adapters.store.all()
        if one.id in published
    ]
    loads = settings.model_load_token is not None
    return serve_config(settings.model, settings.model_context_tokens, settings.adapter_max_rank, served, loads=loads)


router = Router(
    "/operator/adapter-serving",
    route_handlers=[operator_servers, operator_config],
    opt={"access": OPERATOR},
    include_in_schema=False,
)
