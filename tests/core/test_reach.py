"""How far a right of the audit log goes, held against a reading of the rules one by one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from usher.core.reach import Reach, reach
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import DENIED, may
from usher_policy.rules import Permission, Rules
from usher_policy.vocabulary import Action, Effect, Principal, ancestors

ALICE = Principal("user:alice", frozenset({"group:staff"}))
CLASSES = {
    1: frozenset({"coll:a"}),
    2: frozenset({"coll:a/b", "mark:pii"}),
    3: frozenset({"coll:a/b/c"}),
    4: frozenset({"coll:d"}),
    5: frozenset({"readers:" + "0" * 64}),
}
NOW = Context(datetime(2026, 3, 30, 8, 30, tzinfo=UTC))
EVERYWHERE = Permission("group:staff", "sys:audit", Action.AUDIT_READ, Effect.ALLOW, "always")
RULES = st.lists(
    st.builds(
        Permission,
        st.sampled_from(["user:alice", "group:staff", "user:bob"]),
        st.sampled_from(["sys:audit", "coll:a", "coll:a/b", "coll:a/b/c", "coll:d"]),
        st.sampled_from([Action.AUDIT_READ, Action.AUDIT_READ, Action.AUDIT_IDENTIFY]),
        st.sampled_from([Effect.ALLOW, Effect.ALLOW, Effect.DENY]),
        st.just("always"),
    ),
    max_size=7,
)


def reached(rules: Collection[Permission], action: Action) -> Reach:
    snapshot = compile_snapshot(1, Rules(tuple(rules)), Catalog(1, CLASSES))

    def decided(target: str) -> tuple[bool, str]:
        decision = may(snapshot, ALICE, target, action, NOW)
        return decision.allowed, decision.reason

    return reach(decided("sys:audit")[0], snapshot.catalog, lambda c: decided(c)[0], lambda c: decided(c)[1] == DENIED)


def by_hand(rules: Collection[Permission], action: Action) -> Reach:
    """The definition: everywhere but where it is denied, or where it is allowed and not denied."""
    hers = [rule for rule in rules if rule.act == action and rule.sub in ALICE.subjects]

    def said(effect: Effect, target: str) -> bool:
        return any(rule.eft == effect and rule.obj in (target, *ancestors(target)) for rule in hers)

    everywhere = said(Effect.ALLOW, "sys:audit") and not said(Effect.DENY, "sys:audit")

    def within(names: Collection[str]) -> bool:
        shelves = [name for name in names if name.startswith("coll:")]
        if not shelves:
            return everywhere
        return not said(Effect.DENY, shelves[0]) and (everywhere or said(Effect.ALLOW, shelves[0]))

    found = frozenset(number for number, names in CLASSES.items() if within(names))
    return Reach(everywhere, found, everywhere and len(found) == len(CLASSES))


@settings(deadline=None)
@given(RULES, st.booleans())
def test_the_reach_of_a_right_is_what_the_rules_say(rules: list[Permission], everywhere: bool) -> None:
    """Of each right by itself; of two together what is within both."""
    rules = [*rules, EVERYWHERE] if everywhere else rules
    read, identify = (reached(rules, action) for action in (Action.AUDIT_READ, Action.AUDIT_IDENTIFY))
    assert read == by_hand(rules, Action.AUDIT_READ)
    assert identify == by_hand(rules, Action.AUDIT_IDENTIFY)
    both = read & identify
    assert both.classes == read.classes & identify.classes
    assert (both.everything, both.whole) == (read.everything and identify.everything, read.whole and identify.whole)
    assert read.nothing == (not read.everything and not read.classes)
    assert all(read.covers(number) == (number in read.classes) for number in (*CLASSES, 99))
    assert read.covers(None) == read.everything
