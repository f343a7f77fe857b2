"""The road of one question: what the policy's routing makes of what is known of the person and of it."""

from __future__ import annotations

from collections.abc import Collection

from usher.adapters.eligible import Eligibles
from usher.adapters.published import Speaker
from usher.adapters.volume import Volume
from usher.authority import Grant
from usher.core.routing import Facts, Route, RouteKind, Rule, route, with_those_above

BY_ADAPTER = frozenset({RouteKind.ADAPTER, RouteKind.BOTH})


class Roads:
    """Finds what the rules look at, and no more than they look at."""

    def __init__(self, eligibles: Eligibles, volume: Volume) -> None:
        self.eligibles, self._volume = eligibles, volume

    async def road(
        self, grant: Grant, may_chat: bool, question: str, dropped_turns: int
    ) -> tuple[Route, Speaker | None]:
        """How a question is answered, and by which adapter."""
        facts = await self.facts(grant, question) if may_chat else None
        chosen = route(
            may_chat=may_chat,
            classes=grant.scope.classes,
            dropped_turns=dropped_turns,
            routing=grant.documents.routing,
            facts=facts,
        )
        return chosen, None if chosen.adapter is None else self.eligibles.known(chosen.adapter)

    async def facts(self, grant: Grant, question: str) -> Facts:
        """What the rules may look at. The adapters are those that the person may use, and never another."""
        rules = [rule for rules in grant.documents.routing.sets for rule in rules]
        per_day = await self._volume.per_day() if any(rule.min_per_day for rule in rules) else {}
        by_adapter = any(rule.route in BY_ADAPTER for rule in rules)
        adapters = await self.eligibles.usable(grant) if by_adapter else ()  # last: nothing is waited for after it
        up, collections = self.eligibles.offered().up, _collections(grant, rules)
        return Facts(question, grant.roles, collections, per_day, adapters, up)


def _collections(grant: Grant, rules: Collection[Rule]) -> frozenset[str]:
    """Those of the documents in the scope, with all above them; none where no rule asks."""
    if not any(rule.collection for rule in rules):
        return frozenset()
    known = grant.snapshots[0].catalog.classes
    names = {name for number in grant.scope.classes for name in known.get(number, ()) if name.startswith("coll:")}
    return with_those_above(names)
