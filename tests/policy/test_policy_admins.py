"""Who can approve changes of policy, and a change that leaves too few of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher_policy.admins import approvers, loses_last_two
from usher_policy.book import RuleBook
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import ALWAYS, Context
from usher_policy.decide import may
from usher_policy.impact import Person
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, RoleLink, Rules, parse_rules
from usher_policy.vocabulary import Action, Effect, Principal

APPROVE = Action.POLICY_APPROVE
OFFICE = "time:days=mon-fri;from=09:00;to=17:00;zone=Europe/Berlin"
PEOPLE = [Person("user:a", frozenset({"group:x"})), Person("user:b"), Person("user:c")]
TWO = """\
p, role:admin, sys:policy, policy.approve, allow, always
p, user:b, sys:policy, policy.approve, allow, always
g, user:a, role:lead
g, role:lead, role:admin
"""


def found(text: str, people: list[Person] = PEOPLE) -> frozenset[str]:
    return approvers(RuleBook.of(parse_rules(text)), people)


def test_who_is_allowed_themselves_or_by_a_role_can_approve() -> None:
    assert found(TWO) == {"user:a", "user:b"}


NO_APPROVER = {
    "only through a group": "p, group:x, sys:policy, policy.approve, allow, always",
    "by a role that only a group gives": TWO.replace("g, user:a, role:lead", "g, group:x, role:lead"),
    "only in office hours": f"p, user:a, sys:policy, policy.approve, allow, {OFFICE}",
    "only with a key for a purpose": "p, user:a, sys:policy, policy.approve, allow, purpose:is=policy",
    "in a window that never closes": "p, user:a, sys:policy, policy.approve, allow, "
    "time:days=mon-sun;from=00:00;to=24:00;zone=UTC",
    "denied to them": TWO + "p, user:a, sys:policy, policy.approve, deny, always",
    "denied at some hours": TWO + f"p, user:a, sys:policy, policy.approve, deny, {OFFICE}",
    "denied to a group of theirs": TWO + "p, group:x, sys:policy, policy.approve, deny, purpose:is=audit",
    "denied to a role that a group gives": TWO
    + "g, group:x, role:guest\np, role:guest, sys:policy, policy.approve, deny, always",
    "on another object": "p, user:a, coll:hr, policy.approve, allow, always",
    "another right": "p, user:a, sys:policy, policy.activate, allow, always",
    "nobody": "",
}


@pytest.mark.parametrize("text", NO_APPROVER.values(), ids=NO_APPROVER)
def test_a_right_that_may_not_be_there_when_it_is_needed_is_none(text: str) -> None:
    """Through a group, under a condition, or with a deny that sometimes holds."""
    assert "user:a" not in found(text)


def test_a_role_that_is_too_many_links_away_is_a_groups_gift() -> None:
    """Nine links are followed; who comes by the tenth has the role only by the group that is nearer."""
    chain = [RoleLink("user:a", "role:r0"), *(RoleLink(f"role:r{n}", f"role:r{n + 1}") for n in range(9))]
    allow = Permission("role:r9", "sys:policy", APPROVE, Effect.ALLOW, ALWAYS)
    book = RuleBook.of(Rules((allow,), (*chain, RoleLink("group:x", "role:r9"))))
    assert "role:r9" in book.closure(Principal("user:a", frozenset({"group:x"})))
    assert approvers(book, PEOPLE) == frozenset()
    nearer = RuleBook.of(Rules((allow,), (*chain[1:], RoleLink("user:b", "role:r1"))))
    assert approvers(nearer, PEOPLE) == {"user:b"}


def test_people_who_are_not_given_are_not_counted() -> None:
    """Who is inactive or unknown approves nothing, whatever rules say."""
    assert found(TWO, [Person("user:b"), Person(None, frozenset({"group:x"}), known=False)]) == {"user:b"}


def test_two_are_never_lost() -> None:
    """From two or more to fewer is a loss; with one or none before, nothing is lost that was there."""
    two, one = RuleBook.of(parse_rules(TWO)), RuleBook.of(parse_rules("\n".join(TWO.splitlines()[:2])))
    three = RuleBook.of(parse_rules(TWO + "g, user:c, role:admin"))
    assert loses_last_two(two, one, PEOPLE)
    assert loses_last_two(three, one, PEOPLE)
    assert not loses_last_two(three, two, PEOPLE)
    assert not loses_last_two(two, three, PEOPLE)
    assert not loses_last_two(one, RuleBook(), PEOPLE)
    assert not loses_last_two(two, one, PEOPLE[1:])
    assert not loses_last_two(two, three, iter(PEOPLE))


GROUPS = ["group:x", "group:y"]
SUBJECTS = ["user:a", "user:b", "user:c", *GROUPS, "role:r0", "role:r1", "role:r9"]
CHAIN = [RoleLink(f"role:r{n}", f"role:r{n + 1}") for n in range(9)]
CONTEXTS = [Context(datetime(2026, 1, day, 12, tzinfo=UTC), purpose) for day in (4, 5) for purpose in (None, "audit")]
permissions = st.builds(
    Permission,
    st.sampled_from(SUBJECTS),
    st.sampled_from(["sys:policy"] * 5 + ["coll:hr"]),
    st.sampled_from([APPROVE] * 5 + [Action.POLICY_PROPOSE]),
    st.sampled_from([Effect.ALLOW] * 4 + [Effect.DENY]),
    st.sampled_from([ALWAYS] * 3 + [OFFICE, "purpose:is=audit", "gone:is=x"]),
)
links = st.builds(RoleLink, st.sampled_from(SUBJECTS[:5]), st.sampled_from(["role:r0", "role:r1", "role:r9"]))
policies = st.builds(
    lambda some, given, chain: Rules(tuple(some), (*given, *chain)),
    st.lists(permissions, min_size=1, max_size=5),
    st.lists(links, max_size=5),
    st.sampled_from([[], CHAIN[:1], CHAIN]),
)
directories = st.lists(
    st.builds(Person, st.sampled_from(SUBJECTS[:3]), st.frozensets(st.sampled_from(GROUPS))),
    unique_by=lambda person: person.user,
)


def by_casbin(rules: Rules, people: list[Person]) -> set[str]:
    """Allowed by what always holds and without groups; and with them, no deny is found even if every condition held."""
    sure = Rules(tuple(p for p in rules.permissions if p.eft == Effect.ALLOW and p.cond == ALWAYS), rules.links)
    turned = tuple(Permission(p.sub, p.obj, p.act, Effect.ALLOW, ALWAYS) for p in rules.permissions if p.eft == "deny")
    denied = Rules(turned, rules.links)
    return {
        person.user or ""
        for person in people
        if enforced(sure, Principal(person.user or ""))
        and not enforced(denied, Principal(person.user or "", person.groups))
    }


def enforced(rules: Rules, principal: Principal) -> bool:
    return Oracle(rules, Catalog(), [principal]).enforce(principal, "sys:policy", APPROVE, CONTEXTS[0])


@settings(deadline=None, database=None)
@given(policies, policies, directories)
def test_casbin_finds_the_same_approvers(before: Rules, after: Rules, people: list[Person]) -> None:
    """By asking it about everybody, and so the same changes are refused."""
    then, now = by_casbin(before, people), by_casbin(after, people)
    assert approvers(RuleBook.of(before), people) == then
    assert loses_last_two(RuleBook.of(before), RuleBook.of(after), people) == (len(then) > 1 > len(now) - 1)


@settings(deadline=None, database=None)
@given(policies, directories)
def test_an_approver_can_approve_at_any_time(rules: Rules, people: list[Person]) -> None:
    """For whatever purpose, and whichever of their groups they come with."""
    snapshot = compile_snapshot(1, rules, Catalog())
    for person in people:
        if person.user in approvers(snapshot.book, people):
            for groups in (frozenset[str](), person.groups, *(frozenset({group}) for group in person.groups)):
                for context in CONTEXTS:
                    assert may(snapshot, Principal(person.user or "", groups), "sys:policy", APPROVE, context).allowed
