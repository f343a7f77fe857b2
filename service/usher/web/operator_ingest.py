"""Ingest over the operator socket: one JSON line for each step, the report last."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Stream

from usher.core.standing import Actor
from usher.ingest import IngestOptions
from usher.services import Services
from usher.web.operator_act import OperatorRequest, operator_of
from usher.web.problems import members_of


@dataclass(frozen=True, slots=True)
class IngestBody:
    """Paths are absolute: the server reads them where it runs."""

    root: Path
    source: str
    sync: bool = False
    collection: str | None = None
    rules: Path | None = None
    acl: Path | None = None
    allow_mass_delete: bool = False


@post("/ingest", status_code=200)
async def ingest(services: NamedDependency[Services], request: OperatorRequest, data: JSONBody[IngestBody]) -> Stream:
    """Take a folder in. The last line is the report, or `{"event": "error", …}` with what was wrong."""
    options = IngestOptions(
        root=data.root,
        source=data.source,
        sync=data.sync,
        collection=data.collection,
        rules=data.rules,
        acl=data.acl,
        allow_mass_delete=data.allow_mass_delete,
    )
    return Stream(_lines(services, options, operator_of(request)), media_type="application/jsonl")


async def _lines(services: Services, options: IngestOptions, by: Actor) -> AsyncIterator[bytes]:
    try:
        async for event in services.ingest.run(options, by):
            yield json.dumps(event).encode() + b"\n"
    except Exception as error:  # the status has gone out: an error can only be a line
        yield json.dumps({"event": "error"} | members_of(error)).encode() + b"\n"
