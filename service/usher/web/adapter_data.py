"""`/api/adapters/plan` and `/api/adapters/datasets`: which adapters would do, and what one is trained on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Stream

from usher.adapters.datasets import STRUCTURE, DataSets, Progress, Ready
from usher.adapters.deciders import Caller
from usher.adapters.material import Wanted
from usher.authority import Grant
from usher.services import Services
from usher.web.adapters import caller
from usher.web.adapters_operator import operator
from usher.web.audit_questions import NO_STORE
from usher.web.auth import ADAPTERS, OPERATOR, POLICY
from usher.web.operator_act import OperatorRequest
from usher.web.problems import members_of
from usher.web.schema import BY_KEY, PROBLEMS
from usher_lora.plan import HEADER, Plan, table

PIECE: Final = 256 * 1024
"""Characters of a file in one line."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan, and the same as a table: `rows` under `header`."""

    plan: Plan
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class DataSetBody:
    """`role` and `collections` as policy names them; `makers` are of `structure`, `model`, `exchanges`. `seed` draws
    the split. `name`: the adapter's; a person has the right to train `adapter:<name>`."""

    role: str
    collections: list[str]
    makers: list[str] = field(default_factory=lambda: [STRUCTURE])
    seed: int = 1
    name: str | None = None


@get("/plan", opt={"access": POLICY}, responses=PROBLEMS, summary="Which adapters would do")
async def adapter_plan(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> Response[Planned]:
    """From the policy and the documents of now: roles that may read the same, what an adapter of theirs would learn and
    leave to retrieval, how many could use it, and what it would save. Takes `policy.read` on everything."""
    return await planned(services, caller(grant))


@post("/datasets", status_code=200, responses=PROBLEMS, summary="Make a data set for an adapter")
async def adapter_dataset(
    services: NamedDependency[Services], grant: NamedDependency[Grant], data: JSONBody[DataSetBody]
) -> Stream:
    """JSON lines: how far it is, the files in pieces, and the report as the last one. Takes `adapter.train` on the
    adapter that is named; only what you may read yourself is in it."""
    return await streamed(services.learning.datasets, data, caller(grant))


@get("/plan")
async def operator_plan(services: NamedDependency[Services], request: OperatorRequest) -> Response[Planned]:
    return await planned(services, operator(request))


@post("/datasets", status_code=200)
async def operator_dataset(
    services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[DataSetBody]
) -> Stream:
    return await streamed(services.learning.datasets, data, operator(request))


async def planned(services: Services, by: Caller) -> Response[Planned]:
    made = await services.learning.planning.plan(by)
    return Response(Planned(made, HEADER, table(made)), headers=NO_STORE)


async def streamed(datasets: DataSets, data: DataSetBody, by: Caller) -> Stream:
    """What is refused before anything was read is a problem with its status, and no line."""
    wanted = Wanted(data.role, tuple(sorted(set(data.collections))), frozenset(data.makers), data.seed, data.name)
    steps = datasets.steps(wanted, by)
    first = await anext(steps)
    return Stream(_lines(first, steps), media_type="application/jsonl", headers=NO_STORE)


async def _lines(first: Progress | Ready, steps: AsyncIterator[Progress | Ready]) -> AsyncIterator[bytes]:
    try:
        for line in _told(first):
            yield line
        async for step in steps:
            for line in _told(step):
                yield line
    except Exception as error:  # the status has gone out: an error can only be a line
        yield _line("error", members_of(error))


def _told(step: Progress | Ready) -> Iterator[bytes]:
    if isinstance(step, Progress):
        yield _line("progress", {"done": step.done, "total": step.total})
        return
    for name, data in sorted(step.made.files.items()):
        text = data.decode()
        for at in range(0, max(len(text), 1), PIECE):
            yield _line("file", {"name": name, "text": text[at : at + PIECE]})
    card = msgspec.to_builtins(step.made.card)
    figures = {"digest": step.made.digest, "lineage": step.made.lineage.digest, "holders": step.holders}
    yield _line("report", {**figures, "refused_classes": step.refused, "card": card})


def _line(event: str, told: dict[str, Any]) -> bytes:
    return json.dumps({"event": event} | told).encode() + b"\n"


router = Router(
    "/api/adapters",
    route_handlers=[adapter_plan, adapter_dataset],
    opt={"access": ADAPTERS},
    security=BY_KEY,
    tags=["adapters"],
)
operator_router = Router(
    "/operator/adapters",
    route_handlers=[operator_plan, operator_dataset],
    opt={"access": OPERATOR},
    include_in_schema=False,
)
