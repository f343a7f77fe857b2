"""Which adapters would do, by the policy, the documents and the directory of now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from usher.adapters.deciders import Caller
from usher.adapters.material import Materials
from usher.authority import Authority, Clock, Grant
from usher.ledger.record import EventType
from usher.ledger.sequencer import Ledger
from usher.ports.audit_index import IndexUnreadable
from usher.ports.datasets import TrainingDocuments
from usher.viewing import NotPermitted, Viewing, view_body
from usher_lora.plan import Plan, plan
from usher_policy.conditions import Context
from usher_policy.vocabulary import Action

SYSTEM: Final = "sys:policy"
MONTH: Final = timedelta(days=30)

AskedByRole = Callable[[str], Mapping[str, int]]
"""The questions since an instant, by role. Raises `IndexUnreadable`."""


class Planning:
    """The use case. It tells of all roles and shelves, so a person needs `policy.read` on everything; that they looked
    is recorded. Raises `NotPermitted`, `LedgerUnavailable`."""

    def __init__(
        self,
        authority: Authority,
        ledger: Ledger,
        materials: Materials,
        documents: TrainingDocuments,
        asked: AskedByRole,
        clock: Clock,
    ) -> None:
        self._authority, self._viewing = authority, Viewing(authority, ledger)
        self._materials, self._documents, self._asked, self._clock = materials, documents, asked, clock

    async def plan(self, by: Caller) -> Plan:
        """The adapters that policy and documents suggest. Tokens are estimated; questions are those of the last 30
        days, as the reviewers' index has them (none, where it cannot be read)."""
        if by.grant is None:
            return await self._made()

        async def look(grant: Grant) -> Plan:
            decision = (await self._authority.lasting(grant)).may(Action.POLICY_READ, SYSTEM)
            if not decision.allowed:
                problem = f"may not do {Action.POLICY_READ} on {SYSTEM} ({decision.reason})"
                raise NotPermitted("key", problem, "ask your administrator")
            return await self._made()

        return await self._viewing.recorded(
            by.grant,
            "plan",
            look,
            lambda grant, _: (EventType.VIEW, view_body(grant, adapters={"question": "plan"})),
        )

    async def _made(self) -> Plan:
        _, snapshot = await self._authority.current()
        people, sources = await self._materials.people(), await self._documents.sources()
        now = self._clock()
        since = (now - MONTH).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            questions = await asyncio.to_thread(self._asked, since)
        except IndexUnreadable:
            questions = {}
        return await asyncio.to_thread(plan, snapshot, Context(now), people, sources, questions)
