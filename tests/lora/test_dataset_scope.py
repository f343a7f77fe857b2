"""What an adapter for a role may learn, held against Casbin's own answers over random worlds."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.worlds import COLLECTIONS, CONTEXTS, MARKS, ROLES, World, worlds

from usher_lora.dataset_scope import NOTHING, target
from usher_policy.catalog import Catalog
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.conditions import Context
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, RoleLink, Rules, parse_rules
from usher_policy.vocabulary import Action, Effect, Principal, ancestors

NOON = Context(datetime(2026, 3, 30, 11, tzinfo=UTC))
CATALOG = Catalog(
    1,
    {
        1: frozenset({"coll:desk"}),
        2: frozenset({"coll:desk", "mark:pii"}),
        3: frozenset({"coll:desk/plans"}),
        4: frozenset({"coll:board"}),
        5: frozenset({"readers:ff"}),
        6: frozenset({"coll:desk", "coll:board"}),
    },
    {"readers:ff": frozenset({"role:desk"})},
)
RULES = """
p, role:desk, coll:desk, document.read, allow, always
p, role:lead, coll:board, document.read, allow, always
p, role:lead, mark:pii, document.read, allow, always
g, role:lead, role:desk
g, user:ann, role:desk
g, group:staff, role:desk
"""
ANN, BEN = Principal("user:ann"), Principal("user:ben", frozenset({"group:staff"}))


def snapshot(rules: str = RULES) -> Snapshot:
    return compile_snapshot(1, parse_rules(rules), CATALOG)


def classes(role: str = "role:desk", *more: str, shelves: tuple[str, ...] = ("coll:desk",)) -> set[int]:
    rules = RULES + "".join(f"{line}\n" for line in more)
    return set(target([snapshot(rules)], role, shelves, [ANN, BEN], NOON).classes)


PLAIN = st.lists(
    st.builds(
        lambda role, name: Permission(role, name, Action.DOCUMENT_READ, Effect.ALLOW, "always"),
        st.sampled_from(ROLES[:3]),
        st.sampled_from([*COLLECTIONS[:2], *COLLECTIONS, *MARKS]),
    ),
    min_size=8,
    max_size=16,
)
"""Rights without conditions: random worlds have few of them, and only these are learned by."""


@settings(max_examples=10, deadline=None)
@given(worlds(), PLAIN, st.sets(st.sampled_from(COLLECTIONS), min_size=4), st.sampled_from(CONTEXTS))
def test_casbin_lets_everybody_with_the_role_read_all_of_it(
    world: World, more: list[Permission], collections: set[str], now: Context
) -> None:
    """Somebody who has the role and nothing else, at any time and for any purpose; each person who has it, now."""
    near = tuple(link for link in world.rules.links if link.role not in ROLES[9:])  # lint refuses what is deeper
    rules = Rules((*world.rules.permissions, *more), near)
    compiled = compile_snapshot(1, rules, world.catalog)
    alone = {role: Principal(f"user:only-{role.partition(':')[2]}") for role in ROLES[:3]}
    links = (RoleLink(nobody.user, role) for role, nobody in alone.items())
    judge = Oracle(Rules(rules.permissions, (*rules.links, *links)), world.catalog, world.principals)
    for role, nobody in alone.items():
        found = target([compiled], role, collections, world.principals, now)
        holders = {who for who in world.principals if _has(rules, who, role)}
        assert found.holders == len(holders)
        for number in found.classes:
            names = world.catalog.classes[number]
            shelves = [name for name in names if name.startswith("coll:")]
            assert shelves
            assert all(collections & {name, *ancestors(name)} for name in shelves)
            assert all(judge.readable(nobody, names, context) for context in CONTEXTS)
            assert all(judge.readable(who, names, now) for who in holders)


def _has(rules: Rules, who: Principal, role: str) -> bool:
    """By following the links one by one."""
    seen, todo = set[str](), {who.user, *who.groups}
    while todo:
        seen |= todo
        todo = {link.role for link in rules.links if link.member in todo} - seen
    return role in seen


def test_it_is_what_the_role_opens_of_the_collections() -> None:
    """With what is below them and what it inherits; without markings, other collections and reader lists."""
    assert classes() == {1, 3}
    assert classes("role:lead", shelves=("coll:desk", "coll:board")) == {1, 2, 3, 4, 6}
    assert classes("role:lead", shelves=("coll:board",)) == {4}
    assert classes(shelves=("coll:desk/plans",)) == {3}
    assert classes(shelves=("coll:board",)) == classes("role:none") == set()


def test_what_one_of_them_may_not_read_is_nobodys() -> None:
    """A denial of one person, or of a group that one of them is in, takes the class out; and it is counted."""
    assert classes("role:desk", "p, user:ann, coll:desk/plans, document.read, deny, always") == {1}
    assert classes("role:desk", "p, group:staff, coll:desk, document.read, deny, always") == set()
    rules = RULES + "p, user:ann, coll:desk/plans, document.read, deny, always\n"
    found = target([snapshot(rules)], "role:desk", ["coll:desk"], [ANN, BEN], NOON)
    assert (found.holders, found.refused) == (2, {3})
    assert target([snapshot(rules)], "role:desk", ["coll:desk"], [BEN], NOON).classes == {1, 3}


def test_what_waits_for_a_condition_is_not_learned() -> None:
    """An adapter knows at night what it learned by day: a right under a condition, or a denial under one, is none."""
    office = "time:days=mon-fri;from=08:00;to=18:00;zone=Europe/Berlin"
    assert classes("role:desk", f"p, role:desk, mark:pii, document.read, allow, {office}") == {1, 3}
    assert classes("role:desk", f"p, role:desk, coll:desk/plans, document.read, deny, {office}") == {1}
    assert classes("role:desk", "p, user:ann, coll:desk/plans, document.read, deny, purpose:is=audit") == {1, 3}


def test_every_policy_that_may_come_must_allow() -> None:
    """A pending one, and the one before a break-glass, beside the one in force; without any there is nothing."""
    narrower = snapshot("p, role:desk, coll:desk/plans, document.read, allow, always\n")
    assert target([snapshot(), narrower], "role:desk", ["coll:desk"], [ANN], NOON).classes == {3}
    assert target([], "role:desk", ["coll:desk"], [ANN], NOON) == NOTHING
