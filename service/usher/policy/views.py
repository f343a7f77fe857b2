"""Looking at what the policy means: why somebody may or may not, who may, what they may, and the whole as a table.

All but one's own decision takes `policy.read`, on everything or on some collections and roles; then what is told is
about these alone. That a person looked is recorded, without names; the operator may always look.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from usher.authority import Grant
from usher.core.csv_safe import BOM, line
from usher.errors import UserError
from usher.people import checked_name
from usher.policy.acts import Acts
from usher.policy.editors import Acting, Editor, Governs
from usher.policy.view_values import Explained, OneRight, OwnExplained, WhatMay, WhoMay, explained, own
from usher.ports import Directory
from usher.viewing import NotPermitted
from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.decide import earliest
from usher_policy.explain import Explanation, explain
from usher_policy.impact import Person, anyone_in
from usher_policy.rights import Asked, Things
from usher_policy.vocabulary import Action, Principal, is_name, typed
from usher_policy.who import Allowed, matrix, what, who

DEFAULT_PEOPLE: Final = 200
MAX_PEOPLE: Final = 5_000
"""How many people one answer names."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of the matrix: an action, an object, or all that there are."""

    action: str | None = None
    object: str | None = None

    def has(self, asked: Asked) -> bool:
        return self.action in (None, asked.act) and self.object in (None, asked.obj)


class PolicyViews:
    """The use case. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`."""

    def __init__(self, acts: Acts, directory: Directory) -> None:
        self._acts, self._directory = acts, directory

    async def explain(self, by: Editor, target: str, action: str, user: str | None = None) -> Explained | OwnExplained:
        """One decision as it would fall now. For oneself (`user` None or one's own) it takes no right, and is told in
        words that tell of nobody else; with `policy.read` all that took part is told."""
        act = _question(target, action)
        grant = by.grant
        if grant is not None and (user is None or checked_name("user", user) == grant.credential.user):
            acting = await self._reads(by, target)
            if acting is None:
                return await self._own(by, target, act)
        if user is None and grant is None:
            raise UserError("user", "is missing", "name somebody")
        raw = checked_name("user", user or (grant.credential.user if grant is not None else ""))

        async def look(by: Editor) -> Explained:
            acting = await self._must_read(by, target)
            person = await self._directory.person(raw)
            groups = () if person is None else person.groups
            principal = Principal(typed("user", raw), frozenset(typed("group", group) for group in groups))
            versions, snapshot = await self._acts.authority.current()
            found = await asyncio.to_thread(explain, snapshot, principal, target, act, self._context())
            known = person is not None and person.active
            return explained(found, versions.policy, known=known, governs=acting.governs)

        await self._must_read(by, target)  # before anybody's name is looked up
        asked = {"subject": await self._pseudonym(raw), **_asked("explain", target, act)}
        return await self._acts.viewed(by, asked, look)

    async def _own(self, by: Editor, target: str, action: Action) -> OwnExplained:
        async def look(by: Editor) -> OwnExplained:
            if by.grant is None:
                raise UserError("user", "is missing", "name somebody")
            found = await asyncio.to_thread(_strictest, by.grant, target, action)
            user = typed("user", by.grant.credential.user)
            return own(found, user, by.grant.scope.policy_version)

        return await self._acts.viewed(by, _asked("explain_own", target, action), look)

    async def who(self, by: Editor, target: str, action: str, limit: int = DEFAULT_PEOPLE) -> WhoMay:
        """Everybody who may do it now: active people of the directory, and groups whose members may."""
        act = _question(target, action)
        if not 1 <= limit <= MAX_PEOPLE:
            raise UserError("limit", f"is {str(limit)[:20]}", f"give a whole number from 1 to {MAX_PEOPLE}")

        async def look(by: Editor) -> WhoMay:
            await self._must_read(by, target)
            versions, snapshot = await self._acts.authority.current()
            everybody = [*await self._people(), *anyone_in(snapshot.book)]
            found = await asyncio.to_thread(who, snapshot, everybody, target, act, self._context())
            return _who_may(found, target, act, limit, versions.policy)

        return await self._acts.viewed(by, _asked("who", target, act), look)

    async def what(self, by: Editor, user: str) -> WhatMay:
        """All that rules and reader lists say to one person, of what the right to look covers."""
        raw = checked_name("user", user)

        async def look(by: Editor) -> WhatMay:
            acting = await self._acts.editors.judged(by, Action.POLICY_READ)
            person = await self._directory.person(raw)
            groups = () if person is None else person.groups
            principal = Principal(typed("user", raw), frozenset(typed("group", group) for group in groups))
            versions, snapshot = await self._acts.authority.current()
            known = person is not None and person.active
            found = await asyncio.to_thread(what, snapshot, principal, self._context())
            rights = tuple(
                OneRight(
                    str(one.asked.act),
                    one.asked.obj,
                    one.decision.allowed and known,
                    one.decision.reason if known else "person_inactive",
                    one.decision.valid_until,
                )
                for one in found
                if _reaches(by, acting.governs, one.asked.obj)
            )
            return WhatMay(principal.user, known, rights, versions.policy)

        await self._acts.editors.judged(by, Action.POLICY_READ)  # before anybody's name is looked up
        return await self._acts.viewed(by, {"question": "what", "subject": await self._pseudonym(raw)}, look)

    async def matrix(self, by: Editor, columns: Columns | None = None) -> str:
        """The access matrix as CSV that is safe in a spreadsheet: a row for each active person and for each group that
        is named, a column for each action and object, `yes` where it is allowed now. A right in some places gets their
        columns, the people with a `yes` there, and nobody's groups."""
        wanted = columns or Columns()

        async def look(by: Editor) -> str:
            acting = await self._acts.editors.judged(by, Action.POLICY_READ)
            _, snapshot = await self._acts.authority.current()
            everybody = [*await self._people(), *anyone_in(snapshot.book)]
            reaches = _reaching(by, acting.governs)
            return await asyncio.to_thread(_table, snapshot, everybody, wanted, reaches, self._context())

        return await self._acts.viewed(by, {"question": "matrix", **_digest(repr(wanted))}, look)

    async def _reads(self, by: Editor, target: str) -> Acting | None:
        """Who asks, if they may read what the policy says of the object."""
        try:
            return await self._must_read(by, target)
        except NotPermitted:
            return None

    async def _must_read(self, by: Editor, target: str) -> Acting:
        acting = await self._acts.editors.judged(by, Action.POLICY_READ)
        if not _reaches(by, acting.governs, target):
            raise NotPermitted("object", "is none whose policy you may read", "ask your administrator")
        return acting

    async def _people(self) -> list[Person]:
        return [person for person, active in await self._acts.editors.people() if active]

    async def _pseudonym(self, user: str) -> str | None:
        """Of somebody whom the record knows already: to ask for a name makes it known to nobody."""
        subject = await self._acts.ledger.subjects.found(user)
        return None if subject is None else subject.pseudonym

    def _context(self) -> Context:
        return Context(self._acts.clock())


def _question(target: str, action: str) -> Action:
    if action not in set(Action):
        raise UserError("action", "is not a known action", "use one of: " + ", ".join(Action))
    if not is_name(target):
        raise UserError("object", "is no name of this policy", "write it as coll:finance/payroll or adapter:support")
    return Action(action)


def _asked(question: str, target: str, action: Action) -> dict[str, Any]:
    """What the record says of a question: names stand there as digests only."""
    return {"question": question, "action": str(action), **_digest(target)}


def _digest(text: str) -> dict[str, str]:
    return {"object_digest": hashlib.sha256(text.encode()).hexdigest()}


def _reaching(by: Editor, governs: Governs | None) -> Callable[[str], bool]:
    return lambda name: _reaches(by, governs, name)


def _reaches(by: Editor, governs: Governs | None, name: str) -> bool:
    """Whether a right to read the policy covers an object: all but what it is denied on, or what it governs."""
    if governs is not None:
        return governs(name)
    return by.grant is None or not by.grant.denies(Action.POLICY_READ, name)


def _strictest(grant: Grant, target: str, action: Action) -> Explanation:
    """While something changes, the old and the new must both allow: the one that does not, if one does not."""
    found = [
        explain(snapshot, principal, target, action, grant.context)
        for snapshot in grant.snapshots
        for principal in grant.standing.principals
    ]
    return next((one for one in found if not one.decision.allowed), found[0])


def _who_may(found: Iterable[Allowed], target: str, action: Action, limit: int, version: int) -> WhoMay:
    allowed = list(found)
    users = [one.person.user for one in allowed if one.person.user is not None]
    groups = sorted({group for one in allowed if one.person.user is None for group in one.person.groups})
    until = earliest(one.decision.valid_until for one in allowed)
    more = max(len(users) - limit, 0) + max(len(groups) - limit, 0)
    return WhoMay(target, str(action), tuple(users[:limit]), tuple(groups[:limit]), more, until, version)


def _table(
    snapshot: Snapshot, people: list[Person], wanted: Columns, reaches: Callable[[str], bool], context: Context
) -> str:
    every = Things.of(snapshot.catalog, [snapshot.book]).names
    asked = [one for one in every if wanted.has(one) and reaches(one.obj)]
    whole = all(reaches(one.obj) for one in every)
    try:
        rows = matrix(snapshot, people, context, asked)
    except ValueError as error:
        raise UserError("matrix", f"would have {error}", "ask for one action, or for one object") from None
    return BOM + "".join(map(line, rows if whole else _cut(rows)))


def _cut(rows: Iterator[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Without the column of groups, and without whoever has nothing here."""
    user, _, *columns = next(rows)
    yield (user, *columns)
    for name, groups, *cells in rows:
        if any(cells):
            yield (name or f"anyone in {groups}", *cells)
