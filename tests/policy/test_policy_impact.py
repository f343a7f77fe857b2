"""Who gains or loses what by a change of policy."""

from __future__ import annotations

from hypothesis import given, settings
from tests.policy.worlds import CONTEXTS, ROLES, World, worlds

from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import ALWAYS
from usher_policy.decide import may, scope
from usher_policy.impact import Change, Delta, Person, anyone_in, impact
from usher_policy.rules import Permission, Rules, parse_rules
from usher_policy.vocabulary import Action, Principal

CATALOG = Catalog(1, {1: frozenset({"coll:a"}), 2: frozenset({"coll:a/b", "mark:pii"}), 3: frozenset({"coll:b"})}, {})
STAFF = """\
p, role:staff, coll:a, document.read, allow, always
p, role:staff, sys:chat, chat.ask, allow, always
g, group:all, role:staff
g, user:alice, role:boss
g, role:boss, role:staff
"""


def changes(before: str, after: str, *people: Person) -> dict[Person, Change]:
    old, new = parse_rules(before), parse_rules(after)
    books = [compile_snapshot(1, rules, CATALOG).book for rules in (old, new)]
    found = impact(books[0], books[1], Delta.between(old, new), CATALOG, people or anyone_in(*books))
    return {person: group.change for group in found for person in group.people}


ALICE = Person("user:alice", frozenset({"group:all"}))
BOB = Person("user:bob", frozenset({"group:all"}))


def test_a_right_on_a_marking_opens_the_classes_that_it_alone_kept_shut() -> None:
    """And nobody else is in the list."""
    after = STAFF + "p, role:boss, mark:pii, document.read, allow, always\n"
    assert changes(STAFF, after, ALICE, BOB) == {ALICE: Change(gained=frozenset({2}))}


def test_a_deny_takes_away_from_whoever_has_the_role() -> None:
    after = STAFF + "p, group:all, coll:a, document.read, deny, always\n"
    assert changes(STAFF, after, ALICE, BOB) == dict.fromkeys((ALICE, BOB), Change(lost=frozenset({1})))


def test_a_right_about_no_document_is_named() -> None:
    after = STAFF + "p, role:boss, sys:audit, audit.read, allow, always\n"
    (change,) = changes(STAFF, after, ALICE, BOB).values()
    assert change.rights_gained == (("sys:audit", "audit.read"),)
    assert change.gains


def test_another_time_window_is_a_gain_and_a_loss() -> None:
    """Neither before nor after is within the other."""
    line = "p, role:boss, coll:b, document.read, allow, time:days=mon;from={};to=17:00;zone=Europe/Berlin\n"
    change = changes(STAFF + line.format("09:00"), STAFF + line.format("08:00"), ALICE)[ALICE]
    assert change.gained == change.lost == {3}


def test_a_condition_where_there_was_none_is_a_loss_only() -> None:
    line = "p, role:boss, coll:b, document.read, allow, {}\n"
    change = changes(STAFF + line.format(ALWAYS), STAFF + line.format("purpose:is=audit"), ALICE)[ALICE]
    assert (change.gained, change.lost) == (frozenset(), {3})


def test_lines_that_are_moved_change_nothing() -> None:
    assert changes(STAFF, "\n".join(reversed(STAFF.splitlines()))) == {}


def test_a_rule_that_allows_what_another_one_does_already_changes_nothing() -> None:
    assert changes(STAFF, STAFF + "p, user:alice, coll:a, document.read, allow, purpose:is=audit\n", ALICE, BOB) == {}


def test_a_group_that_nobody_is_known_to_be_in_is_listed() -> None:
    after = STAFF + "p, group:guests, coll:b, document.read, allow, always\n"
    assert changes(STAFF, after) == {Person(None, frozenset({"group:guests"})): Change(gained=frozenset({3}))}


def as_linted(rules: Rules) -> Rules:
    """Without chains that Casbin would cut, as lint sees to: the first eight roles make none."""
    return Rules(rules.permissions, tuple(link for link in rules.links if link.role in ROLES[:8]))


def without_conditions(rules: Rules) -> Rules:
    return Rules(tuple(Permission(p.sub, p.obj, p.act, p.eft, ALWAYS) for p in rules.permissions), rules.links)


def compared(world: World, old: Rules, new: Rules) -> list[tuple[Principal, Change, set[int], set[int]]]:
    """For each principal the change that is reported, and the classes that are gained and lost in some context."""
    before, after = (compile_snapshot(1, rules, world.catalog) for rules in (old, new))
    people = {principal: Person(principal.user, principal.groups) for principal in world.principals}
    found = impact(before.book, after.book, Delta.between(old, new), world.catalog, people.values())
    reported = {person: group.change for group in found for person in group.people}
    result = []
    for principal, person in people.items():
        gained: set[int] = set()
        lost: set[int] = set()
        for context in CONTEXTS:
            was, is_ = (set(scope(snapshot, principal, context).classes) for snapshot in (before, after))
            gained |= is_ - was
            lost |= was - is_
        result.append((principal, reported.get(person, Change()), gained, lost))
        for obj, action in [("adapter:support", Action.ADAPTER_USE), ("coll:a", Action.DOCUMENT_INGEST)]:
            for context in CONTEXTS:
                was_allowed, is_allowed = (
                    may(snapshot, principal, obj, action, context).allowed for snapshot in (before, after)
                )
                change = reported.get(person, Change())
                assert was_allowed or not is_allowed or (obj, action) in change.rights_gained
                assert is_allowed or not was_allowed or (obj, action) in change.rights_lost
    return result


@settings(max_examples=settings().max_examples // 6, deadline=None)
@given(world=worlds(), other=worlds())
def test_no_gain_and_no_loss_is_left_out(world: World, other: World) -> None:
    """In whatever context it would show."""
    old, new = as_linted(world.rules), as_linted(other.rules)
    for principal, change, gained, lost in compared(world, old, new):
        assert gained <= change.gained, principal
        assert lost <= change.lost, principal


@settings(max_examples=settings().max_examples // 6, deadline=None)
@given(world=worlds(), other=worlds())
def test_without_conditions_it_is_exact(world: World, other: World) -> None:
    old, new = (without_conditions(as_linted(rules)) for rules in (world.rules, other.rules))
    for principal, change, gained, lost in compared(world, old, new):
        assert (change.gained, change.lost) == (gained, lost), principal


@settings(max_examples=settings().max_examples // 6, deadline=None)
@given(world=worlds(), other=worlds())
def test_a_changed_snapshot_answers_as_one_that_is_compiled_anew(world: World, other: World) -> None:
    """For everybody in every context, and with the same conditions to wait for."""
    delta = Delta.between(world.rules, other.rules)
    snapshot = compile_snapshot(1, world.rules, world.catalog)
    for principal in world.principals:
        scope(snapshot, principal, CONTEXTS[0])  # what is remembered must not stay
    changed = snapshot.changed(2, other.rules.digest, delta.removed, delta.added)
    anew = compile_snapshot(2, other.rules, world.catalog)
    assert changed.book.conditions.keys() == anew.book.conditions.keys()
    assert changed.book.rules.digest == other.rules.digest
    for principal in world.principals:
        for context in CONTEXTS:
            assert scope(changed, principal, context) == scope(anew, principal, context)
