"""What a person may change on the shelves, and in which words they are told that they may not."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from usher.authority import Grant
from usher.core.uploads import Verdict, judge, sole_collection
from usher.library import NoSuchDocument
from usher.ports import Placed
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action

NOT_YOURS = (
    "collection",
    "is none that you may put documents into",
    "name another, or ask for document.ingest on it",
)
"""Field, problem and remedy."""


def may_fill_any(grant: Grant) -> None:
    """Raises `NotPermitted` for whoever may fill no collection at all. A right comes from a rule about a collection or
    about one above it, and then holds for that one too."""
    ruled = (pair for snapshot in grant.snapshots for pair in snapshot.book.on_object)
    fillable = {obj for obj, action in ruled if action == Action.DOCUMENT_INGEST}
    if not any(grant.may(Action.DOCUMENT_INGEST, name).allowed for name in fillable):
        raise NotPermitted(*NOT_YOURS)


def may_fill(grant: Grant, collection: str) -> None:
    """The same words whether there is such a collection or not. Raises `NotPermitted`."""
    if not grant.may(Action.DOCUMENT_INGEST, collection).allowed:
        raise NotPermitted(*NOT_YOURS)


def may_change(grant: Grant, placed: Placed | None) -> Placed:
    """Raises `NoSuchDocument`, also for one that the person may neither read nor change, and `NotPermitted`."""
    if placed is None:
        raise NoSuchDocument
    readable = not placed.pending and placed.shelved.access_class in grant.scope.classes
    verdict = judge(
        placed.requirements, readable, lambda collection: grant.may(Action.DOCUMENT_INGEST, collection).allowed
    )
    if verdict is Verdict.UNKNOWN:
        raise NoSuchDocument
    if verdict is Verdict.FORBIDDEN:
        remedy = "ask for document.ingest on its collection; with readers or markings it is the operator's to change"
        raise NotPermitted("document", "is not yours to change", remedy)
    return placed


def collections(placed: Placed | None) -> set[str]:
    collection = None if placed is None else sole_collection(placed.requirements)
    return set() if collection is None else {collection}


def why(grant: Grant, collections: Collection[str]) -> dict[str, Any]:
    """The decision as the record has it: by which rules of which policy, with which credential; no names of people."""
    rules = {rule for name in collections for rule in grant.may(Action.DOCUMENT_INGEST, name).rules}
    return {
        "action": Action.DOCUMENT_INGEST,
        "rules": sorted(rules),
        "roles": list(grant.roles),
        "credential": grant.credential.kind,
        "credential_id": grant.credential.id,
        "policy_version": grant.scope.policy_version,
        "label_version": grant.scope.label_version,
    }
