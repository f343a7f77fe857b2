"""A recorded exchange under two policies: which of its passages the second would keep from it, and which classes of
documents it would open. Both decide for the same person, at the instant at which they asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.decide import Scope, may, scope
from usher_policy.vocabulary import Action, Principal

CHAT = "sys:chat"

Classes = Sequence[int]
"""The access classes that the document of a passage has now; there are two while it changes, and none where nobody
knows it any more. All must be readable."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody who asked could see: nothing, if they might not `ask` at all."""

    ask: bool
    scope: Scope

    @classmethod
    def of(cls, policy: Snapshot, principal: Principal, context: Context) -> Sight:
        ask = may(policy, principal, CHAT, Action.CHAT_ASK, context).allowed
        seen = scope(policy, principal, context)
        return cls(ask, seen if ask else replace(seen, classes=()))

    def covers(self, classes: Classes) -> bool:
        return bool(classes) and set(classes).issubset(self.scope.classes)


@dataclass(frozen=True, slots=True)
class Redecided:
    """The passages shown of which the first policy shows the document and the second does not (`lost`) or of which
    neither does (`gone`), by place in what was shown; and the classes that only the second opens (`opened`)."""

    refused: bool
    lost: tuple[int, ...]
    gone: tuple[int, ...]
    opened: frozenset[int]


def redecided(shown: Sequence[Classes], before: Sight, after: Sight) -> Redecided:
    """What the second policy makes of what was shown."""
    hidden = [place for place, classes in enumerate(shown) if not after.covers(classes)]
    return Redecided(
        refused=before.ask and not after.ask,
        lost=tuple(place for place in hidden if before.covers(shown[place])),
        gone=tuple(place for place in hidden if not before.covers(shown[place])),
        opened=frozenset(after.scope.classes).difference(before.scope.classes),
    )


@dataclass(frozen=True, slots=True)
class Some:
    """How many passages of documents with exactly these requirements."""

    requirements: tuple[str, ...]
    passages: int


def by_requirements(policy: Snapshot, classes: Iterable[int]) -> tuple[Some, ...]:
    """Passages, each given by an access class, by what their documents require; the most first."""
    counted = Counter(tuple(sorted(policy.catalog.classes.get(ident, ()))) for ident in classes)
    return tuple(Some(names, count) for names, count in sorted(counted.items(), key=lambda one: (-one[1], one[0])))
