"""`/operator/adapters`: adapters by whoever runs the CLI on the data folder; approving one takes a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from usher.adapters.deciders import Caller
from usher.authority import Grant
from usher.errors import UserError
from usher.services import Services
from usher.web.adapters import DigestBody, caller, listed, shown, whole
from usher.web.adapters_shown import AdapterList, ShownAdapter, WholeAdapter, adapter_id
from usher.web.auth import OPERATOR, Access
from usher.web.operator_act import OperatorRequest, operator_of
from usher_lora.manifest import Gate


@dataclass(frozen=True, slots=True)
class FolderBody:
    """The absolute path of a folder on the server's machine."""

    folder: str


@dataclass(frozen=True, slots=True)
class GateBody:
    """What `usher adapter evaluate` found."""

    gate: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    adapter: str
    problem: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with adapters; empty where nothing is."""

    ok: bool
    findings: list[Found]


@get("")
async def operator_adapters(services: NamedDependency[Services], request: OperatorRequest) -> Response[AdapterList]:
    return await listed(services, operator(request))


@get("/{adapter:str}")
async def operator_adapter(
    services: NamedDependency[Services], request: OperatorRequest, adapter: FromPath[str]
) -> Response[WholeAdapter]:
    return await whole(services, operator(request), adapter)


@post("", status_code=200)
async def operator_register(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[FolderBody]
) -> Response[ShownAdapter]:
    return shown(await services.adapters.registry.register(_folder(data), operator(request)))


@post("", status_code=200)
async def register_as_author(
    services: NamedDependency[Services], grant: NamedDependency[Grant], data: JSONBody[FolderBody]
) -> Response[ShownAdapter]:
    """The author is the person of the key."""
    return shown(await services.adapters.registry.register(_folder(data), caller(grant)))


@post("/check", status_code=200)
async def operator_check(services: NamedDependency[Services]) -> Checked:
    """Every file of every adapter is read."""
    found = await services.adapters.upkeep.check()
    return Checked(not found, [Found(one.adapter, one.problem) for one in found])


@post("/{adapter:str}/evaluated", status_code=200)
async def operator_evaluated(
    services: NamedDependency[Services], request: OperatorRequest, adapter: FromPath[str], data: JSONBody[GateBody]
) -> Response[ShownAdapter]:
    try:
        gate = msgspec.convert(data.gate, Gate)
    except msgspec.ValidationError as error:
        raise UserError("gate", f"is not of its form ({error})", "send what `usher adapter evaluate` found") from None
    return shown(await services.adapters.registry.evaluated(adapter_id(adapter), gate, operator(request)))


@post("/{adapter:str}/publish", status_code=200)
async def operator_publish(
    services: NamedDependency[Services], request: OperatorRequest, adapter: FromPath[str], data: JSONBody[DigestBody]
) -> Response[ShownAdapter]:
    return shown(await services.adapters.registry.publish(adapter_id(adapter), data.digest, operator(request)))


@post("/{adapter:str}/retire", status_code=200)
async def operator_retire(
    services: NamedDependency[Services], request: OperatorRequest, adapter: FromPath[str]
) -> Response[ShownAdapter]:
    return shown(await services.adapters.registry.retire(adapter_id(adapter), operator(request)))


@post("/{adapter:str}/quarantine", status_code=200)
async def operator_quarantine(
    services: NamedDependency[Services], request: OperatorRequest, adapter: FromPath[str]
) -> Response[ShownAdapter]:
    return shown(await services.adapters.registry.quarantine(adapter_id(adapter), operator(request)))


def operator(request: OperatorRequest) -> Caller:
    by = operator_of(request)
    return Caller(None, f"{by.kind}:{by.id}")


def _folder(data: FolderBody) -> Path:
    folder = Path(data.folder)
    if not folder.is_absolute() or "\0" in data.folder:
        raise UserError("folder", "is no absolute path", "give the whole path of the folder on the server's machine")
    return folder


router = Router(
    "/operator/adapters",
    route_handlers=[
        *(operator_adapters, operator_adapter, operator_register, operator_check, operator_evaluated),
        *(operator_publish, operator_retire, operator_quarantine),
    ],
    opt={"access": OPERATOR},
    include_in_schema=False,
)
authored_router = Router(
    "/operator/authored-adapters",
    route_handlers=[register_as_author],
    opt={"access": Access(operator=True, key=True)},
    include_in_schema=False,
)
