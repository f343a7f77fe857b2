"""Decisions, scopes, and what a snapshot does when labels change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.worlds import CONTEXTS, World, worlds

from usher_policy import compile as compiler
from usher_policy.catalog import Catalog, readers_digest
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import Decision, Scope, may, roles_of, scope
from usher_policy.rules import RoleLink, Rules, parse_rules
from usher_policy.vocabulary import Action, Principal

RULES = parse_rules("""\
p, role:finance, coll:finance, document.read, allow, always
p, role:finance, mark:pii, document.read, allow, time:days=mon-fri;from=09:00;to=17:00;zone=UTC
p, group:temps, coll:finance/payroll, document.read, deny, always
p, role:finance, adapter:numbers, adapter.use, allow, always
p, role:staff, sys:chat, chat.ask, allow, always
p, user:alice, coll:legal, document.read, allow, purpose:is=audit
p, role:finance, coll:hr, document.ingest, allow, always
g, user:alice, role:finance
g, role:finance, role:staff
""")
LIST = readers_digest(["user:bob", "role:staff"])
CATALOG = Catalog(
    7,
    {
        0: frozenset({"coll:finance"}),
        1: frozenset({"coll:finance"}),
        2: frozenset({"coll:finance/payroll"}),
        3: frozenset({"coll:finance", "mark:pii"}),
        4: frozenset({LIST}),
        5: frozenset(),
        6: frozenset({"mark:pii"}),
        7: frozenset({"coll:finance", "readers:" + "0" * 64}),
        8: frozenset({"coll:finance", "tag:x"}),
        9: frozenset({"coll:finance", "coll:finance//x"}),
        10: frozenset({"coll:legal"}),
        11: frozenset({"coll:hr"}),
        -1: frozenset({"coll:finance"}),
    },
    {LIST: frozenset({"user:bob", "role:staff"})},
)
SNAPSHOT = compile_snapshot(3, RULES, CATALOG)
ALICE = Principal("user:alice")
TEMP = Principal("user:alice", frozenset({"group:temps"}))
BOB = Principal("user:bob")
NOON = Context(datetime(2026, 1, 7, 12, tzinfo=UTC))
NIGHT = Context(datetime(2026, 1, 7, 23, tzinfo=UTC))


def test_a_scope_holds_the_classes_whose_every_requirement_is_readable() -> None:
    """It names its versions, the rules that held, and the first instant at which a condition can change."""
    found = scope(SNAPSHOT, ALICE, NOON)
    assert found.classes == (1, 2, 3, 4)
    assert (found.policy_version, found.policy_digest, found.label_version) == (3, RULES.digest, 7)
    assert found.valid_until == datetime(2026, 1, 7, 17, tzinfo=UTC)
    assert found.rules == tuple(sorted(rule.id for rule in RULES.permissions[:2]))


def test_a_scope_changes_when_its_condition_does() -> None:
    """After hours the marked class is gone, and comes back in the morning."""
    found = scope(SNAPSHOT, ALICE, NIGHT)
    assert found.classes == (1, 2, 4)
    assert found.valid_until == datetime(2026, 1, 8, 9, tzinfo=UTC)


def test_a_groups_deny_outweighs_the_users_allow() -> None:
    """Subjects are asked together: one deny among them is a deny."""
    assert scope(SNAPSHOT, TEMP, NOON).classes == (1, 3, 4)


def test_classes_that_are_no_ones_are_in_no_scope() -> None:
    """Class 0, no requirement, markings only, an unknown list, kind or form: in nobody's scope."""
    assert {0, 5, 6, 7, 8, 9, -1}.isdisjoint(scope(SNAPSHOT, ALICE, NOON).classes)


def test_a_reader_list_admits_those_it_names() -> None:
    """A list is enough where a document has no collection, for nobody else."""
    assert scope(SNAPSHOT, BOB, NOON) == Scope((4,), 3, RULES.digest, 7)
    assert scope(SNAPSHOT, Principal("user:eve"), NOON).classes == ()


def test_a_purpose_opens_what_it_was_issued_for() -> None:
    """The purpose comes with the context, so the same person's other keys see less."""
    assert 10 in scope(SNAPSHOT, ALICE, Context(NOON.now, "audit")).classes
    assert 10 not in scope(SNAPSHOT, ALICE, Context(NOON.now, "support")).classes
    assert 10 not in scope(SNAPSHOT, ALICE, NOON).classes


@pytest.mark.parametrize(
    ("who", "obj", "action", "allowed", "reason"),
    [
        (ALICE, "coll:finance/payroll", "document.read", True, "a rule allows it and none denies it"),
        (TEMP, "coll:finance/payroll", "document.read", False, "a rule denies it"),
        (ALICE, "coll:hr", "document.read", False, "no rule allows it"),
        (ALICE, "coll:legal", "document.read", False, "no allowing rule's condition holds"),
        (BOB, LIST, "document.read", True, "the reader list names the principal"),
        (BOB, LIST, "document.ingest", False, "no rule allows it"),
        (ALICE, "coll:hr", "document.ingest", True, "a rule allows it and none denies it"),
        (ALICE, "adapter:numbers", "adapter.use", True, "a rule allows it and none denies it"),
        (ALICE, "adapter:other", "adapter.use", False, "no rule allows it"),
        (ALICE, "sys:chat", "chat.ask", True, "a rule allows it and none denies it"),
        (BOB, "sys:chat", "chat.ask", False, "no rule allows it"),
        (ALICE, "sys:root", "chat.ask", False, "the object is not a typed name in canonical form"),
        (ALICE, "coll:finance//x", "document.read", False, "the object is not a typed name in canonical form"),
        (ALICE, "finance", "document.read", False, "the object is not a typed name in canonical form"),
        (ALICE, "coll:finance", "document.write", False, "the action is unknown"),
        (ALICE, "coll:finance", "Document.Read", False, "the action is unknown"),
        (ALICE, "readers:" + "0" * 64, "document.read", False, "the reader list is unknown"),
        (Principal("alice"), "coll:finance", "document.read", False, "the principal is not"),
        (Principal("role:finance"), "coll:finance", "document.read", False, "the principal is not"),
        (Principal("user:x", frozenset({"role:finance"})), "coll:finance", "document.read", False, "the principal is"),
    ],
)
def test_a_decision_says_why(who: Principal, obj: str, action: str, allowed: bool, reason: str) -> None:
    """What is unknown or malformed is denied with a reason, never raised."""
    decision = may(SNAPSHOT, who, obj, cast(Action, action), NOON)
    assert decision.allowed is allowed
    assert decision.reason.startswith(reason)


def test_a_decision_names_its_rules_and_its_end() -> None:
    """The rules that brought it about, by id, and the first change of a condition that was asked."""
    allowing = RULES.permissions[1].id
    five = datetime(2026, 1, 7, 17, tzinfo=UTC)
    assert may(SNAPSHOT, ALICE, "mark:pii", Action.DOCUMENT_READ, NOON) == Decision(
        True, "a rule allows it and none denies it", (allowing,), five
    )
    assert may(SNAPSHOT, ALICE, "mark:pii", Action.DOCUMENT_READ, NIGHT).rules == (allowing,)
    assert may(SNAPSHOT, TEMP, "coll:finance/payroll", Action.DOCUMENT_READ, NOON).rules == (RULES.permissions[2].id,)


def test_a_malformed_principal_has_an_empty_scope_and_no_roles() -> None:
    """A role that poses as a group opens nothing."""
    posing = Principal("user:x", frozenset({"role:finance"}))
    assert scope(SNAPSHOT, posing, NOON).classes == ()
    assert roles_of(SNAPSHOT, posing) == ()


def test_roles_are_listed_with_those_inherited() -> None:
    """Sorted, roles only."""
    assert roles_of(SNAPSHOT, TEMP) == ("role:finance", "role:staff")


def test_a_remembered_condition_is_asked_again_when_it_can_change() -> None:
    """Answers follow the clock in both directions, in the middle of a warm snapshot."""
    for _ in range(2):
        for hour, holds in ((8, False), (9, True), (16, True), (17, False), (12, True), (3, False)):
            context = Context(datetime(2026, 1, 7, hour, tzinfo=UTC))
            assert may(SNAPSHOT, ALICE, "mark:pii", Action.DOCUMENT_READ, context).allowed is holds


def test_a_naive_time_fails_closed_in_a_warm_snapshot() -> None:
    """A remembered value is not used for a time that cannot be compared with it."""
    scope(SNAPSHOT, ALICE, NOON)
    assert 3 not in scope(SNAPSHOT, ALICE, Context(datetime(2026, 1, 7, 12))).classes


@pytest.mark.slow
@settings(deadline=None, database=None)
@given(worlds(), st.data())
def test_added_classes_give_the_snapshot_of_the_whole(world: World, data: st.DataObject) -> None:
    """A snapshot that grew, from any part of the catalog and with warm memory, equals a freshly compiled one."""
    some = data.draw(st.sets(st.sampled_from(sorted(world.catalog.classes))))
    lists = data.draw(st.sets(st.sampled_from(sorted(world.catalog.readers))))
    part = Catalog(
        0,
        {number: world.catalog.classes[number] for number in some},
        {name: world.catalog.readers[name] for name in lists},
    )
    grown = compile_snapshot(1, world.rules, part)
    for principal in world.principals:
        scope(grown, principal, CONTEXTS[0])
    grown = grown.with_catalog(world.catalog)
    shrunk = compile_snapshot(1, world.rules, world.catalog).with_catalog(part)
    for principal in world.principals:
        for context in CONTEXTS:
            whole = scope(compile_snapshot(1, world.rules, world.catalog), principal, context)
            assert scope(grown, principal, context) == whole
            less = scope(compile_snapshot(1, world.rules, part), principal, context)
            assert scope(shrunk, principal, context) == less


def test_an_added_class_leaves_the_others_readable() -> None:
    """A class more is a class more, for whoever reads the collection above it."""
    classes = {**CATALOG.classes, 20: frozenset({"coll:finance/new"})}
    grown = SNAPSHOT.with_catalog(Catalog(8, classes, CATALOG.readers))
    assert scope(grown, ALICE, NOON).classes == (1, 2, 3, 4, 20)


def test_a_change_of_labels_alone_keeps_what_was_worked_out() -> None:
    """Only the label version moves: nothing is compiled or worked out again."""
    moved = SNAPSHOT.with_catalog(Catalog(8, dict(CATALOG.classes), dict(CATALOG.readers)))
    assert moved.shelves is SNAPSHOT.shelves
    assert moved.standing(ALICE) is SNAPSHOT.standing(ALICE)
    assert scope(moved, ALICE, NOON).label_version == 8


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked about any number of people, objects and instants, a snapshot remembers a bounded number of each."""
    monkeypatch.setattr(compiler._remember, "__defaults__", (10,))
    snapshot = compile_snapshot(1, RULES, CATALOG)
    for number in range(50):
        who = Principal(f"user:u{number}", frozenset({"group:temps"}))
        context = Context(NOON.now, f"purpose-{number}")
        assert not may(snapshot, who, f"coll:x{number}", Action.DOCUMENT_READ, context).allowed
        assert scope(snapshot, ALICE, context).classes == (1, 2, 3, 4)
    memory = snapshot._memory
    sizes = [len(memory.people), len(memory.matched), len(memory.held), len(memory.standings)]
    assert max(sizes) <= 10


def test_circles_and_long_chains_end() -> None:
    """Rules that lint would reject still get an answer, the one that Casbin gives."""
    circle = Rules((), (RoleLink("user:a", "role:x"), RoleLink("role:x", "role:y"), RoleLink("role:y", "role:x")))
    assert roles_of(compile_snapshot(1, circle, Catalog()), Principal("user:a")) == ("role:x", "role:y")


instants = st.one_of(st.none(), st.integers(0, 50).map(lambda hours: NOON.now + timedelta(hours=hours)))
scopes = st.builds(
    Scope,
    st.sets(st.integers(1, 30)).map(lambda ids: tuple(sorted(ids))),
    st.integers(1, 3),
    st.sampled_from(["aa", "bb"]),
    st.integers(1, 3),
    instants,
    st.sets(st.sampled_from(["r1", "r2", "r3"])).map(lambda ids: tuple(sorted(ids))),
)


@given(scopes, scopes, scopes)
def test_an_intersection_is_what_all_allow(one: Scope, two: Scope, three: Scope) -> None:
    """Commutative, associative and idempotent; never wider or longer than either side."""
    both = one.intersect(two)
    assert both == two.intersect(one)
    assert both.intersect(three) == one.intersect(two.intersect(three))
    assert one.intersect(one) == one
    assert set(both.classes) == set(one.classes) & set(two.classes)
    assert both.classes == tuple(sorted(both.classes))
    known = [until for until in (one.valid_until, two.valid_until) if until is not None]
    assert both.valid_until == (min(known) if known else None)
    assert both.label_version <= min(one.label_version, two.label_version)


@pytest.mark.slow
@settings(deadline=None, database=None)
@given(worlds(), st.integers(0, 999))
def test_a_scope_is_the_same_until_it_may_change(world: World, part: int) -> None:
    """Asked again at any instant before `valid_until`, a fresh snapshot gives the same classes."""
    for principal in world.principals:
        for context in CONTEXTS:
            first = scope(compile_snapshot(1, world.rules, world.catalog), principal, context)
            ahead = (first.valid_until - context.now) if first.valid_until else timedelta(days=400)
            later = Context(context.now + ahead * part // 1000, context.purpose)
            again = scope(compile_snapshot(1, world.rules, world.catalog), principal, later)
            assert again.classes == first.classes
