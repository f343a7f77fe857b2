"""An adapter on its way to being served by a real Usher: made of small random weights, and taken on by two people.

Its gate's figures are made up, as its weights are: nothing here says anything of what an adapter remembers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from tests.lora.adapters import LIMITS
from tests.lora.made import MEASURED
from tests.web.registry_kit import trained

from usher_lora.gates import Bounds, judge
from usher_lora.lineage import Learned, lineage
from usher_lora.manifest import Gate

BASE = LIMITS.base_model
NAME = "support"


def rules(names: Sequence[str], people: Sequence[str]) -> str:
    """Each person may use one of the adapters, by turns; the lead decides on all of them."""
    lines = [f"p, role:user{n}, adapter:{name}, adapter.use, allow, always" for n, name in enumerate(names)]
    for act in ("approve", "publish"):
        lines += [f"p, role:lead, adapter:{name}, adapter.{act}, allow, always" for name in names]
    lines += [f"g, user:{person}, role:user{n % len(names)}" for n, person in enumerate(people)]
    return "\n".join([*lines, "g, user:lead, role:lead", ""])


def routing(names: Sequence[str]) -> str:
    """Each question is answered by whichever of them its asker may use."""
    return f"rules:\n  - {{name: support, route: adapter, adapters: [{', '.join(names)}]}}\n"


CURRENT = """\
SELECT d.id, d.version, d.access_class, v.digest FROM document d
JOIN document_version v ON v.document = d.id AND v.version = d.version"""
"""Every document as a lineage names it."""

Operator = Callable[[str, Any], Awaitable[Any]]
Approve = Callable[[str, str], Awaitable[None]]


async def published(
    folder: Path,
    operator: Operator,
    approve: Approve,
    files: Mapping[str, bytes] | None = None,
    name: str = NAME,
    documents: Sequence[Learned] | None = None,
) -> tuple[str, str]:
    """Its id and its served name. `approve` is given id and digest, as the lead; `files` are the adapter's, else they
    are small; `name` is what policy calls it; it learned `documents`, or all those of the data folder `folder/home`."""
    made = str(uuid4())
    run = trained(
        folder / made,
        lineage(_learned(folder / "home") if documents is None else documents),
        held=files,
        name=name,
        made=made,
    )
    draft = await operator("/operator/adapters", {"folder": str(run)})
    gate = Gate(draft["name"], MEASURED, Bounds(), judge(Bounds(), MEASURED))
    ready = await operator(f"/operator/adapters/{draft['id']}/evaluated", {"gate": msgspec.to_builtins(gate)})
    await approve(draft["id"], ready["digest"])
    done = await operator(f"/operator/adapters/{draft['id']}/publish", {"digest": ready["digest"]})
    if not done["serves"]:
        raise SystemExit(f"the adapter is not served: {done}")
    return done["id"], done["name"]


def _learned(home: Path) -> list[Learned]:
    """Every document of the data folder, as it is now."""
    with closing(sqlite3.connect(home / "usher.sqlite")) as connection:
        rows = connection.execute(CURRENT).fetchall()
    return [Learned(UUID(ident), *rest) for ident, *rest in rows]
