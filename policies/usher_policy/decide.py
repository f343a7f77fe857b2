"""The two questions to a policy: may this principal do that, and which access classes may they read?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from usher_policy.compile import Matched, Snapshot
from usher_policy.conditions import ALWAYS, Context
from usher_policy.rules import Permission
from usher_policy.vocabulary import Action, Principal

MALFORMED = "the principal is not a user: name with group: names"


DENIED = "a rule denies it"
"""The reason where a rule forbids what another may allow."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer, why, the ids of the policy's rules that brought it about, and the first instant at which one of the
    conditions asked can change (None: not before policy, labels or principal do). A denial is a value, no exception."""

    allowed: bool
    reason: str
    rules: tuple[str, ...] = ()
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What one principal may read right now: access class ids, sorted, and the versions that they came from.

    `rules` are the ids of the policy's rules that hold for the principal over these labels; reader lists are known by
    the classes. `valid_until` is the first instant at which a condition that was asked can change.
    """

    classes: tuple[int, ...]
    policy_version: int
    policy_digest: str
    label_version: int
    valid_until: datetime | None = None
    rules: tuple[str, ...] = ()

    def intersect(self, other: Scope) -> Scope:
        """What both allow, until the first of them can change. It names the older policy and the older labels."""
        older = min((self, other), key=lambda scope: (scope.policy_version, scope.policy_digest))
        return Scope(
            classes=tuple(sorted(set(self.classes) & set(other.classes))),
            policy_version=older.policy_version,
            policy_digest=older.policy_digest,
            label_version=min(self.label_version, other.label_version),
            valid_until=earliest((self.valid_until, other.valid_until)),
            rules=tuple(sorted({*self.rules, *other.rules})),
        )


def earliest(instants: Iterable[datetime | None]) -> datetime | None:
    """The first of the instants, where None is never."""
    return min((instant for instant in instants if instant is not None), default=None)


def may(snapshot: Snapshot, principal: Principal, obj: str, action: Action, context: Context) -> Decision:
    """Whether some rule allows and none denies, over the user and all their groups and roles together.

    For a document ask about each of its requirements, or for its access class in `scope`.
    """
    standing = snapshot.standing(principal)
    if standing is None:
        return Decision(False, MALFORMED)
    return _judge(snapshot, snapshot.matched(standing, obj, action), context)


def _judge(snapshot: Snapshot, matched: Matched, context: Context) -> Decision:
    if matched.problem is not None:
        return Decision(False, matched.problem)
    denying, until_deny = _holding(snapshot, matched.deny, context)
    allowing, until_allow = _holding(snapshot, matched.allow, context)
    until = earliest((until_deny, until_allow))
    if denying:
        return Decision(False, DENIED, denying, until)
    if allowing or matched.listed:
        reason = "a rule allows it and none denies it" if allowing else "the reader list names the principal"
        return Decision(True, reason, allowing, until)
    if matched.allow:
        return Decision(False, "no allowing rule's condition holds", tuple(rule.id for rule in matched.allow), until)
    return Decision(False, "no rule allows it", (), until)


def _holding(
    snapshot: Snapshot, rules: tuple[Permission, ...], context: Context
) -> tuple[tuple[str, ...], datetime | None]:
    """The ids of those rules whose conditions hold, and when the first condition of them all can change."""
    holding: list[str] = []
    until: datetime | None = None
    for rule in rules:
        if rule.cond == ALWAYS:
            holding.append(rule.id)
            continue
        value = snapshot.held((rule.cond, rule.eft), context)
        until = earliest((until, value.valid_until))
        if value.holds:
            holding.append(rule.id)
    return tuple(holding), until


def scope(snapshot: Snapshot, principal: Principal, context: Context) -> Scope:
    """The access classes whose every requirement the principal may read. A malformed principal has none."""
    standing = snapshot.standing(principal)
    if standing is None:
        return Scope((), snapshot.version, snapshot.digest, snapshot.catalog.label_version)
    held = 0
    until: datetime | None = None
    for place, condition in enumerate(standing.conditions):
        value = snapshot.held(condition, context)
        held |= value.holds << place
        until = earliest((until, value.valid_until))
    view = snapshot.view(standing, held)
    return Scope(view.classes, snapshot.version, snapshot.digest, snapshot.catalog.label_version, until, view.rules)


def roles_of(snapshot: Snapshot, principal: Principal) -> tuple[str, ...]:
    """The `role:` names that the principal has, inherited ones included, sorted; none for a malformed principal."""
    if principal.problem is not None:
        return ()
    return tuple(sorted(name for name in snapshot.book.closure(principal) if name.startswith("role:")))
