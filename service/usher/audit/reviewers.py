"""Who reviews the log, how far they may, and the two steps around every reading of it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

from usher.authority import Authority, Grant
from usher.core.reach import Reach, reach
from usher.ledger.record import Entry, EventType
from usher.ledger.sequencer import Ledger
from usher.retrieve import who
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action

AUDIT = "sys:audit"
REMEMBERED = 256
"""Persons' rights of which it is remembered how far they go."""


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who asks: a person by their grant, or the operator (no grant), whom the operating system stops or nobody does.
    `actor` stands in the record; `names` asks for names beside pseudonyms and ids; `right` is what reading takes."""

    grant: Grant | None
    actor: str
    names: bool = False
    right: Action = Action.AUDIT_READ

    @property
    def actions(self) -> tuple[Action, ...]:
        """What reading takes, the names included if they are asked for."""
        return (self.right, Action.AUDIT_IDENTIFY) if self.names else (self.right,)


class Reviewers:
    """Every reading of the log goes `admitted` -> read -> `again`: recorded before, judged before and after."""

    def __init__(self, authority: Authority, ledger: Ledger) -> None:
        self._authority, self._ledger = authority, ledger
        self._reaches = Reaches()

    async def admitted(self, reviewer: Reviewer, question: str, asked: Mapping[str, Any], *more: Action) -> Reach:
        """How far the reviewer may, by all of these rights together, once that they ask is durable in the record.
        `asked` holds ids, numbers and times, never names or text. Raises `NotPermitted`, `LedgerUnavailable`."""
        within = await self.judged(reviewer, *more)
        grant = reviewer.grant
        by = None if grant is None else who(grant, await self._ledger.pseudonym(grant.credential.user))
        body = {"actor": reviewer.actor, "question": question, **asked, "names": reviewer.names}
        await self._ledger.append([Entry(EventType.AUDIT_READ, who=by, body=body)])
        return within

    async def again(self, reviewer: Reviewer, *more: Action) -> Reach:
        """How far the reviewer may now: what was read meanwhile is cut to it. Raises `NotPermitted`."""
        return await self.judged(reviewer, *more)

    async def judged(self, reviewer: Reviewer, *more: Action) -> Reach:
        """How far the reviewer may now, without a word in the record. Raises `NotPermitted` where that is nowhere."""
        if reviewer.grant is None:
            _, snapshot = await self._authority.current()
            return Reach(True, snapshot.shelves.catalog.numbers, whole=True)
        grant = await self._authority.again(reviewer.grant)
        actions = dict.fromkeys((*reviewer.actions, *more))
        return reduce(Reach.__and__, [self._reach(grant, action) for action in actions])

    def _reach(self, grant: Grant, action: Action) -> Reach:
        """Raises `NotPermitted`."""
        found = self._reaches.of(grant, action)
        if found.nothing:
            reason = grant.may(action, AUDIT).reason
            raise NotPermitted("key", f"may not do {action} ({reason})", "ask your administrator")
        return found


@dataclass(frozen=True, slots=True)
class _Known:
    """How far a right went for some principals by these rules and shelves, from an instant until one."""

    by: tuple[object, ...]
    since: datetime
    until: datetime | None
    reach: Reach

    def holds(self, by: tuple[object, ...], now: datetime) -> bool:
        same = len(self.by) == len(by) and all(map(operator.is_, self.by, by))
        return same and self.since <= now and (self.until is None or now < self.until)


class Reaches:
    """How far rights go, remembered for as long as nothing moves that they hang on: a decision on each collection
    takes a while where there are thousands."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], _Known] = {}

    def of(self, grant: Grant, action: Action) -> Reach:
        """As `reach_of`."""
        now, key = grant.context.now, (grant.standing.principals, grant.denied, grant.context.purpose, action)
        by = tuple(part for one in grant.snapshots for part in (one.book, one.shelves))
        known = self._known.get(key)
        if known is not None and known.holds(by, now):
            return known.reach
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        found = reach_of(grant, action)
        self._known[key] = _Known(by, now, grant.valid_until, found)
        return found


def reach_of(grant: Grant, action: Action) -> Reach:
    """How far a right of the log goes, by the grant as it is; it may be nowhere."""
    return reach(
        grant.may(action, AUDIT).allowed,
        grant.snapshots[0].shelves.catalog,  # the same one while only labels move
        lambda collection: grant.may(action, collection).allowed,
        lambda collection: grant.denies(action, collection),
    )
