"""Who gains or loses what by a change of policy."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.worlds import COLLECTIONS, CONTEXTS, GROUPS, MARKS, ROLES, World, worlds

from usher_policy.book import RuleBook
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import ALWAYS
from usher_policy.decide import may, scope
from usher_policy.impact import Change, Delta, Person, anyone_in, impact, strangers
from usher_policy.rules import Permission, Rules, parse_rules
from usher_policy.vocabulary import Action, Principal, ancestors

READ = Action.DOCUMENT_READ

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
    assert changes(STAFF, after, ALICE, BOB) == {ALICE: Change(gained=frozenset({2}), reads_gained=("mark:pii",))}


def test_a_deny_takes_away_from_whoever_has_the_role() -> None:
    after = STAFF + "p, group:all, coll:a, document.read, deny, always\n"
    assert changes(STAFF, after, ALICE, BOB) == dict.fromkeys(
        (ALICE, BOB), Change(lost=frozenset({1}), reads_lost=("coll:a", "coll:a/b"))
    )


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
    gain = Change(gained=frozenset({3}), reads_gained=("coll:b",))
    assert changes(STAFF, after) == {Person(None, frozenset({"group:guests"}), known=False): gain}


def test_a_requirement_that_no_document_has_yet_is_gained_by_its_name() -> None:
    """A collection that is to come and a marking open no class today, and are a gain all the same."""
    after = STAFF + "p, role:boss, coll:new, document.read, allow, always\n"
    after += "p, user:alice, mark:secret, document.read, allow, purpose:is=audit\n"
    gain = Change(reads_gained=("coll:new", "mark:secret"))
    assert changes(STAFF, after, ALICE, BOB) == {ALICE: gain}
    assert gain.gains
    assert changes(after, STAFF, ALICE, BOB) == {ALICE: Change(reads_lost=gain.reads_gained)}


def test_a_place_within_a_collection_that_only_rules_name_is_told_apart() -> None:
    """What is denied below is not gained with what is allowed above."""
    before = STAFF + "p, role:boss, coll:x/y, document.read, deny, always\n"
    after = before + "p, role:boss, coll:x, document.read, allow, always\n"
    assert changes(before, after, ALICE) == {ALICE: Change(reads_gained=("coll:x",))}


def test_a_deny_that_is_lifted_from_people_unknown_is_a_gain() -> None:
    """Nobody can say what else those are who come with a group, or a user whom the directory does not know."""
    denies = "p, group:temps, coll:b, document.read, deny, always\np, user:eve, coll:b, document.read, deny, always\n"
    allows = STAFF + "p, role:boss, coll:b, document.read, allow, always\n"
    temps, eve = Person(None, frozenset({"group:temps"}), known=False), Person("user:eve", known=False)
    gain = Change(gained=frozenset({3}), reads_gained=("coll:b",))
    assert changes(allows + denies, allows, temps, eve) == {temps: gain, eve: gain}
    assert changes(allows + denies, allows, Person("user:eve")) == {}
    assert changes(STAFF + denies, STAFF, temps, eve) == {}


def test_a_deny_that_is_lifted_counts_where_others_are_allowed_at_times_only() -> None:
    deny = "p, group:temps, coll:b, document.read, deny, always\n"
    allows = STAFF + "p, role:boss, coll:b, document.read, allow, purpose:is=audit\n"
    (change,) = changes(allows + deny, allows, Person(None, frozenset({"group:temps"}), known=False)).values()
    assert change.reads_gained == ("coll:b",)


def test_users_whom_only_rules_know_are_found() -> None:
    """By rule and by link; those of the directory are not among them."""
    book = RuleBook.of(parse_rules(STAFF + "p, user:eve, coll:b, document.read, deny, always\n"))
    assert strangers([BOB], book) == [Person("user:alice", known=False), Person("user:eve", known=False)]
    assert strangers([ALICE], book) == [Person("user:eve", known=False)]


def as_linted(rules: Rules) -> Rules:
    """Without chains that Casbin would cut, as lint sees to: the first eight roles make none."""
    return Rules(rules.permissions, tuple(link for link in rules.links if link.role in ROLES[:8]))


def without_conditions(rules: Rules) -> Rules:
    return Rules(tuple(Permission(p.sub, p.obj, p.act, p.eft, ALWAYS) for p in rules.permissions), rules.links)


def covering(name: str, *policies: Rules) -> str:
    """The name itself, or the nearest above it that rules name: what lies below reads as that does."""
    named = {rule.obj for rules in policies for rule in rules.permissions}
    return next((above for above in (name, *ancestors(name)) if above in named), name)


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
        change = reported.get(person, Change())
        for name in (*COLLECTIONS, *MARKS):
            for context in CONTEXTS:
                one, two = (may(snapshot, principal, name, READ, context).allowed for snapshot in (before, after))
                assert one or not two or covering(name, old, new) in change.reads_gained
                assert two or not one or covering(name, old, new) in change.reads_lost
        for obj, action in [("adapter:support", Action.ADAPTER_USE), ("coll:a", Action.DOCUMENT_INGEST)]:
            for context in CONTEXTS:
                was_allowed, is_allowed = (
                    may(snapshot, principal, obj, action, context).allowed for snapshot in (before, after)
                )
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
@given(world=worlds(), other=worlds(), groups=st.frozensets(st.sampled_from(GROUPS)))
def test_nobody_unknown_gains_what_is_not_told_of_one_of_their_groups(
    world: World, other: World, groups: frozenset[str]
) -> None:
    """Whoever comes with whatever groups: each gain is told of anyone in one of them."""
    old, new = as_linted(world.rules), as_linted(other.rules)
    before, after = (compile_snapshot(1, rules, world.catalog) for rules in (old, new))
    books = before.book, after.book
    found = impact(*books, Delta.between(old, new), world.catalog, anyone_in(*books))
    told = {
        name
        for group in found
        if any(person.groups & groups for person in group.people)
        for name in group.change.reads_gained
    }
    newcomer = Principal("user:newcomer", groups)
    for name in (*COLLECTIONS, *MARKS):
        for context in CONTEXTS:
            if may(after, newcomer, name, READ, context).allowed:
                assert may(before, newcomer, name, READ, context).allowed or covering(name, old, new) in told


@settings(max_examples=settings().max_examples // 6, deadline=None)
@given(world=worlds(), other=worlds())
def test_without_conditions_it_is_exact(world: World, other: World) -> None:
    old, new = (without_conditions(as_linted(rules)) for rules in (world.rules, other.rules))
    snapshots = [compile_snapshot(1, rules, world.catalog) for rules in (old, new)]
    for principal, change, gained, lost in compared(world, old, new):
        assert (change.gained, change.lost) == (gained, lost), principal
        named = {rule.obj for rules in (old, new) for rule in rules.permissions} | set(COLLECTIONS) | set(MARKS)
        for name in (n for n in named if covering(n, old, new) == n and not n.startswith("readers:")):
            was_, is_ = (may(policy, principal, name, READ, CONTEXTS[0]).allowed for policy in snapshots)
            assert (name in change.reads_gained, name in change.reads_lost) == (is_ > was_, was_ > is_), name


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
