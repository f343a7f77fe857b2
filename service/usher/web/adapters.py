"""`/api/adapters`: who takes adapters on, and who stops them. What somebody has no right over is absent to them."""

from __future__ import annotations

from dataclasses import dataclass

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from usher.adapters.deciders import Caller
from usher.authority import Grant
from usher.core.adapters import Registered
from usher.services import Services
from usher.web.adapters_shown import AdapterList, ShownAdapter, WholeAdapter, adapter_id
from usher.web.audit_questions import NO_STORE
from usher.web.auth import ADAPTERS
from usher.web.schema import BY_KEY, PROBLEMS, problems

STANDS = problems({404: "There is no such adapter", 409: "As it stands, this cannot be done"})


@dataclass(frozen=True, slots=True)
class DigestBody:
    """The `digest` that stands beside the gate that you looked at: of exactly this adapter with exactly that gate."""

    digest: str


@get("", responses=PROBLEMS, summary="The adapters that you may decide on")
async def adapters(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> Response[AdapterList]:
    return await listed(services, caller(grant))


@get("/{adapter:str}", responses={**PROBLEMS, **STANDS}, summary="One adapter, with its manifest")
async def adapter(
    services: NamedDependency[Services], grant: NamedDependency[Grant], adapter: FromPath[str]
) -> Response[WholeAdapter]:
    return await whole(services, caller(grant), adapter)


@post("/{adapter:str}/approve", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Approve it")
async def approve(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    adapter: FromPath[str],
    data: JSONBody[DigestBody],
) -> Response[ShownAdapter]:
    """By somebody else than made it."""
    return shown(await services.adapters.registry.approve(adapter_id(adapter), data.digest, caller(grant)))


@post("/{adapter:str}/publish", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Have it served")
async def publish(
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    adapter: FromPath[str],
    data: JSONBody[DigestBody],
) -> Response[ShownAdapter]:
    """Its files, its base, what it learned, its gate and its approval are judged again."""
    return shown(await services.adapters.registry.publish(adapter_id(adapter), data.digest, caller(grant)))


@post("/{adapter:str}/retire", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Have it served no more")
async def retire(
    services: NamedDependency[Services], grant: NamedDependency[Grant], adapter: FromPath[str]
) -> Response[ShownAdapter]:
    return shown(await services.adapters.registry.retire(adapter_id(adapter), caller(grant)))


@post("/{adapter:str}/quarantine", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Stop it everywhere")
async def quarantine(
    services: NamedDependency[Services], grant: NamedDependency[Grant], adapter: FromPath[str]
) -> Response[ShownAdapter]:
    """By anybody who may decide anything on it."""
    return shown(await services.adapters.registry.quarantine(adapter_id(adapter), caller(grant)))


@post("/{adapter:str}/reopen", status_code=200, responses={**PROBLEMS, **STANDS}, summary="Let it begin again")
async def reopen(
    services: NamedDependency[Services], grant: NamedDependency[Grant], adapter: FromPath[str]
) -> Response[ShownAdapter]:
    """As a draft, by somebody else than made it."""
    return shown(await services.adapters.registry.reopen(adapter_id(adapter), caller(grant)))


def caller(grant: Grant) -> Caller:
    return Caller(grant, grant.credential.kind)


async def listed(services: Services, by: Caller) -> Response[AdapterList]:
    found = await services.adapters.registry.all(by)
    return Response(AdapterList.of(found), headers=NO_STORE)


async def whole(services: Services, by: Caller, adapter: str) -> Response[WholeAdapter]:
    ident = adapter_id(adapter)
    one = await services.adapters.registry.get(ident, by)
    lineage = await services.adapters.registry.lineage(ident, by)
    return Response(WholeAdapter.of(one, lineage), headers=NO_STORE)


def shown(one: Registered) -> Response[ShownAdapter]:
    return Response(ShownAdapter.of(one), headers=NO_STORE)


router = Router(
    "/api/adapters",
    route_handlers=[adapters, adapter, approve, publish, retire, quarantine, reopen],
    opt={"access": ADAPTERS},
    security=BY_KEY,
    tags=["adapters"],
)
