"""What a replay answers: each recorded decision beside what it is when it is made again, then and now. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self
from uuid import UUID

from usher.audit.replay_facts import Bench, Facts, Past
from usher.core.reach import Reach
from usher.core.replay import (
    Agreement,
    Judge,
    Reading,
    RuleChange,
    agreement,
    changes,
    reading,
    same_scope,
    shown_agreement,
)
from usher.ports.audit_exchanges import Showing
from usher.ports.audit_index import DocumentName
from usher_policy.decide import Decision, roles_of
from usher_policy.vocabulary import Action

_STANDING = frozenset({"key_revoked", "key_expired", "person_inactive"})
"""Reasons of a recorded denial that are the credential's, and no rule's."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether something is allowed, why, and the ids of the rules that took part."""

    allowed: bool
    reason: str
    rules: tuple[str, ...]

    @classmethod
    def of(cls, decision: Decision) -> Self:
        return cls(decision.allowed, decision.reason, decision.rules)


@dataclass(frozen=True, slots=True)
class Side:
    """Under what was judged, as what. `groups` are given with names only."""

    policy_version: int
    policy_digest: str | None
    label_version: int
    at: datetime
    roles: tuple[str, ...] | None
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DecisionAgain:
    """Whether it was answered at all: as recorded, and decided again."""

    action: str
    object: str
    recorded: Ruling
    then: Ruling
    now: Ruling
    changes: tuple[RuleChange, ...]
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class ClassAgain:
    """Whether what has these access classes may be read, requirement by requirement. There are two classes while a
    change of the document's label is pending, and none for a document that is not there."""

    access_classes: tuple[int | None, ...]
    readable: bool
    requirements: Mapping[str, Ruling]

    @classmethod
    def of(cls, readings: list[Reading]) -> Self:
        decided = {name: decision for one in readings for name, decision in (one.requirements or {}).items()}
        readable = bool(readings) and all(one.readable for one in readings)
        rulings = {name: Ruling.of(decision) for name, decision in sorted(decided.items())}
        return cls(tuple(one.access_class for one in readings), readable, rulings)


@dataclass(frozen=True, slots=True)
class PassageAgain:
    """A passage that was shown, or inherited by way of `via`, and whether it might be, then and now. For what is
    inherited, `then` is judged by the label that it had when `via` showed it."""

    document: str
    version: int | None
    chunk: str | None
    how: str
    via: str | None
    rank: int | None
    in_prompt: bool | None
    cited: bool
    then: ClassAgain
    now: ClassAgain
    required_no_more: tuple[str, ...]
    required_since: tuple[str, ...]
    changes: tuple[RuleChange, ...]
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Replayed:
    """An exchange decided again. `agreement` is the gravest of all; `problems` say what is found wrong; `basis` says
    what is recorded and what is assumed."""

    audit_id: str
    number: int
    time: str
    kind: str
    pseudonym: str | None
    outcome: str | None
    then: Side
    shown_under: Side
    now: Side
    pending_policy: int | None
    basis: Mapping[str, str]
    decision: DecisionAgain
    passages: tuple[PassageAgain, ...]
    agreement: Agreement
    problems: tuple[str, ...]
    rules: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    documents: Mapping[str, DocumentName] = field(default_factory=dict)

    def within(self, facts: Facts, reach: Reach, passages: tuple[PassageAgain, ...]) -> Self:
        """With those passages only that are within reach, and what follows of them; roles only where what is about no
        document is."""
        found = _found(facts, self.decision, passages)
        told = replace(self, passages=passages, agreement=found[0], problems=found[1])
        if reach.everything:
            return told
        bare = [replace(side, roles=None) for side in (self.then, self.shown_under, self.now)]
        return replace(told, then=bare[0], shown_under=bare[1], now=bare[2])

    def with_rules(self, facts: Facts) -> Self:
        """With the text of each rule that it names."""
        action, target = Action(self.decision.action), self.decision.object
        asked = [(judge, action, target) for judge in (facts.bench.judge, facts.now)]
        for passage in self.passages:
            asked += [(facts.shown_bench.judge, Action.DOCUMENT_READ, name) for name in passage.then.requirements]
            asked += [(facts.now, Action.DOCUMENT_READ, name) for name in passage.now.requirements]
        concerned = [judge.concerning(action, target) for judge, action, target in asked]
        texts = {ident: rule.canonical for rules in concerned for ident, rule in rules.items()}
        return replace(self, rules={ident: texts[ident] for ident in sorted(set(self._rules())) if ident in texts})

    def named(self, user: str | None, documents: Mapping[str, DocumentName], facts: Facts) -> Self:
        then = replace(self.then, groups=_groups(facts.bench.judge))
        shown = replace(self.shown_under, groups=_groups(facts.shown_bench.judge))
        now = replace(self.now, groups=_groups(facts.now))
        return replace(self, user=user, documents=documents, then=then, shown_under=shown, now=now)

    def _rules(self) -> Iterator[str]:
        for ruling in (self.decision.recorded, self.decision.then, self.decision.now):
            yield from ruling.rules
        for passage in self.passages:
            for side in (passage.then, passage.now):
                for ruling in side.requirements.values():
                    yield from ruling.rules


def _groups(judge: Judge) -> tuple[str, ...]:
    return tuple(sorted(judge.principal.groups))


def replayed(facts: Facts) -> Replayed:
    """Every recorded decision of an exchange, made again."""
    exchange = facts.exchange
    decision = _decision(facts)
    passages = tuple(_passage(facts, showing) for showing in exchange.shown)
    found = _found(facts, decision, passages)
    return Replayed(
        audit_id=exchange.audit_id,
        number=exchange.number,
        time=exchange.time,
        kind=exchange.kind,
        pseudonym=exchange.pseudonym,
        outcome=exchange.outcome,
        then=_then_side(facts, facts.decided, facts.bench),
        shown_under=_then_side(facts, facts.shown_under, facts.shown_bench),
        now=_now_side(facts.now),
        pending_policy=facts.pending_policy,
        basis=_basis(facts),
        decision=decision,
        passages=passages,
        agreement=found[0],
        problems=found[1],
    )


def _found(
    facts: Facts, decision: DecisionAgain, passages: tuple[PassageAgain, ...]
) -> tuple[Agreement, tuple[str, ...]]:
    """The gravest of what came out again, and what is wrong."""
    problems = tuple(_problems(facts, decision, passages))
    if problems:
        return Agreement.CONTRADICTS, problems
    agreements = [decision.agreement, *(passage.agreement for passage in passages)]
    return (Agreement.UNKNOWN if Agreement.UNKNOWN in agreements else Agreement.AGREES), ()


def _decision(facts: Facts) -> DecisionAgain:
    body, bench = facts.decision, facts.bench
    action, target = Action(body["action"]), body["object"]
    allowed = body["effect"] == "allow"
    then, now = bench.judge.may(action, target), facts.now.may(action, target)
    same = agreement(allowed, [(action, target)], bench.ways, bench.groups, bench.known)
    return DecisionAgain(
        action=action,
        object=target,
        recorded=Ruling(allowed, body["reason"], tuple(body["rules"])),
        then=Ruling.of(then),
        now=Ruling.of(now),
        changes=changes(bench.judge, facts.now, {target: then}, {target: now}, action),
        agreement=Agreement.UNKNOWN if body["reason"] in _STANDING else same,
    )


def _passage(facts: Facts, showing: Showing) -> PassageAgain:
    bench = facts.shown_bench
    before = reading(bench.judge, showing.access_class)
    current = facts.classes.get(UUID(showing.document), ())
    after = [reading(facts.now, number) for number in current]
    same = shown_agreement(before, bench.ways, bench.groups, bench.known)
    if showing.via is not None and set(current) != {showing.access_class} and same is Agreement.CONTRADICTS:
        same = Agreement.UNKNOWN  # its label has changed since, maybe before it stood in this prompt
    now = {name: decision for one in after for name, decision in (one.requirements or {}).items()}
    then = before.requirements or {}
    return PassageAgain(
        document=showing.document,
        version=showing.version,
        chunk=showing.chunk,
        how=showing.how,
        via=showing.via,
        rank=showing.rank,
        in_prompt=showing.in_prompt,
        cited=showing.cited,
        then=ClassAgain.of([before]),
        now=ClassAgain.of(after),
        required_no_more=tuple(sorted(then.keys() - now.keys())),
        required_since=tuple(sorted(now.keys() - then.keys())),
        changes=changes(bench.judge, facts.now, then, now),
        agreement=same,
    )


def _problems(facts: Facts, decision: DecisionAgain, passages: tuple[PassageAgain, ...]) -> Iterator[str]:
    """What cannot have been as it was recorded, in words without names."""
    for past in {past.version: past for past in (facts.shown_under, facts.decided)}.values():
        if past.found is None and past.version > 0:
            yield f"policy version {past.version}, which the record names, is not stored any more"
        elif past.policy_digest is not None and past.found != past.policy_digest:
            yield f"policy version {past.version} is stored with other rules than those that the record names"
    if decision.agreement is Agreement.CONTRADICTS:
        recorded = "allowed" if decision.recorded.allowed else "denied"
        yield f"{decision.action} on {decision.object} was recorded as {recorded}, and is not so decided"
    for passage in passages:
        if passage.agreement is Agreement.CONTRADICTS:
            yield f"a passage of document {passage.document} was shown, which the policy of then does not let them read"


def _then_side(facts: Facts, past: Past, bench: Bench) -> Side:
    return Side(past.version, past.found, past.label_version, bench.judge.context.now, facts.then.roles)


def _now_side(now: Judge) -> Side:
    policy = now.policy
    roles = roles_of(policy, now.principal)
    return Side(policy.version, policy.digest, policy.catalog.label_version, now.context.now, roles)


def _basis(facts: Facts) -> dict[str, str]:
    """What the answer rests on: what the record says, and what is assumed."""
    then, bench = facts.then, facts.shown_bench
    whole = same_scope(bench.judge, facts.shown_under.scope_digest)
    groups = "as now, without those that the recorded roles rule out"
    return {
        "person": "by the pseudonym" if then.known else "not known any more: judged by the recorded roles alone",
        "policy": "the recorded version",
        "labels": "the recorded access class of each passage",
        "roles": "recorded, as they were evaluated",
        "time": "recorded, when the decision was written; it was made at most seconds before",
        "groups": groups
        if bench.groups
        else "of no consequence: nothing then named a group that they may have been in",
        "purpose": "fixed on the key at its issue" if then.purpose_known else "not known: judged as none",
        "scope": "the whole recorded scope comes out again" if whole else "not the recorded one: groups may differ",
        "now": "as if the person asked now, with such a key" + (f": {facts.now.barred}" if facts.now.barred else ""),
    }
