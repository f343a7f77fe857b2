"""One decision with all that brought it about, and what single line of the policy would turn it round."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from usher_policy.book import RuleBook
from usher_policy.compile import Snapshot
from usher_policy.conditions import ALWAYS, Context, evaluate
from usher_policy.decide import Decision, may
from usher_policy.links import MAX_LINKS
from usher_policy.rules import Permission, RoleLink, Rules
from usher_policy.vocabulary import Action, Effect, Principal, ancestors, fits

Line = Permission | RoleLink
_Paths = dict[str, tuple[str, ...]]

MAX_ROLES: Final = 20
"""Roles that are looked at for one that would open what is closed, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Part:
    """A rule that took part: its condition's value, until when it holds, and how its subject is theirs: the names from
    the user, or from one of their groups, to it, link by link. Lines are known by what they say: where one stands in
    the file, `Permission.line` says only for a snapshot that was compiled from it."""

    rule: Permission
    holds: bool
    valid_until: datetime | None
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision, and why. What concerns the asker's own names (`decision`, `parts`, `listed`, `to_add`) is apart
    from what tells of others' (`roles_to_give`); to somebody who may not read the policy show `own_words` alone."""

    principal: Principal
    object: str
    action: str
    decision: Decision
    """As `decide.may` gives it."""
    subjects: tuple[str, ...] = ()
    """The user, the groups and their roles, the nearest first."""
    parts: tuple[Part, ...] = ()
    """Each rule on the object, or above it, for one of the subjects: those that deny first."""
    listed: tuple[tuple[str, ...], ...] = ()
    """How a reader list names them: a path to each subject that it has."""
    to_remove: tuple[Line, ...] = ()
    """Every line, rule or link, without which alone the decision would be the other one."""
    to_add: tuple[Permission, ...] = ()
    """Rules for the asker's own names, each of which alone would make it the other one."""
    roles_to_give: tuple[RoleLink, ...] = ()
    """Links of the user to one more role, each of which alone would allow it; of `MAX_ROLES` at most."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What it would take, as sentences for somebody who may read the policy; none where it is allowed."""
        if self.decision.allowed:
            return ()
        denying = [part.rule for part in self.parts if part.rule.eft == Effect.DENY and part.holds]
        if denying:
            return tuple(f"it must go: {rule.canonical}" for rule in denying)
        waiting = [part.rule for part in self.parts if part.rule.eft == Effect.ALLOW]
        if waiting:
            return tuple(f"its condition must hold: {rule.canonical}" for rule in waiting)
        if self.to_add:
            return (f"a rule that allows {self.action} on {self.object} for one of {', '.join(self.subjects)}",)
        return (self.decision.reason,)

    @property
    def own_words(self) -> tuple[str, ...]:
        """The decision for the asker's own eyes. It names nothing but what they asked about and what they are: no rule
        is quoted, nobody else's is hinted at, and what does not exist reads like what is not theirs."""
        if self.decision.allowed:
            allowing = _of(self.parts, Effect.ALLOW, True)
            return (*_told(allowing, "allows it"), *(["you are on its list of readers"] if self.listed else []))
        denying = _of(self.parts, Effect.DENY, True)
        if denying:
            return tuple(_told(denying, "forbids it"))
        waiting = _of(self.parts, Effect.ALLOW, False)
        if waiting:
            return tuple(_told(waiting, "allows it at other times or for another purpose"))
        return ("nothing that you are allows it", f"it would take a rule for one of {', '.join(self.subjects)}")


def _of(parts: Iterable[Part], effect: Effect, holds: bool) -> list[Part]:
    return [part for part in parts if part.rule.eft == effect and part.holds == holds]


def _told(parts: Iterable[Part], what: str) -> list[str]:
    """A sentence for each subject of these rules, once."""
    return [f"a rule on {subject} {what}" for subject in dict.fromkeys(part.rule.sub for part in parts)]


def explain(snapshot: Snapshot, principal: Principal, obj: str, action: Action, context: Context) -> Explanation:
    """Why `may` answers as it does, and what would make it answer otherwise.

    1. the links from the user and the groups to all that they are
    2. the rules for any of these on the object or above it, with their conditions' values
    3. a small policy of just those rules and links, which answers this question as the whole one does
    4. asked again without each of its lines, and with each rule for their own names, for the lines that flip it
    """
    decision = may(snapshot, principal, obj, action, context)
    standing = snapshot.standing(principal)
    if standing is None or snapshot.matched(standing, obj, action).problem:
        return Explanation(principal, obj, str(action), decision, principal.subjects)
    paths = _paths(snapshot.book, principal.user, principal.groups)
    parts = _parts(snapshot, paths, obj, action, context)
    listed = snapshot.catalog.readers.get(obj, frozenset()) if action == Action.DOCUMENT_READ else frozenset[str]()
    question = _Question(snapshot, principal, obj, action, context, decision.allowed)
    return Explanation(
        principal,
        obj,
        str(action),
        decision,
        tuple(paths),
        parts,
        tuple(path for name, path in paths.items() if name in listed),
        tuple(question.flipped_without(paths)),
        tuple(question.flipped_with(paths)),
        tuple(question.roles_that_allow(paths)),
    )


def _paths(book: RuleBook, user: str, groups: Iterable[str] = ()) -> _Paths:
    """Each name that somebody is, nearest first, with the shortest path to it within the links that Casbin follows; a
    group is one link from the user."""
    paths: _Paths = {user: (user,)}
    edge: _Paths = {group: (group,) for group in sorted(groups)}
    edge |= _onward(book, paths, {**edge, **paths})
    for _ in range(MAX_LINKS):
        paths |= edge
        edge = _onward(book, edge, paths)
    return paths


def _onward(book: RuleBook, edge: _Paths, known: Collection[str]) -> _Paths:
    """The names one link further that are not known yet."""
    found: _Paths = {}
    for name, path in edge.items():
        for role in sorted(book.parents.get(name, ())):
            if role not in known:
                found.setdefault(role, (*path, role))
    return found


def _parts(snapshot: Snapshot, paths: _Paths, obj: str, action: Action, context: Context) -> tuple[Part, ...]:
    parts = []
    for rule in _on(snapshot.book, obj, action):
        if rule.sub in paths:
            value = snapshot.held((rule.cond, rule.eft), context)
            parts.append(Part(rule, value.holds, value.valid_until, paths[rule.sub]))
    return tuple(sorted(parts, key=lambda part: (part.rule.eft == Effect.ALLOW, not part.holds, part.rule.canonical)))


def _on(book: RuleBook, obj: str, action: str) -> Iterator[Permission]:
    """The rules on an object and on all that is above it."""
    for name in (obj, *ancestors(obj)):
        yield from book.on_object.get((name, action), ())


class _Question:
    """One question, to be asked of policies that differ in a line."""

    def __init__(
        self, snapshot: Snapshot, principal: Principal, obj: str, action: Action, context: Context, allowed: bool
    ) -> None:
        self._principal, self._obj, self._action, self._context = principal, obj, action, context
        self._snapshot, self._book, self._allowed = snapshot, snapshot.book, allowed

    def flipped_without(self, names: Iterable[str]) -> Iterator[Line]:
        """A line that takes part is a rule for one of the names, or a link that leads from one to another."""
        small = self._small(names)
        for rule in dict.fromkeys(small.rules.permissions):
            if self._turns(small, Rules((rule,)), Rules()):
                yield rule
        for link in dict.fromkeys(small.rules.links):
            if self._turns(small, Rules((), (link,)), Rules()):
                yield link

    def flipped_with(self, names: Iterable[str]) -> Iterator[Permission]:
        """On the object itself, for that is the least."""
        if not fits(self._action, self._obj):
            return
        small = self._small(names)
        effect = Effect.DENY if self._allowed else Effect.ALLOW
        for name in names:
            rule = Permission(name, self._obj, self._action, effect, ALWAYS)
            if self._turns(small, Rules(), Rules((rule,))):
                yield rule

    def roles_that_allow(self, names: Collection[str]) -> Iterator[RoleLink]:
        """Of the roles that a rule on the object allows it to now."""
        if self._allowed:
            return
        roles = sorted(
            {
                rule.sub
                for rule in _on(self._book, self._obj, self._action)
                if rule.eft == Effect.ALLOW
                and rule.sub.startswith("role:")
                and rule.sub not in names
                and evaluate(rule.cond, rule.eft, self._context).holds
            }
        )
        for role in islice(roles, MAX_ROLES):
            link = RoleLink(self._principal.user, role)
            inherited = _paths(self._book, role)
            if self._turns(self._small([*names, *inherited]), Rules(), Rules((), (link,))):
                yield link

    def _small(self, names: Iterable[str]) -> RuleBook:
        """The rules on the object for these names, and the links from them."""
        known = dict.fromkeys(names)
        rules = tuple(rule for rule in _on(self._book, self._obj, self._action) if rule.sub in known)
        links = tuple(RoleLink(name, role) for name in known for role in self._book.parents.get(name, ()))
        return RuleBook.of(Rules(rules, links))

    def _turns(self, small: RuleBook, removed: Rules, added: Rules) -> bool:
        """Whether the answer is the other one after a change."""
        whole = self._snapshot
        changed = Snapshot(whole.version, whole.digest, whole.catalog, small.changed(removed, added), whole.shelves)
        return may(changed, self._principal, self._obj, self._action, self._context).allowed != self._allowed
