"""What the tests of the registry share: a company in which some decide on adapters, and what a training wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from msgspec.structs import replace
from tests.lora.adapters import LIMITS, config, files
from tests.lora.made import MEASURED
from tests.web.world import DOCUMENTS, World, world

from usher.adapters.deciders import Caller
from usher.backends.memory import MemoryStore
from usher.core.adapters import Registered
from usher_lora.adapter_files import opened
from usher_lora.canonical import encode, sha256
from usher_lora.gates import Bounds, Measured, judge
from usher_lora.lineage import Learned, Lineage, canonical, lineage
from usher_lora.manifest import Base, Gate, Identity, MadeFor, Manifest
from usher_lora.weights import inspect

OPERATOR = Caller(None, "operator:uid:0")
DECIDERS = (
    "p, role:trainer, adapter:support, adapter.train, allow, always",
    "p, role:lead, adapter:support, adapter.approve, allow, always",
    "p, role:lead, adapter:support, adapter.publish, allow, always",
    "p, role:elsewhere, adapter:sales, adapter.approve, allow, always",
    "g, user:alice, role:trainer",
    "g, user:alice, role:lead",
    "g, user:carol, role:lead",
    "g, user:erin, role:elsewhere",
)
"""alice trains and leads, carol leads; erin decides on another adapter; bob and dave on none."""
MADE = "0198c0de-0000-7000-8000-000000000001"


def with_model_server(patch: pytest.MonkeyPatch) -> None:
    """Settings that name one; nobody asks it."""
    patch.setenv("USHER_MODEL", LIMITS.base_model)
    patch.setenv("USHER_MODEL_URL", "http://127.0.0.1:9/v1")


@contextmanager
def company(folder: Path, documents: Mapping[str, str] = DOCUMENTS) -> Iterator[tuple[World, MemoryStore]]:
    """The world over a model server that takes adapters, and its store."""
    store = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        with_model_server(patch)
        with world(folder, documents=documents, store=store) as usher:
            usher.run(usher.apply_also(*DECIDERS))
            yield usher, store


def learned(usher: World, path: str, who: str = "carol", **more: Any) -> Learned:
    """One version of a document as a lineage names it."""
    listed: Sequence[Mapping[str, Any]] = usher.ask("GET", "/api/documents", who).json()["documents"]
    found = next(one for one in listed if one["path"] == path)
    ident = UUID(found["id"])
    classes = usher.run(usher.services.documents.current_classes([ident]))[ident]
    given: dict[str, Any] = {
        "document": ident,
        "version": found["version"],
        "access_class": classes[0],
        "digest": hashlib.sha256(DOCUMENTS[path].encode()).hexdigest(),
    }
    return Learned(**given | more)


def trained(
    folder: Path,
    line: Lineage,
    *,
    held: Mapping[str, bytes] | None = None,
    name: str = "support",
    made: str = MADE,
    exchanges: Sequence[tuple[str, str]] = (),
    asked: MadeFor | None = None,
    own: Lineage | None = None,
    **lies: Any,
) -> Path:
    """What a training writes, in this folder; `exchanges` (whose, which) are those in its training set, `asked` is what
    that was made for, `own` is the lineage of that where more is inherited, `lies` are fields of the identity that are
    told otherwise."""
    weights = folder / "adapter"
    weights.mkdir(parents=True)
    for file, data in (files() if held is None else held).items():
        (weights / file).write_bytes(data)
    named = {"lineage.json": sha256(canonical(own or line))}
    training_set = encode({"examples": 120, "exchanges": exchanges, "files": named, "made_for": asked})
    with opened(weights) as inside:
        found = inspect(inside, LIMITS)
    identity = Identity(
        name=name,
        made=made,
        base=Base(LIMITS.base_model, "ab" * 32),
        files=found.files,
        peft=found.peft,
        training_set=sha256(training_set),
        lineage=line.digest,
        recipe="cd" * 32,
        made_for=asked,
    )
    (folder / "manifest.json").write_bytes(encode(Manifest(replace(identity, **lies))))
    (folder / "lineage.json").write_bytes(canonical(line))
    (folder / "training_set.json").write_bytes(training_set)
    if own is not None:
        (folder / "training_lineage.json").write_bytes(canonical(own))
    return folder


def spoilt(folder: Path, lineage: Lineage, name: str, data: bytes) -> Path:
    """A sound training in which one file of the adapter is then written over."""
    trained(folder, lineage)
    (folder / "adapter" / name).write_bytes(data)
    return folder


def gave(usher: World, who: str, train: bool = True) -> str:
    """An exchange of theirs, with a good word, that adapters may learn from."""
    exchange = str(usher.chat("How many days of leave are there?", who).json()["usher"]["audit_id"])
    give(usher, who, exchange, train=train)
    return exchange


def give(usher: World, who: str, exchange: str, *, train: bool) -> None:
    body = {"exchange": exchange, "verdict": "up", "train": train}
    answer = usher.ask("POST", "/api/feedback", who, json=body)
    assert answer.status_code == 201, answer.json()


def handbook(usher: World) -> Lineage:
    """Two documents that everybody may read, as they are now."""
    return lineage([learned(usher, "handbook/holidays.md"), learned(usher, "handbook/hotels.md")])


def gate_of(one: Registered, measured: Measured = MEASURED) -> Gate:
    return Gate(one.name, measured, Bounds(), judge(Bounds(), measured))


async def as_person(usher: World, user: str) -> Caller:
    grant = await usher.services.authority.admit(usher.keys[user])
    assert grant is not None
    return Caller(grant, "key")


async def registered(usher: World, folder: Path, by: str | None = "alice") -> Registered:
    caller = OPERATOR if by is None else await as_person(usher, by)
    return await usher.services.adapters.registry.register(folder, caller)


async def evaluated(usher: World, one: Registered) -> Registered:
    return await usher.services.adapters.registry.evaluated(one.id, gate_of(one), OPERATOR)


async def served(usher: World, folder: Path) -> Registered:
    """Made by alice, approved and published by carol."""
    registry, carol = usher.services.adapters.registry, await as_person(usher, "carol")
    one = await evaluated(usher, await registered(usher, folder))
    assert one.digest is not None
    await registry.approve(one.id, one.digest, carol)
    return await registry.publish(one.id, one.digest, carol)


def published(usher: World) -> list[str]:
    return [one.name for one in usher.run(usher.services.adapters.store.published())]


def lying(usher: World) -> list[str]:
    """What lies in the folder of weights."""
    root = usher.services.settings.adapters_path
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


def adapter_events(usher: World) -> list[dict[str, Any]]:
    return [event for event in usher.events() if event["type"] == "adapter"]


def other_config(**changes: object) -> bytes:
    return config(**changes)


def told(one: Registered) -> dict[str, Any]:
    """The body of a request that says what the gate found."""
    return {"gate": msgspec.to_builtins(gate_of(one))}


def fresh() -> str:
    return str(uuid4())
