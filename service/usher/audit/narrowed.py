"""What one policy version allowed that another would not: of the recorded exchanges, searches and views decided under
it, those that the other would have denied, in whole or in part.

Each is judged for the person as the record has them: by name, and by the roles that were evaluated then. Their groups
of then and the purpose of their key are not recorded: where the answer hangs on these, it is `unknown`. Reader lists
are taken as they are; what an answer had inherited is judged with the exchange that first showed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from usher.audit.asking import Answered, Asking, Names
from usher.audit.ranges import MAX_AFTER, Range
from usher.audit.reviewers import Reviewer
from usher.authority import Authority
from usher.core.hindsight import Hindsight, Verdict, together, would_allow, would_allow_all
from usher.errors import UserError
from usher.ledger.shown import VIEW
from usher.ports import Policies
from usher.ports.audit_index import DocumentName, Seen, ShownPassage
from usher.retrieve import CHAT
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.rules import parse_rules
from usher_policy.vocabulary import Action, typed

MAX_VERSION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class NoLongerShown:
    """A passage that was shown, and what of its requirements the other version would not have allowed, or may not."""

    document: str
    version: int | None
    chunk: str | None
    access_class: int | None
    verdict: Verdict
    requirements: Mapping[str, Verdict]


@dataclass(frozen=True, slots=True)
class Narrowed:
    """An exchange, search or view. `asking`: whether the other version would have let the person ask at all; null for
    a view. `passages`: those that it would not have shown, or may not. `person_known` is false where the name behind
    the pseudonym can be opened no more: nothing of them can be known."""

    number: int
    time: str
    kind: str
    audit_id: str | None
    pseudonym: str | None
    roles: tuple[str, ...]
    asking: Verdict | None
    passages: tuple[NoLongerShown, ...]
    person_known: bool
    user: str | None = None


@dataclass(frozen=True, slots=True)
class NarrowedAnswer(Answered[Narrowed]):
    """`documents` names them by id, where names were asked for."""

    documents: Mapping[str, DocumentName] = field(default_factory=dict)


class Comparison:
    """The use case. Raises what `Asking` does."""

    def __init__(self, asking: Asking, names: Names, authority: Authority, policies: Policies) -> None:
        self._asking, self._names = asking, names
        self._authority, self._policies = authority, policies

    async def narrowed(
        self, reviewer: Reviewer, version: int, than: int | None = None, part: Range | None = None
    ) -> NarrowedAnswer:
        """What `version` allowed that `than` (default: the next) would not. The limit is of entries looked at."""
        part = part or Range()
        between, index = part.between(), self._asking.index
        other = version + 1 if than is None else than
        asked = {"policy_version": _checked("version", version), "than": _checked("than", other), **part.recorded()}
        await self._asking.reviewers.judged(reviewer)
        then, now = (
            await self._compiled("version", version),
            await self._compiled("than", other, following=than is None),
        )

        async def told(found: Answered[Seen]) -> NarrowedAnswer:
            people = await self._names.of_people(entry.pseudonym for entry in found.entries)
            judged = await asyncio.to_thread(_judged, found.entries, people, then, now)
            far = (found.next, found.complete, found.indexed, found.size)
            if not reviewer.names:
                return NarrowedAnswer(judged, *far)
            named = [replace(one, user=people.get(one.pseudonym or "")) for one in judged]
            lost = (passage.document for one in judged for passage in one.passages)
            return NarrowedAnswer(named, *far, await self._names.of_documents(lost))

        return await self._asking.ask(
            reviewer, "narrowed", asked, lambda within: index.decided_under(version, between, within), told
        )

    async def _compiled(self, name: str, version: int, *, following: bool = False) -> Snapshot:
        """The policy version over the labels of now."""
        _, current = await self._authority.current()
        if current.version == version:
            return current
        stored = await self._policies.load(version)
        if stored is None and following:
            raise UserError("version", "is the newest: there is no next one to hold it against", "name one with `than`")
        if stored is None:
            raise UserError(name, "is no policy version", "give one that has been in force")
        return await asyncio.to_thread(lambda: compile_snapshot(version, parse_rules(stored.rules), current.catalog))


def _checked(name: str, version: int) -> int:
    if not 1 <= version <= min(MAX_VERSION, MAX_AFTER):
        raise UserError(name, "is no policy version", "give a number from 1 on")
    return version


def _judged(entries: Sequence[Seen], people: Mapping[str, str | None], then: Snapshot, now: Snapshot) -> list[Narrowed]:
    both = Hindsight.of(then, now)
    found = (_judge(entry, people.get(entry.pseudonym or ""), both) for entry in entries)
    return [one for one in found if one.passages or one.asking not in (None, Verdict.ALLOWED)]


def _judge(entry: Seen, user: str | None, both: Hindsight) -> Narrowed:
    """What the version of now would not have allowed, or may not have."""
    shown = [passage for passage in entry.passages if passage.in_prompt is not False]
    own = (entry.number, entry.time, entry.kind, entry.audit_id, entry.pseudonym, entry.roles)
    if user is None:
        unknown = tuple(_lost(passage, Verdict.UNKNOWN, {}) for passage in shown)
        return Narrowed(*own, None if entry.kind == VIEW else Verdict.UNKNOWN, unknown, False)
    now, at = both.other, datetime.fromisoformat(entry.time)
    recorded = both.recorded(typed("user", user), entry.roles, at)
    asking = None if entry.kind == VIEW else would_allow(now, recorded, Action.CHAT_ASK, CHAT)
    lost: list[NoLongerShown] = []
    for passage in shown:
        requirements = would_allow_all(now, recorded, now.catalog.classes.get(passage.access_class or 0, ()))
        verdict = together(list(requirements.values()))
        if verdict is not Verdict.ALLOWED:
            open_ = {name: one for name, one in requirements.items() if one is not Verdict.ALLOWED}
            lost.append(_lost(passage, verdict, open_))
    return Narrowed(*own, asking, tuple(lost), True)


def _lost(passage: ShownPassage, verdict: Verdict, requirements: Mapping[str, Verdict]) -> NoLongerShown:
    return NoLongerShown(passage.document, passage.version, passage.chunk, passage.access_class, verdict, requirements)
