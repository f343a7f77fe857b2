"""The road of one question: what the policy's routing makes of what is known of the person and of it."""

from __future__ import annotations

from usher.authority import Grant
from usher.core.routing import Facts, Route, Routing, route, with_those_above


def road(grant: Grant, may_chat: bool, question: str, dropped_turns: int) -> Route:
    """How a question is answered. No adapter is published yet, so none is eligible: where a rule asks for one, the
    rule's `otherwise` holds."""
    routing = grant.documents.routing
    return route(
        may_chat=may_chat,
        classes=grant.scope.classes,
        dropped_turns=dropped_turns,
        routing=routing,
        facts=Facts(question=question, roles=grant.roles, collections=_collections(grant, routing)),
    )


def _collections(grant: Grant, routing: Routing) -> frozenset[str]:
    """Those of the documents in the scope, with all above them; none where no rule asks."""
    if not any(rule.collection for rules in routing.sets for rule in rules):
        return frozenset()
    known = grant.snapshots[0].catalog.classes
    names = {name for number in grant.scope.classes for name in known.get(number, ()) if name.startswith("coll:")}
    return with_those_above(names)
