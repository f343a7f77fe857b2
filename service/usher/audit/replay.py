"""One recorded exchange, decided again: as of then and as of now. Recorded before it is answered.

The record says under which policy and labels it was decided, with which roles, when, and what was shown with which
access class. It does not say which groups somebody was in: `basis` says what is taken from where. Where deciding again
does not give what was recorded, and nothing that is unknown explains it, the answer says so: that is a finding.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from usher.audit.asking import Asking, Names
from usher.audit.near import Nearness, exchanges
from usher.audit.proof import NotThere
from usher.audit.replay_answer import Replayed, replayed
from usher.audit.replay_facts import Facts, Past, Then
from usher.audit.review import StoredEvents
from usher.audit.reviewers import AUDIT, Reviewer
from usher.authority import Authority, Clock, utc_now
from usher.core.reach import Reach
from usher.core.replay import Agreement, Judge, policy_of
from usher.errors import UserError
from usher.ledger.log import LedgerUnavailable
from usher.ledger.record import EventType
from usher.ports import Directory, Documents, Keys, Policies, StoredPolicy
from usher.ports.audit_exchanges import Exchange, Exchanges
from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.rules import RuleFileError, Rules, parse_rules
from usher_policy.vocabulary import Action, Principal, typed

POLICY = "sys:policy"
_log = structlog.stdlib.get_logger("usher.audit.replay")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a replay reads beside the log and its index."""

    policies: Policies
    directory: Directory
    keys: Keys
    documents: Documents


@dataclass(frozen=True, slots=True)
class Reading:
    """What all answers about recorded exchanges are read from."""

    log: StoredEvents
    index: Exchanges
    asking: Asking
    names: Names
    sources: Sources


@dataclass(frozen=True, slots=True)
class _Person:
    """Who asked, as of now: `user` is None where the name can be opened no more."""

    user: str | None
    principal: Principal
    barred: str | None
    purpose: str | None = None
    purpose_known: bool = False


class Replays:
    """The use case. Raises `UserError`, `NotPermitted`, `NotThere` and `LedgerUnavailable`."""

    def __init__(
        self,
        log: StoredEvents,
        index: Exchanges,
        asking: Asking,
        names: Names,
        authority: Authority,
        sources: Sources,
        clock: Clock = utc_now,
    ) -> None:
        self._log, self._index, self._asking, self._names = log, index, asking, names
        self._authority, self._sources, self._clock = authority, sources, clock

    async def of(self, reviewer: Reviewer, audit_id: str, policy: int | None = None) -> Replayed:
        """An exchange decided again: under what was in force then, and under what is now, or policy version `policy`.

        1. the rights are judged, and the question is durable in the record
        2. what is recorded of the exchange is read, and decided again
        3. the rights are judged again, and the answer is cut to them
        """
        ident = _audit_id(audit_id)
        asked = {"exchange": ident, "policy": policy}
        before = await self._asking.reviewers.admitted(reviewer, "replay", asked)
        exchange = next(iter(await exchanges(self._asking, self._index, [ident] if ident else [])), None)
        if exchange is None or not (await self._near(before, exchange)).exchange(exchange):
            raise _absent()
        facts = await self._facts(exchange, policy)
        answer = await asyncio.to_thread(replayed, facts)
        if answer.agreement is Agreement.CONTRADICTS:
            _log.error("replay_contradicts_record", audit_id=ident, problems=answer.problems)
        after = before & await self._asking.reviewers.again(reviewer)
        near = await self._near(after, exchange)
        if not near.exchange(exchange):
            raise _absent()
        kept = tuple(told for told, shown in zip(answer.passages, exchange.shown, strict=True) if near.passage(shown))
        return await self._told(reviewer, answer.within(facts, after, kept), facts)

    async def _near(self, reach: Reach, exchange: Exchange) -> Nearness:
        return await Nearness.of(self._asking, reach, [exchange])

    async def _facts(self, exchange: Exchange, policy: int | None) -> Facts:
        request, decision = await self._events(exchange.number, exchange.number + 1)
        direct = {showing.number for showing in exchange.shown if showing.via is None}
        retrieval = (await self._events(min(direct), min(direct)))[0] if direct else None
        person = await self._person(exchange.pseudonym, request.get("credential_id"))
        versions, snapshot = await self._authority.current()
        chosen = snapshot if policy is None else await self._policy(policy, snapshot)
        now = Judge(chosen, person.principal, Context(self._clock(), person.purpose), person.barred)
        roles = tuple(decision["who"]["roles"])
        decided = await self._past(decision, snapshot)
        documents = sorted({UUID(showing.document) for showing in exchange.shown})
        return Facts(
            exchange=exchange,
            decision=decision,
            then=Then(person.principal, roles, person.user is not None, person.purpose, person.purpose_known),
            decided=decided,
            shown_under=await self._shown_under(retrieval, decided),
            now=now,
            pending_policy=versions.pending_policy,
            classes=await self._sources.documents.current_classes(documents),
        )

    async def _events(self, first: int, last: int) -> list[dict[str, Any]]:
        """Raises `LedgerUnavailable` where they are not what the index says."""
        stored = await self._asking.opened(asyncio.to_thread(self._log.stored, first, last))
        events: list[dict[str, Any]] = [json.loads(event.event) for event in stored]
        kinds = [event["type"] for event in events]
        if kinds not in ([EventType.REQUEST, EventType.DECISION], [EventType.RETRIEVAL]):
            raise LedgerUnavailable("the exchange's events are not in their places; run `usher audit verify`")
        return events

    async def _past(self, event: dict[str, Any], snapshot: Snapshot) -> Past:
        """What an event was decided under: the version that it names, and maybe the next while that was pending."""
        version = event["policy_version"]
        stored = await self._sources.policies.load(version)
        following = await self._sources.policies.load(version + 1)
        rules = await asyncio.to_thread(_rules, stored)
        return Past(
            version=version,
            rules=rules or Rules(),
            found=None if rules is None else rules.digest,
            following=await asyncio.to_thread(_rules, following),
            following_since=None if following is None else following.created_at,
            labels=snapshot,
            label_version=event["label_version"],
            at=_instant(event["time"]),
            valid_until=None if event.get("valid_until") is None else _instant(event["valid_until"]),
            scope_digest=event["scope_digest"],
            policy_digest=event.get("policy_digest"),
        )

    async def _shown_under(self, retrieval: dict[str, Any] | None, decided: Past) -> Past:
        """What was in force when passages were retrieved: most often what it was when that was decided."""
        if retrieval is None:
            return decided
        if retrieval["policy_version"] != decided.version:
            return await self._past(retrieval, decided.labels)
        labels, digest, at = retrieval["label_version"], retrieval["scope_digest"], _instant(retrieval["time"])
        return replace(decided, label_version=labels, scope_digest=digest, at=at, valid_until=None)

    async def _policy(self, version: int, snapshot: Snapshot) -> Snapshot:
        stored = await self._sources.policies.load(version) if 0 < version < 2**31 else None
        if stored is None:
            raise UserError("policy", "is no version of the policy", "give the number of one, or leave it out")
        rules = await asyncio.to_thread(_rules, stored)
        return await asyncio.to_thread(policy_of, version, rules or Rules(), snapshot)

    async def _person(self, pseudonym: str | None, credential: str | None) -> _Person:
        """By the pseudonym, from the ledger's subjects; the groups and the standing are the directory's, of now."""
        user = None if pseudonym is None else await self._names.of_person(pseudonym)
        if user is None:  # a name that no rule and no reader list has
            return _Person(None, Principal(typed("user", pseudonym or "nobody")), "the person is not known any more")
        person = await self._sources.directory.person(user)
        groups = () if person is None else tuple(typed("group", group) for group in person.groups)
        keys = {key.id: key for key in await self._sources.keys.keys(user)}
        key = keys.get(credential or "")
        barred = None if person is not None and person.active else "person_inactive"
        principal = Principal(typed("user", user), frozenset(groups))
        return _Person(user, principal, barred, None if key is None else key.purpose, key is not None)

    async def _told(self, reviewer: Reviewer, answer: Replayed, facts: Facts) -> Replayed:
        """The answer with the names and the rules' text that its reviewer may know."""
        told = answer.with_rules(facts) if await self._may_read_rules(reviewer) else answer
        if not reviewer.names:
            return told
        documents = await self._names.of_documents(passage.document for passage in told.passages)
        user = None if answer.pseudonym is None else await self._names.of_person(answer.pseudonym)
        return told.named(user, documents, facts)

    async def _may_read_rules(self, reviewer: Reviewer) -> bool:
        """Rules name people and groups."""
        if reviewer.grant is None:
            return True
        grant = await self._authority.again(reviewer.grant)
        return grant.may(Action.POLICY_READ, POLICY).allowed or grant.may(Action.AUDIT_IDENTIFY, AUDIT).allowed


def _audit_id(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _rules(stored: StoredPolicy | None) -> Rules | None:
    """None where there are none that were ever accepted."""
    try:
        return None if stored is None else parse_rules(stored.rules)
    except RuleFileError:
        return None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _absent() -> NotThere:
    return NotThere("audit_id", "is that of no exchange", "copy it from an answer or from another question")
