"""Adapters as HTTP shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import msgspec

from usher.adapters.acts import NoSuchAdapter
from usher.core.adapters import Registered, to_train_anew
from usher_lora.lineage import Lineage
from usher_lora.manifest import MadeFor, split_served_name

_DIGEST = 64


@dataclass(frozen=True, slots=True)
class ShownAdapter:
    """An adapter and how it stands: `draft`, `evaluated`, `approved`, `published`, `retired` or `quarantined` (`alarm`
    says why). People are pseudonyms, or the operator.

    `gate` is what the gate said (`passed`, `failed`, `inconclusive`; null before it was run) and `reasons` the bounds
    that were not kept. `digest` is of what is approved: this adapter with this gate. `stale`: why what it learned may
    no longer be known; such a one is to be trained anew, on a data set that is `made_for` the same. `serves`: it is
    published, and nothing on its way says otherwise.
    """

    id: str
    name: str
    policy_object: str
    state: str
    serves: bool
    base: str
    rank: int
    digest: str | None
    gate: str | None
    reasons: list[str]
    author: str
    approved_by: str | None
    alarm: str | None
    stale: list[str]
    made_for: MadeFor | None
    created_at: datetime

    @classmethod
    def of(cls, one: Registered) -> Self:
        entry, identity = one.entry, one.identity
        verdict = None if entry.gate is None else entry.gate.verdict
        return cls(
            id=one.id,
            name=one.name,
            policy_object=one.policy_object,
            state=entry.state.value,
            serves=one.serves,
            base=identity.base.model,
            rank=identity.peft.highest_rank,
            digest=one.digest,
            gate=None if verdict is None else verdict.outcome.value,
            reasons=[] if verdict is None else list(verdict.reasons),
            author=entry.author,
            approved_by=entry.approver,
            alarm=None if entry.alarm is None else entry.alarm.value,
            stale=sorted({each.cause.value for each in entry.stale}),
            made_for=identity.made_for,
            created_at=one.created_at,
        )


@dataclass(frozen=True, slots=True)
class ShownLineage:
    """How much it learned: documents, their access classes when they were learned, people whose exchanges were used,
    and what it was built from."""

    documents: int
    access_classes: list[int]
    subjects: int
    parents: list[str]

    @classmethod
    def of(cls, lineage: Lineage) -> Self:
        return cls(
            documents=len(lineage.document_ids),
            access_classes=sorted(lineage.trained_classes),
            subjects=len(lineage.subjects),
            parents=[parent.name for parent in lineage.parents],
        )


@dataclass(frozen=True, slots=True)
class WholeAdapter:
    """An adapter with its `manifest` (what it is, and the gate's figures) and what it learned."""

    adapter: ShownAdapter
    manifest: dict[str, Any]
    lineage: ShownLineage

    @classmethod
    def of(cls, one: Registered, lineage: Lineage) -> Self:
        return cls(ShownAdapter.of(one), msgspec.to_builtins(one.manifest), ShownLineage.of(lineage))


@dataclass(frozen=True, slots=True)
class AdapterList:
    """The newest first. `to_train_anew` are the names of those that learned what may no longer be known, and in whose
    place no other was registered since."""

    adapters: list[ShownAdapter]
    to_train_anew: list[str]

    @classmethod
    def of(cls, found: Sequence[Registered]) -> Self:
        return cls([ShownAdapter.of(one) for one in found], [one.name for one in to_train_anew(found)])


def adapter_id(given: str) -> str:
    """The digest in a served name, or the digest itself. What is neither names no adapter either."""
    split = split_served_name(given)
    digest = given if split is None else split[1]
    if len(digest) != _DIGEST or not set(digest) <= set("0123456789abcdef"):
        raise NoSuchAdapter
    return digest
