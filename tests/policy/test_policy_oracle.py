"""The snapshot against Casbin's own `enforce()`, on random rule sets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.errors import NoSuchExample
from tests.policy.worlds import Tally, World, disagreements, worlds

from usher_policy import compile as compiler
from usher_policy import decide
from usher_policy.catalog import Catalog
from usher_policy.conditions import Context, Held, evaluate
from usher_policy.oracle import Oracle
from usher_policy.rules import Rules
from usher_policy.vocabulary import Action, Effect, Principal

_NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
WORLDS = 130


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "comparisons"), [(WORLDS // 4, 4_000), pytest.param(WORLDS, 20_000, marks=pytest.mark.crash)]
)
def test_the_snapshot_answers_as_casbin_does(
    count: int, comparisons: int, record_property: Callable[[str, object], None]
) -> None:
    """At least so many questions to Casbin, yes and no among them, and the snapshot agrees on each."""
    tally = Tally()

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(worlds())
    def agrees(world: World) -> None:
        assert list(disagreements(world, tally)) == []

    agrees()
    record_property("decisions", tally.enforced)
    assert tally.enforced >= comparisons, tally
    assert tally.allowed >= tally.enforced // 8, tally
    assert tally.readable >= tally.documents // 30, tally


def _parent_only(name: str) -> tuple[str, ...]:
    return (name.rpartition("/")[0],) if name.startswith("coll:") and "/" in name else ()


def _by_prefix(name: str) -> tuple[str, ...]:
    return tuple(name[:end] for end in range(len("coll:a"), len(name))) if name.startswith("coll:") else ()


def _direct_roles(book: compiler.RuleBook, principal: Principal) -> frozenset[str]:
    reached = {principal.user, *principal.groups}
    return frozenset(reached | {role for name in reached for role in book.parents.get(name, ())})


def _every_depth(book: compiler.RuleBook, principal: Principal) -> frozenset[str]:
    reached: set[str] = set()
    edge = {principal.user, *principal.groups}
    while edge:
        reached |= edge
        edge = {role for name in edge for role in book.parents.get(name, ())} - reached
    return frozenset(reached)


def _without_groups(book: compiler.RuleBook, principal: Principal) -> frozenset[str]:
    return original_closure(book, Principal(principal.user))


def _open_on_failure(cond: str, effect: Effect, context: Context) -> Held:
    held = original_evaluate(cond, effect, context)
    return Held(not held.holds, held.valid_until) if cond.startswith("gone") else held


def _no_denies(readings: Any, effect: Effect) -> frozenset[str]:
    return original_covered(readings, effect) if effect == Effect.ALLOW else frozenset()


original_closure = compiler.RuleBook.closure
original_evaluate = evaluate
original_covered = compiler._covered

MISTAKES: dict[str, tuple[object, str, Callable[..., object]]] = {
    "only the nearest collection above counts": (compiler, "ancestors", _parent_only),
    "collections match by prefix": (compiler, "ancestors", _by_prefix),
    "roles are not inherited": (compiler.RuleBook, "closure", _direct_roles),
    "roles are followed deeper than Casbin does": (compiler.RuleBook, "closure", _every_depth),
    "groups are forgotten": (compiler.RuleBook, "closure", _without_groups),
    "a failing condition allows": (compiler, "evaluate", _open_on_failure),
    "denies are dropped from scopes": (compiler, "_covered", _no_denies),
    "classes of nobody are readable": (compiler, "_readable", lambda number, names, catalog: True),
    "an unconditional rule is enough": (decide, "_holding", lambda snapshot, rules, context: ((), None)),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these mistakes in the compiler makes some random world disagree with Casbin."""
    owner, name, wrong = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, wrong)
    options = settings(max_examples=WORLDS, database=None, derandomize=True, phases=[Phase.generate], deadline=None)
    try:
        find(worlds(), lambda world: any(True for _ in disagreements(world, Tally())), settings=options)
    except NoSuchExample:
        pytest.fail("no random world told the difference")


def test_the_oracle_refuses_one_user_with_two_sets_of_groups() -> None:
    """Casbin holds one set of edges for a user, so a second one would be silently mixed with the first."""
    oracle = Oracle(Rules(), Catalog(), [Principal("user:a", frozenset({"group:x"}))])
    with pytest.raises(ValueError, match="two sets of groups"):
        oracle.enforce(Principal("user:a"), "coll:a", Action.DOCUMENT_READ, Context(_NOW))
