"""What the record says of a request: bodies of events, as JSON values. Ids, digests and labels; never names or text."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from usher.core.passages import Checked, Passage
from usher.core.routing import Route
from usher_policy.decide import Decision, Scope


def scope_digest(classes: Sequence[int]) -> str:
    """SHA-256 of the access class ids that the store's filter was compiled from, in their order."""
    return hashlib.sha256(",".join(map(str, classes)).encode()).hexdigest()


def decision_body(action: str, target: str, decision: Decision, scope: Scope, route: Route | None) -> dict[str, Any]:
    """Why a request was allowed or denied, under which policy and labels, and how it will be answered."""
    body: dict[str, Any] = {
        "action": action,
        "object": target,
        "effect": "allow" if decision.allowed else "deny",
        "reason": decision.reason,
        "rules": list(decision.rules),
        "policy_version": scope.policy_version,
        "policy_digest": scope.policy_digest,
        "label_version": scope.label_version,
        "access_classes": len(scope.classes),
        "scope_digest": scope_digest(scope.classes),
        "scope_rules": list(scope.rules),
        "valid_until": scope.valid_until.isoformat() if scope.valid_until else None,
    }
    if route is not None:
        told = {"kind": str(route.kind), "reasons": list(route.reasons), "rule": route.rule, "adapter": route.adapter}
        body["route"] = {key: value for key, value in told.items() if value is not None}
    return body


def retrieval_body(
    scope: Scope,
    checked: Checked,
    scores: Mapping[Any, float],
    in_prompt: Collection[int],
    denied: str | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """What was retrieved: each passage by ids, label, rank and score. `in_prompt` holds citation numbers from 1."""
    return {
        "outcome": "denied" if denied else "found" if checked.passages else "nothing",
        **({"reason": denied} if denied else {}),
        "policy_version": scope.policy_version,
        "label_version": scope.label_version,
        "scope_digest": scope_digest(scope.classes),
        "passages": [
            {**passage_evidence(passage), "rank": rank, "score": scores[passage.label.chunk]}
            | {"in_prompt": rank in in_prompt}
            for rank, passage in enumerate(checked.passages, 1)
        ],
        "stale": len(checked.stale),
        "leaks": [str(chunk) for chunk in checked.leaks],
        **extra,
    }


def passage_evidence(passage: Passage) -> dict[str, Any]:
    return {
        "document": str(passage.document),
        "version": passage.label.chunk_version,
        "chunk": str(passage.label.chunk),
        "digest": passage.digest,
        "access_class": passage.label.access_class,
    }
