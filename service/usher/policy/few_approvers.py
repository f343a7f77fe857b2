"""A deactivation binds all the same, with an alarm where it leaves too few who could approve a change of policy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from usher.authority import Authority
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import Entry, EventType
from usher.policy.editors import Editors
from usher_policy.admins import NEEDED, approvers
from usher_policy.book import RuleBook
from usher_policy.impact import Person
from usher_policy.vocabulary import typed

_log = structlog.stdlib.get_logger("usher.policy")


class Recorder(Protocol):
    """What the alarm needs of the ledger."""

    async def append(self, entries: Sequence[Entry]) -> object: ...


class FewApprovers:
    """Looks after each deactivation whether it took one of the last approvers."""

    def __init__(self, authority: Authority, editors: Editors, ledger: Recorder) -> None:
        self._authority, self._editors, self._ledger = authority, editors, ledger

    async def look(self, deactivated: str) -> None:
        """Alarm, and record it, if this person was an approver and fewer than two are left. What is recorded names
        nobody. Where it cannot be recorded now the log has it."""
        versions, snapshot = await self._authority.current()
        people = await self._editors.people()
        left = await asyncio.to_thread(_left, snapshot.book, people, typed("user", deactivated))
        if left is None or left >= NEEDED:
            return
        _log.critical("few_approvers", left=left, needed=NEEDED, policy_version=versions.policy)
        body = {"act": "few_approvers", "left": left, "needed": NEEDED, "policy_version": versions.policy}
        try:
            await self._ledger.append([Entry(EventType.POLICY, body=body)])
        except LedgerUnavailable as error:
            _log.error("few_approvers_unrecorded", reason=error.reason)


def _left(book: RuleBook, people: Sequence[tuple[Person, bool]], gone: str) -> int | None:
    """How many can approve without this person; None where they could not either."""
    before = approvers(book, [person for person, active in people if active or person.user == gone])
    return len(before - {gone}) if gone in before else None
