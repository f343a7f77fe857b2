"""The last recorded exchanges, decided again under a draft: whose answer would lose passages, or gain some.

Who asked is judged as of now (their groups are the directory's), at the instant at which they asked, under the policy
in force and under the draft. What would be gained is found by asking again, under the draft, what was asked then: the
question is opened here and told to nobody. The reading is recorded before anything is read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from usher.audit.near import Nearness
from usher.audit.replay import Reading
from usher.audit.reviewers import reach_of
from usher.authority import Authority, Grant
from usher.chat_prepare import PASSAGES
from usher.core.changeset import Changeset
from usher.core.reach import Reach, reach
from usher.core.redecided import Redecided, Sight, redecided
from usher.core.replay import policy_of
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import SEARCH, ContentRow, Entry, EventType, Kind
from usher.ledger.sealing import SealBroken
from usher.policy.editors import SYSTEM, Editor, Editors
from usher.policy.replay_answer import Again, Far, Progress, Redone, shown_by, told
from usher.ports import Embedder, ScopeTooWide
from usher.ports.audit_exchanges import Exchange
from usher.retrieve import Retrieve, who
from usher.viewing import NotPermitted
from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.decide import Scope
from usher_policy.rules import RuleFileError, parse_rules
from usher_policy.vocabulary import Action, Principal, typed

DEFAULT_EXCHANGES: Final = 100
MAX_EXCHANGES: Final = 1_000
AT_ONCE: Final = 20
"""Exchanges between two words on the progress."""


class PolicyReplays:
    """The use case. Raises `UserError`, `NotPermitted`, `LedgerUnavailable`, `StoreUnavailable`, and what `draft` does:
    it gives a changeset with its source, or says that there is none for this editor."""

    def __init__(
        self,
        draft: Callable[[UUID, Editor], Awaitable[Changeset]],
        editors: Editors,
        reading: Reading,
        authority: Authority,
        retrieve: Retrieve,
        embedder: Embedder,
    ) -> None:
        self._draft, self._editors, self._authority = draft, editors, authority
        self._log, self._index, self._asking = reading.log, reading.index, reading.asking
        self._names, self._sources = reading.names, reading.sources
        self._retrieve, self._embedder = retrieve, embedder

    async def steps(
        self, changeset: UUID, by: Editor, last: int = DEFAULT_EXCHANGES, *, names: bool = False
    ) -> AsyncIterator[Progress | Redone]:
        """How far it is, again and again, and at the end what it found.

        1. the rights are judged, and the question is durable in the record
        2. each exchange is decided again under both policies
        3. the rights are judged again, and the answer is cut to them
        """
        if not 1 <= last <= MAX_EXCHANGES:
            raise UserError("n", f"is {last}", f"give a number from 1 to {MAX_EXCHANGES}")
        draft = await self._draft(changeset, by)
        far = await self._judged(by, names=names)
        await self._recorded(by, draft, last, names=names)
        before, after = await self._policies(draft)
        await self._asking.follower.caught_up()
        exchanges = (await self._asking.reading(lambda: self._index.latest(last))).entries
        again: list[Again] = []
        for start in range(0, len(exchanges), AT_ONCE):
            yield Progress(start, len(exchanges))
            again += await self._decided(exchanges[start : start + AT_ONCE], before, after)
        now = await self._judged(by, names=names)
        named = far.named & now.named if far.named is not None and now.named is not None else None
        yield await self._told(draft, again, before, Far(far.reach & now.reach, named))

    async def of(self, changeset: UUID, by: Editor, last: int = DEFAULT_EXCHANGES, *, names: bool = False) -> Redone:
        """What it found."""
        async for step in self.steps(changeset, by, last, names=names):
            if isinstance(step, Redone):
                return step
        raise AssertionError("a replay ends with what it found")

    async def _judged(self, by: Editor, *, names: bool) -> Far:
        await self._editors.judged(by, Action.POLICY_READ)
        if by.grant is None:
            _, snapshot = await self._authority.current()
            everything = Reach(True, snapshot.shelves.catalog.numbers, whole=True)
            return Far(everything, everything if names else None)
        grant = await self._authority.again(by.grant)
        named = reach_of(grant, Action.AUDIT_IDENTIFY) if names else None
        if named is not None and named.nothing:
            raise NotPermitted("names", "are for those who may identify", "ask without names, or for audit.identify")
        return Far(_reach(grant), named)

    async def _recorded(self, by: Editor, draft: Changeset, last: int, *, names: bool) -> None:
        grant, ledger = by.grant, self._asking.ledger
        asker = None if grant is None else who(grant, await ledger.pseudonym(grant.credential.user))
        asked = {"changeset": str(draft.id), "digest": draft.digest, "exchanges": last}
        body = {"actor": by.actor, "question": "policy_replay", **asked, "names": names}
        await ledger.append([Entry(EventType.AUDIT_READ, who=asker, body=body)])

    async def _policies(self, draft: Changeset) -> tuple[Snapshot, Snapshot]:
        """What a change is made against now, and what it would make of it, both over the labels of now."""
        versions, _ = await self._authority.current()
        before = await self._authority.compiled(versions.ordinary)
        return before, await asyncio.to_thread(_compiled, draft, before)

    async def _decided(self, exchanges: Sequence[Exchange], before: Snapshot, after: Snapshot) -> list[Again]:
        shown = [shown_by(one) for one in exchanges]
        documents = sorted({UUID(showing.document) for some in shown for showing in some})
        classes = await self._sources.documents.current_classes(documents)
        requests = await self._asking.opened(asyncio.to_thread(self._requests, exchanges))
        found: list[Again] = []
        for one, some, request in zip(exchanges, shown, requests, strict=True):
            asker = await self._asker(one.pseudonym, request.get("credential_id"))
            if asker is None:
                found.append(Again(one, some, None, None))
                continue
            context = Context(datetime.fromisoformat(one.time), asker[1])
            sights = [Sight.of(policy, asker[0], context) for policy in (before, after)]
            decided = redecided([classes.get(UUID(showing.document), ()) for showing in some], sights[0], sights[1])
            gained = await self._gained(one, request, decided, sights[1].scope)
            found.append(Again(one, some, decided, gained))
        return found

    def _requests(self, exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
        """Raises `LedgerUnavailable` where they are not what the index says."""
        found = [json.loads(event.event) for one in exchanges for event in self._log.stored(one.number, one.number)]
        if [event["audit_id"] for event in found] != [one.audit_id for one in exchanges]:
            raise LedgerUnavailable("an exchange's request is not in its place; run `usher audit verify`")
        return found

    async def _asker(self, pseudonym: str | None, credential: str | None) -> tuple[Principal, str | None] | None:
        """Who asked, and the purpose of their key; None where they may do nothing any more, by whatever policy."""
        user = None if pseudonym is None else await self._names.of_person(pseudonym)
        person = None if user is None else await self._sources.directory.person(user)
        if person is None or not person.active:
            return None
        keys = {key.id: key.purpose for key in await self._sources.keys.keys(person.user)}
        groups = frozenset(typed("group", group) for group in person.groups)
        return Principal(typed("user", person.user), groups), keys.get(credential or "")

    async def _gained(
        self, exchange: Exchange, request: dict[str, Any], decided: Redecided, scope: Scope
    ) -> tuple[int, ...] | None:
        """The access classes of the passages that only the draft would give; None if the question is not kept."""
        if not decided.opened:
            return ()
        question = await self._question(exchange)
        if question is None:
            return None
        encoded = (await self._embedder.encode([question]))[0]
        most = request.get("k", PASSAGES) if exchange.kind == SEARCH else PASSAGES
        try:
            found = await self._retrieve.find(scope, question, encoded, most)
        except ScopeTooWide:
            return None
        classes = (passage.label.access_class for passage in found.passages)
        return tuple(ident for ident in classes if ident in decided.opened)

    async def _question(self, exchange: Exchange) -> str | None:
        """What was searched for then."""
        rows = await self._asking.opened(self._asking.ledger.content(exchange.audit_id))
        asked = [row for kind in (Kind.QUERY, Kind.QUESTION) for row in rows if row.kind is kind]
        return await self._opened(asked[0]) if asked else None

    async def _opened(self, row: ContentRow) -> str | None:
        try:
            subject = await self._asking.opened(self._asking.ledger.subjects.known(row.pseudonym))
            return None if subject is None else subject.conversation(row.conversation).open(row)
        except SealBroken:  # erased, or no longer kept
            return None

    async def _told(self, draft: Changeset, again: Sequence[Again], policy: Snapshot, far: Far) -> Redone:
        exchanges = [one.exchange for one in again]
        near = await Nearness.of(self._asking, far.reach, exchanges)
        answer = told(draft.digest, str(draft.id), again, policy, near, far)
        if far.named is None:
            return answer
        named = await Nearness.of(self._asking, far.named, exchanges)
        may = {one.audit_id for one in exchanges if named.exchange(one)}
        people = await self._names.of_people(one.pseudonym for one in answer.differing if one.audit_id in may)
        users = (people.get(one.pseudonym or "") if one.audit_id in may else None for one in answer.differing)
        both = zip(answer.differing, users, strict=True)
        return replace(answer, differing=tuple(replace(one, user=user) for one, user in both))


def _compiled(draft: Changeset, like: Snapshot) -> Snapshot:
    try:
        rules = parse_rules("" if draft.source is None else draft.source.rules_text)
    except RuleFileError as error:
        raise UserError("changeset", f"fails its check ({error})", "mend its rules, and draft it again") from error
    return policy_of(like.version + 1, rules, like)


def _reach(grant: Grant) -> Reach:
    """How far the right to read the policy goes, in documents."""
    return reach(
        grant.may(Action.POLICY_READ, SYSTEM).allowed,
        grant.snapshots[0].shelves.catalog,
        lambda collection: grant.may(Action.POLICY_READ, collection).allowed,
        lambda collection: grant.denies(Action.POLICY_READ, collection),
    )
