"""What the shadow check asks: a decision with some of its scope, or questions to a whole policy version."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from usher.authority import Grant
from usher.ports.shadow import Asked, Sample
from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may
from usher_policy.vocabulary import Action, Principal

IN_SCOPE = 4
"""Access classes of a scope, and as many of those outside it, that are asked with a decision."""
PEOPLE = 20
QUESTIONS = 200
"""Asked of a whole version, of so many people in so many groups each."""
GROUPS = 2
NAMES = 100_000
"""Names of a policy that people and objects are drawn from, at most."""
CHAT = "sys:chat"

T = TypeVar("T")


def size_of(snapshot: Snapshot) -> int:
    """How many rules the version has."""
    book = snapshot.book
    return sum(map(len, book.of_subject.values())) + sum(map(len, book.parents.values()))


def of_grant(grant: Grant, allowed: bool, exchange: str) -> Sample | None:
    """The decision that the grant was asked for, and whether some access classes are in its scope. None for a grant
    that stood for two policies or two sets of groups, while a change was on its way: it is not one principal's."""
    if len(grant.snapshots) != 1 or len(grant.standing.principals) != 1:
        return None
    snapshot, scope = grant.snapshots[0], frozenset(grant.scope.classes)
    catalog = snapshot.catalog
    outside = [number for number in catalog.classes if number > 0 and number not in scope]
    drawn = [*_some(grant.scope.classes, IN_SCOPE), *_some(outside, IN_SCOPE)]
    classes = [(number, catalog.classes[number]) for number in drawn if number in catalog.classes]
    asked = [
        Asked(tuple(sorted(names)), str(Action.DOCUMENT_READ), number in scope, number)
        for number, names in classes
        if names and all(name in catalog.readers for name in names if name.startswith("readers:"))
    ]
    questions = (Asked((CHAT,), str(Action.CHAT_ASK), allowed), *asked)
    readers = _readers(catalog.readers, (name for one in asked for name in one.names))
    return _sample(snapshot, grant.standing.principals[0], grant.context, questions, readers, exchange)


def of_snapshot(snapshot: Snapshot, now: datetime | None = None) -> list[Sample]:
    """Questions of people whom rules name, in groups that rules name; half of them about what rules on their roles are
    about, half about anything."""
    book, context = snapshot.book, Context(now or datetime.now(UTC))
    subjects = list(islice({*book.parents, *book.of_subject}, NAMES))
    users = [name for name in subjects if name.startswith("user:")] or ["user:nobody"]
    groups = [name for name in subjects if name.startswith("group:")]
    anything = [on for on in islice(book.on_object, NAMES) if not on[0].startswith("readers:")]
    samples = []
    for user in random.choices(users, k=PEOPLE):  # noqa: S311 - no secret hangs on it
        principal = Principal(user, frozenset(_some(groups, GROUPS)))
        rules = [rule for name in book.closure(principal) for rule in book.of_subject.get(name, ())]
        own = [on for on in {(rule.obj, str(rule.act)) for rule in rules} if not on[0].startswith("readers:")]
        drawn = _drawn(own, QUESTIONS // PEOPLE // 2)
        drawn += _drawn(anything, QUESTIONS // PEOPLE - len(drawn))
        asked = tuple(_asked(snapshot, principal, on, context) for on in drawn)
        samples.append(_sample(snapshot, principal, context, asked))
    return samples


def _asked(snapshot: Snapshot, principal: Principal, on: tuple[str, str], context: Context) -> Asked:
    decision = may(snapshot, principal, on[0], Action(on[1]), context)
    return Asked((on[0],), on[1], decision.allowed, None, decision.rules)


def _sample(
    snapshot: Snapshot,
    principal: Principal,
    context: Context,
    asked: tuple[Asked, ...],
    readers: Mapping[str, Sequence[str]] | None = None,
    exchange: str | None = None,
) -> Sample:
    return Sample(
        policy_version=snapshot.version,
        policy_digest=snapshot.digest,
        label_version=snapshot.catalog.label_version,
        principal=principal,
        now=context.now,
        purpose=context.purpose,
        asked=asked,
        readers=readers or {},
        exchange=exchange,
    )


def _readers(known: Mapping[str, frozenset[str]], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(sorted(known[name])) for name in names if name in known}


def _some(given: Sequence[T], most: int) -> list[T]:
    return random.sample(given, min(most, len(given)))


def _drawn(given: Sequence[T], count: int) -> list[T]:
    """So many, the same more than once perhaps; none of none."""
    return random.choices(given, k=count) if given else []  # noqa: S311 - no secret hangs on it
