"""How a question would be answered now, and why: routing looked at without asking anything.

One's own question takes no right, and is told in the words that its answer would have. With `policy.read` on everything
all is told of anybody's: each rule, and each adapter with what keeps it away. The question itself is kept nowhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from usher.authority import Grant
from usher.chat_road import Roads
from usher.core.routing import Route, explain
from usher.errors import UserError
from usher.people import checked_name
from usher.policy.acts import Acts
from usher.policy.editors import Editor
from usher.retrieve import CHAT, checked_question
from usher_lora.eligibility import Reason
from usher_lora.manifest import split_served_name
from usher_policy.vocabulary import Action


@dataclass(frozen=True, slots=True)
class OwnRoute:
    """How one's own question would be answered: as `usher.route` of its answer would say."""

    kind: str
    reasons: tuple[str, ...]
    adapter: str | None
    policy_version: int

    @classmethod
    def of(cls, route: Route, grant: Grant) -> Self:
        split = None if route.adapter is None else split_served_name(route.adapter)
        return cls(str(route.kind), route.reasons, None if split is None else split[0], grant.scope.policy_version)


@dataclass(frozen=True, slots=True)
class RuleJudged:
    """A rule of `routing.yaml`, and what it came to: `applies`, or why it does not. One that applies is the last."""

    rule: str
    came_to: str


@dataclass(frozen=True, slots=True)
class AdapterJudged:
    """A published adapter: `reason` says why the person may not use it, `missing` how many access classes it needs that
    they may not read. `served`: the model servers have it. What they may use has the figures that rules look at."""

    adapter: str
    reason: str | None
    missing: int
    served: bool
    age_days: float | None
    changed_percent: float | None


@dataclass(frozen=True, slots=True)
class RouteExplained:
    """All that decided. `adapter` is the served name of the one that would answer."""

    user: str
    kind: str
    reasons: tuple[str, ...]
    adapter: str | None
    rule: str | None
    rules: tuple[RuleJudged, ...]
    adapters: tuple[AdapterJudged, ...]
    model_up: bool
    policy_version: int


class RouteViews:
    """The use case. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, acts: Acts, roads: Roads) -> None:
        self._acts, self._roads, self._eligibles = acts, roads, roads.eligibles

    async def explain(self, by: Editor, text: str, user: str | None = None) -> OwnRoute | RouteExplained:
        """The route of a question: of one's own, or of that of `user`."""
        question = checked_question(text, "q")
        if user is not None:
            return await self._explained(by, question, checked_name("user", user))

        async def look(by: Editor) -> OwnRoute:
            if by.grant is None:
                raise UserError("user", "is missing", "name somebody")
            route, _ = await self._roads.road(by.grant, _may_chat(by.grant), question, 0)
            return OwnRoute.of(route, by.grant)

        return await self._acts.viewed(by, {"question": "route_own"}, look)

    async def _explained(self, by: Editor, question: str, user: str) -> RouteExplained:
        async def look(by: Editor) -> RouteExplained:
            await self._acts.editors.everywhere(by, Action.POLICY_READ)
            grant = await self._acts.authority.admit_person(user)
            if grant.denied is not None:
                raise UserError("user", "may do nothing", "name somebody of the directory who is active")
            return await self._told(grant, question)

        await self._acts.editors.everywhere(by, Action.POLICY_READ)  # before anybody's name is looked up
        subject = await self._acts.ledger.subjects.found(user)
        asked = {"question": "route", "subject": None if subject is None else subject.pseudonym}
        return await self._acts.viewed(by, asked, look)

    async def _told(self, grant: Grant, question: str) -> RouteExplained:
        route, _ = await self._roads.road(grant, _may_chat(grant), question, 0)
        facts = await self._roads.facts(grant, question)
        rules = explain(grant.documents.routing, facts)
        return RouteExplained(
            user=grant.credential.user,
            kind=str(route.kind),
            reasons=route.reasons,
            adapter=route.adapter,
            rule=route.rule,
            rules=tuple(RuleJudged(name, str(why)) for name, why in rules),
            adapters=tuple([one async for one in self._adapters(grant)]),
            model_up=facts.model_up,
            policy_version=grant.scope.policy_version,
        )

    async def _adapters(self, grant: Grant) -> AsyncIterator[AdapterJudged]:
        """By name."""
        usable = {one.name: one for one in await self._eligibles.usable(grant)}
        judged = await self._eligibles.judged(grant)
        offer = self._eligibles.offered()
        reasons: dict[str, Reason | None] = {**dict.fromkeys(usable), **judged.ineligible}
        for name in sorted(reasons):
            one = usable.get(name)
            yield AdapterJudged(
                adapter=name,
                reason=None if reasons[name] is None else str(reasons[name]),
                missing=len(await self._eligibles.missing(name, grant)),
                served=offer.has(name),
                age_days=None if one is None else round(one.age_days, 1),
                changed_percent=None if one is None else round(one.changed_percent, 1),
            )


def _may_chat(grant: Grant) -> bool:
    return grant.may(Action.CHAT_ASK, CHAT).allowed
