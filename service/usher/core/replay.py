"""One recorded decision, made again: by the policy and the labels of then, and by those of now, rule by rule.

The record holds the roles that somebody had, not the groups that gave them: a judge of then has exactly those roles.
Groups matter only where a rule or a reader list names one itself. Which of those somebody was in is assumed, and only
what no possible group explains is called a contradiction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from usher_policy.book import RuleBook
from usher_policy.catalog import Catalog, restricts
from usher_policy.compile import Snapshot as Policy
from usher_policy.conditions import Context
from usher_policy.decide import DENIED, Decision, may, scope
from usher_policy.rules import Permission, RoleLink, Rules
from usher_policy.vocabulary import Action, Principal


class Agreement(StrEnum):
    """Whether what was recorded comes out again. Each is graver than the one before."""

    AGREES = "agrees"
    UNKNOWN = "cannot be told"
    """It depends on groups, or on a name or a label, that the record does not hold."""
    CONTRADICTS = "contradicts the record"


class Why(StrEnum):
    """Why a rule took part at one time and not at the other."""

    REMOVED = "the policy has it no more"
    ADDED = "the policy did not have it"
    LOST = "its subject is none of theirs any more"
    GAINED = "its subject was none of theirs"
    ENDED = "its condition does not hold any more"
    BEGAN = "its condition did not hold"
    UNLABELLED = "the document does not require that any more"
    LABELLED = "the document did not require that"
    OUTWEIGHED = "it holds still, and another outweighs it"
    WAS_OUTWEIGHED = "it held, and another outweighed it"
    BARRED = "they may do nothing any more"


@dataclass(frozen=True, slots=True)
class Judge:
    """A policy over a catalog, and somebody judged by it at an instant. `barred` says why they may do nothing."""

    policy: Policy
    principal: Principal
    context: Context
    barred: str | None = None

    def may(self, action: Action, target: str) -> Decision:
        if self.barred is not None:
            return Decision(False, self.barred)
        return may(self.policy, self.principal, target, action, self.context)

    def scope(self) -> tuple[int, ...]:
        """The access classes that they may read."""
        return () if self.barred is not None else scope(self.policy, self.principal, self.context).classes

    def in_group(self, group: str) -> Judge:
        """The same with one group, and no other."""
        return replace(self, principal=Principal(self.principal.user, frozenset({group})))

    def concerning(self, action: Action, target: str) -> dict[str, Permission]:
        """The rules on an object, and on what it lies in, that name them or what they are; by id."""
        standing = self.policy.standing(self.principal)
        if standing is None:
            return {}
        matched = self.policy.matched(standing, target, action)
        return {rule.id: rule for rule in (*matched.allow, *matched.deny)}

    def has(self, rule: Permission) -> bool:
        """Whether the policy has such a rule."""
        return rule in self.policy.book.on_object.get((rule.obj, rule.act), ())


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether a document of an access class may be read, and the decision on each of its requirements by name.
    `requirements` is None for a class that is not known."""

    access_class: int | None
    readable: bool
    requirements: dict[str, Decision] | None


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule that took part in a decision on `target` then or now, and not at the other time."""

    rule: str
    target: str
    then: bool
    now: bool
    why: Why


def policy_of(version: int, rules: Rules, like: Policy) -> Policy:
    """A policy version over the labels of another snapshot, which are not looked through again."""
    return Policy(version, rules.digest, like.catalog, RuleBook.of(rules), like.shelves)


def judge_then(
    version: int, rules: Rules, like: Policy, principal: Principal, roles: Collection[str], context: Context
) -> Judge:
    """A judge of then, over the labels of `like`: whoever asked has exactly the recorded roles, however they came by
    them."""
    held = tuple(RoleLink(principal.user, role) for role in sorted(roles))
    return Judge(policy_of(version, Rules(rules.permissions, held), like), principal, context)


def possible_groups(rules: Rules, catalog: Catalog, user: str, roles: Collection[str]) -> frozenset[str]:
    """The groups that a rule or a reader list of then names itself, and in which they may have been: whoever is in a
    group has its roles, so that one with a role that was not recorded is ruled out."""
    named = {rule.sub for rule in rules.permissions}.union(*catalog.readers.values())
    book, recorded = RuleBook.of(rules), frozenset(roles)

    def possible(group: str) -> bool:
        closure = book.closure(Principal(user, frozenset({group})))
        return recorded.issuperset(name for name in closure if name.startswith("role:"))

    return frozenset(name for name in named if name.startswith("group:") and possible(name))


def reading(judge: Judge, access_class: int | None) -> Reading:
    """Whether somebody may read what is of an access class (None: unknown, and nobody's)."""
    names = None if access_class is None else judge.policy.catalog.classes.get(access_class)
    if access_class is None or names is None:
        return Reading(access_class, False, None)
    decisions = {name: judge.may(Action.DOCUMENT_READ, name) for name in sorted(names)}
    allowed = access_class > 0 and restricts(names) and all(decision.allowed for decision in decisions.values())
    return Reading(access_class, allowed, decisions)


Judges = Sequence[Judge]
"""Judges who must all allow: while a policy is pending it and the one in force decide together."""


def agreement(
    recorded: bool, questions: Iterable[tuple[Action, str]], ways: Sequence[Judges], groups: Iterable[str], known: bool
) -> Agreement:
    """Whether all of the questions are allowed, as it was `recorded`, by any of these ways to judge.

    `groups` are those that somebody may have been in (a set of groups allows or denies what one of them does, or none
    of them: each is tried alone); `known` is false where it is not known whose rules to ask for.
    """
    asked = list(questions)
    if any(all(_allowed(judges, question) for question in asked) == recorded for judges in ways):
        return Agreement.AGREES
    if not known:
        return Agreement.UNKNOWN
    some = list(groups)
    for judges in ways:
        with_groups = [judges, *_each_alone(judges, some)]
        verdicts = [{_allowed(each, question) for each in with_groups} for question in asked]
        if all(True in found for found in verdicts) if recorded else any(False in found for found in verdicts):
            return Agreement.UNKNOWN
    return Agreement.CONTRADICTS


def _each_alone(judges: Judges, groups: Iterable[str]) -> Iterable[Judges]:
    yield [replace(judge, principal=Principal(judge.principal.user)) for judge in judges]
    for group in groups:
        yield [judge.in_group(group) for judge in judges]


def _allowed(judges: Judges, question: tuple[Action, str]) -> bool:
    return all(judge.may(*question).allowed for judge in judges)


def shown_agreement(again: Reading, ways: Sequence[Judges], groups: Iterable[str], known: bool) -> Agreement:
    """Whether what was shown could be read. A class that the catalog never had was never read."""
    if again.requirements is None or again.access_class == 0 or not restricts(again.requirements):
        return Agreement.CONTRADICTS
    return agreement(True, [(Action.DOCUMENT_READ, name) for name in again.requirements], ways, groups, known)


def same_scope(judge: Judge, digest: str) -> bool:
    """Whether the recorded digest of a scope is that of this judge's: of its classes, or of the first of them, since
    classes are numbered in the order in which they came to be."""
    running = hashlib.sha256()
    if digest == running.hexdigest():
        return not judge.scope()
    for place, number in enumerate(judge.scope()):
        running.update(f"{',' if place else ''}{number}".encode())
        if running.hexdigest() == digest:
            return True
    return False


Decisions = Mapping[str, Decision]
"""The decisions on an action, by its objects."""


def changes(
    then: Judge, now: Judge, before: Decisions | None, after: Decisions | None, action: Action = Action.DOCUMENT_READ
) -> tuple[RuleChange, ...]:
    """The rules that took part in the decisions on some objects at one time only, and why not at the other."""
    before, after = before or {}, after or {}
    gone = [
        RuleChange(ident, target, True, False, _gone(rule, target, now, after))
        for target, ident, rule in _parts(then, before, after, action)
    ]
    come = [
        RuleChange(ident, target, False, True, _absent(rule, target, then, before))
        for target, ident, rule in _parts(now, after, before, action)
    ]
    return (*gone, *come)


def _parts(
    judge: Judge, decided: Decisions, other: Decisions, action: Action
) -> Iterator[tuple[str, str, Permission | None]]:
    """The rules, with their objects and ids, that brought these decisions about and not the others."""
    for target, decision in decided.items():
        rules = judge.concerning(action, target)
        elsewhere = _part(other[target]) if target in other else ()
        for ident in _part(decision):
            if ident not in elsewhere:
                yield target, ident, rules.get(ident)


def _part(decision: Decision) -> tuple[str, ...]:
    """The rules that brought a decision about; one that waits for its condition did not."""
    return decision.rules if decision.allowed or decision.reason == DENIED else ()


def _gone(rule: Permission | None, target: str, now: Judge, after: Decisions) -> Why:
    return Why.BARRED if now.barred is not None else _THEN_ONLY[_absent(rule, target, now, after)]


def _absent(rule: Permission | None, target: str, judge: Judge, decided: Decisions) -> Why:
    """Why a rule had no part in a decision of this judge's, in the words for a time that is over."""
    if rule is None or not judge.has(rule):
        return Why.ADDED
    if target not in decided:
        return Why.LABELLED
    if rule.sub not in judge.policy.book.closure(judge.principal):
        return Why.GAINED
    if not judge.policy.held((rule.cond, rule.eft), judge.context).holds:
        return Why.BEGAN
    return Why.WAS_OUTWEIGHED


_THEN_ONLY = {
    Why.ADDED: Why.REMOVED,
    Why.LABELLED: Why.UNLABELLED,
    Why.GAINED: Why.LOST,
    Why.BEGAN: Why.ENDED,
    Why.WAS_OUTWEIGHED: Why.OUTWEIGHED,
}
"""The same reasons, for a rule that took part then and does not now."""
