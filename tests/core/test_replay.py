"""Deciding again: what was decided comes out as it was, an alarm is never false, and differences say why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from tests.policy.worlds import COLLECTIONS, CONTEXTS, MARKS, World, worlds

from usher.core.evidence import scope_digest
from usher.core.replay import (
    Agreement,
    Judge,
    Why,
    agreement,
    changes,
    judge_then,
    possible_groups,
    reading,
    same_scope,
    shown_agreement,
)
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may, roles_of, scope
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, RoleLink, Rules, parse_rules
from usher_policy.vocabulary import Action, Effect, Principal

NOON = Context(datetime(2026, 11, 23, 12, tzinfo=UTC))
NIGHT = Context(datetime(2026, 11, 23, 23, tzinfo=UTC))
READ = Action.DOCUMENT_READ
HOURS = "time:days=mon-fri;from=09:00;to=17:00;zone=UTC"
few = settings(
    max_examples=10,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def then(world: World, principal: Principal, context: Context, groups: frozenset[str] | None = None) -> Judge:
    """The judge made of what a record would hold of this principal, with their possible groups, or with these."""
    snapshot = compile_snapshot(1, world.rules, world.catalog)
    roles = roles_of(snapshot, principal)
    possible = possible_groups(world.rules, world.catalog, principal.user, roles)
    assumed = Principal(principal.user, principal.groups & possible if groups is None else groups)
    return judge_then(1, world.rules, snapshot, assumed, roles, context)


def questions(world: World) -> list[tuple[Action, str]]:
    return [(READ, name) for name in (*COLLECTIONS, *MARKS, *world.catalog.readers)] + [
        (Action.ADAPTER_USE, "adapter:support")
    ]


@few
@given(worlds())
def test_the_same_policy_and_labels_give_what_was_decided(world: World) -> None:
    """Effect, reason and rules of each question, and the scope: from the recorded roles alone, as from the links."""
    snapshot = compile_snapshot(1, world.rules, world.catalog)
    for principal, context in product(world.principals, CONTEXTS):
        judge = then(world, principal, context)
        for action, target in questions(world):
            recorded, again = may(snapshot, principal, target, action, context), judge.may(action, target)
            assert (again.allowed, again.reason) == (recorded.allowed, recorded.reason)
            assert sorted(again.rules) == sorted(recorded.rules)
        readable = scope(snapshot, principal, context).classes
        assert judge.scope() == readable
        assert same_scope(judge, scope_digest(readable))
        found = [number for number in world.catalog.classes if reading(judge, number).readable]
        assert sorted(found) == list(readable)


@settings(few, max_examples=4)
@given(worlds())
def test_casbin_decides_again_as_the_judge_does(world: World) -> None:
    """Over the policy as it was written, with the groups as they were."""
    oracle = Oracle(world.rules, world.catalog, world.principals)
    for principal in world.principals:
        judge = then(world, principal, CONTEXTS[0])
        for action, target in questions(world):
            assert judge.may(action, target).allowed == oracle.enforce(principal, target, action, CONTEXTS[0])


@few
@given(worlds())
def test_no_record_is_contradicted_that_was_decided_so(world: World) -> None:
    """Whatever groups somebody was in, and whichever are assumed: it agrees, or it cannot be told."""
    snapshot = compile_snapshot(1, world.rules, world.catalog)
    for principal, other in product(world.principals, world.principals):
        roles = roles_of(snapshot, principal)
        possible = possible_groups(world.rules, world.catalog, principal.user, roles)
        judge = then(world, principal, CONTEXTS[1], other.groups & possible)
        for question in questions(world):
            recorded = may(snapshot, principal, question[1], question[0], CONTEXTS[1]).allowed
            assert agreement(recorded, [question], [[judge]], possible, True) is not Agreement.CONTRADICTS
        for number in scope(snapshot, principal, CONTEXTS[1]).classes:
            found = shown_agreement(reading(judge, number), [[judge]], possible, True)
            assert found is not Agreement.CONTRADICTS


@few
@given(worlds())
def test_what_no_group_explains_is_contradicted(world: World) -> None:
    """The other effect, where no rule and no reader list names a group that they may have been in."""
    for principal in world.principals:
        judge = then(world, principal, CONTEXTS[2], frozenset())
        for question in questions(world):
            recorded = not judge.may(*question).allowed
            assert agreement(recorded, [question], [[judge]], (), True) is Agreement.CONTRADICTS
            assert agreement(recorded, [question], [[judge]], (), False) is Agreement.UNKNOWN


CATALOG = Catalog(
    3, {1: frozenset({"coll:a"}), 2: frozenset({"coll:b"}), 3: frozenset({"mark:pii"}), 4: frozenset({"coll:a/c"})}
)
RULES = """\
p, role:staff, coll:a, document.read, allow, always
p, group:night, coll:b, document.read, allow, always
g, user:ann, role:staff
g, group:old, role:gone
"""


def judge(rules: str = RULES, context: Context = NOON, *groups: str) -> Judge:
    snapshot = compile_snapshot(1, parse_rules(rules), CATALOG)
    return Judge(snapshot, Principal("user:ann", frozenset(groups)), context)


def test_a_scope_is_known_again_among_more_classes() -> None:
    """Of classes that came to be later none was in it; another scope is another."""
    now = judge()
    assert now.scope() == (1, 4)
    assert [same_scope(now, scope_digest(classes)) for classes in ([1], [1, 4], [4], [1, 2], [])] == [
        True,
        True,
        False,
        False,
        False,
    ]
    nobody = replace(now, principal=Principal("user:bob"))
    assert same_scope(nobody, scope_digest([]))


def test_a_group_is_ruled_out_by_a_role_that_was_not_recorded() -> None:
    """What is left are those that a rule or a reader list names."""
    rules = parse_rules(RULES + "p, group:old, coll:b, document.read, allow, always\n")
    catalog = Catalog(1, {}, {"readers:x": frozenset({"group:listed", "user:bob"})})
    assert possible_groups(rules, catalog, "user:ann", ["role:staff"]) == {"group:night", "group:listed"}
    assert "group:old" in possible_groups(rules, catalog, "user:ann", ["role:staff", "role:gone"])


def test_a_pending_policy_and_an_earlier_instant_are_ways_to_have_judged() -> None:
    """What both allow together, or what was allowed a moment before."""
    one, none = judge(), judge("")
    asked = [(READ, "coll:a")]
    assert agreement(False, asked, [[one]], (), True) is Agreement.CONTRADICTS
    assert agreement(False, asked, [[one], [one, none]], (), True) is Agreement.AGREES
    timed = RULES.replace("always", HOURS, 1)
    night, day = judge(timed, NIGHT), judge(timed, NOON)
    assert agreement(True, asked, [[night]], (), True) is Agreement.CONTRADICTS
    assert agreement(True, asked, [[night], [day]], (), True) is Agreement.AGREES


@pytest.mark.parametrize("access_class", [None, 0, 3, 99])
def test_what_was_in_nobodys_scope_was_never_shown(access_class: int | None) -> None:
    """Unknown, not yet committed, or marked and nowhere shelved."""
    again = reading(judge(), access_class)
    assert not again.readable
    assert shown_agreement(again, [[judge()]], ["group:night"], True) is Agreement.CONTRADICTS


def why(before: Judge, after: Judge, then_at: str = "coll:a", now_at: str = "coll:a") -> list[tuple[bool, Why]]:
    found = changes(before, after, {then_at: before.may(READ, then_at)}, {now_at: after.may(READ, now_at)})
    return [(change.then, change.why) for change in found]


TIMED = RULES.replace("always", HOURS, 1)
DENYING = RULES + "p, user:ann, coll:a, document.read, deny, always\n"
ELSEWHERE = RULES.replace("g, user:ann, role:staff", "g, user:bob, role:staff")
WHYS = {
    "nothing": (judge(), judge(), []),
    "removed": (judge(), judge(""), [(True, Why.REMOVED)]),
    "added": (judge(""), judge(), [(False, Why.ADDED)]),
    "lost": (judge(), judge(ELSEWHERE), [(True, Why.LOST)]),
    "gained": (judge(ELSEWHERE), judge(), [(False, Why.GAINED)]),
    "ended": (judge(TIMED), judge(TIMED, NIGHT), [(True, Why.ENDED)]),
    "began": (judge(TIMED, NIGHT), judge(TIMED), [(False, Why.BEGAN)]),
    "outweighed": (judge(), judge(DENYING), [(True, Why.OUTWEIGHED), (False, Why.ADDED)]),
    "was outweighed": (judge(DENYING), judge(), [(True, Why.REMOVED), (False, Why.WAS_OUTWEIGHED)]),
    "barred": (judge(), replace(judge(), barred="person_inactive"), [(True, Why.BARRED)]),
}


@pytest.mark.parametrize("case", WHYS)
def test_a_rule_that_took_part_at_one_time_only_says_why_not_at_the_other(case: str) -> None:
    """Then and not now, or now and not then."""
    before, after, expected = WHYS[case]
    assert why(before, after) == expected


def test_another_label_is_a_reason_of_its_own() -> None:
    """The rules of what is required no more, and of what is required since."""
    night = judge(RULES, NOON, "group:night")
    assert why(night, night, "coll:a", "coll:b") == [(True, Why.UNLABELLED), (False, Why.LABELLED)]


def test_roles_that_came_by_many_links_reach_no_further_than_they_did() -> None:
    """The recorded roles are all that there were: links are not followed again from them."""
    chain = [RoleLink("user:ann", "role:r0"), *(RoleLink(f"role:r{n}", f"role:r{n + 1}") for n in range(12))]
    rules = Rules((Permission("role:r12", "coll:a", READ, Effect.ALLOW, "always"),), tuple(chain))
    ann = Principal("user:ann")
    snapshot = compile_snapshot(1, rules, CATALOG)
    roles = roles_of(snapshot, ann)
    assert "role:r8" in roles
    assert not judge_then(1, rules, snapshot, ann, roles, NOON).may(READ, "coll:a").allowed
    assert judge_then(1, rules, snapshot, ann, ["role:r12"], NOON).may(READ, "coll:a").allowed
