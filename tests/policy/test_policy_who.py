"""Who may do something, what somebody may do, and the two together as a table."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.worlds import COLLECTIONS, CONTEXTS, GROUPS, MARKS, ROLES, USERS, World, worlds

from usher_policy import who as module
from usher_policy.catalog import Catalog, readers_digest
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may
from usher_policy.impact import Person, anyone_in
from usher_policy.rights import Asked
from usher_policy.rules import RoleLink, Rules, parse_rules
from usher_policy.vocabulary import Action, Principal, ancestors
from usher_policy.who import matrix, what, who

READ = Action.DOCUMENT_READ
NOON = Context(datetime(2026, 1, 7, 12, tzinfo=UTC))
LIST = readers_digest(["user:bob"])
CATALOG = Catalog(1, {1: frozenset({LIST}), 2: frozenset({"coll:hr/pay"})}, {LIST: frozenset({"user:bob"})})
RULES = parse_rules("""\
p, role:hr, coll:hr, document.read, allow, always
p, group:temps, coll:hr/pay, document.read, deny, always
p, user:eve, coll:hr, document.read, allow, purpose:is=audit
p, role:hr, sys:chat, chat.ask, allow, always
g, user:alice, role:hr
g, group:staff, role:hr
""")
SNAPSHOT = compile_snapshot(1, RULES, CATALOG)
ALICE, BOB = Person("user:alice"), Person("user:bob", frozenset({"group:staff", "group:temps"}))
EVE = Person("user:eve")


def test_who_may_is_told_in_the_order_given_with_the_decision() -> None:
    """Groups whose members nobody knows are asked for like people."""
    people = [BOB, EVE, ALICE, *anyone_in(SNAPSHOT.book)]
    found = who(SNAPSHOT, people, "coll:hr", READ, NOON)
    assert [one.person for one in found] == [BOB, ALICE, Person(None, frozenset({"group:staff"}), known=False)]
    assert found[0].decision == may(SNAPSHOT, Principal("user:bob", BOB.groups), "coll:hr", READ, NOON)
    assert next(one.person for one in who(SNAPSHOT, people, "coll:hr/pay", READ, NOON)) == ALICE
    assert [one.person for one in who(SNAPSHOT, people, LIST, READ, NOON)] == [BOB]
    assert who(SNAPSHOT, people, LIST, Action.DOCUMENT_INGEST, NOON) == ()


def test_who_may_leaves_the_snapshots_memory_alone() -> None:
    """What is asked about everybody does not push out what is in use."""
    snapshot = compile_snapshot(1, RULES, CATALOG)
    who(snapshot, [ALICE, BOB], "coll:hr", READ, NOON)
    assert not snapshot._memory.people
    assert not snapshot._memory.standings


def test_what_somebody_may_is_told_with_what_is_denied_within_it() -> None:
    found = what(SNAPSHOT, Principal("user:bob", BOB.groups), NOON)
    assert [(*right.asked, right.decision.allowed) for right in found] == [
        ("sys:chat", "chat.ask", True),
        ("coll:hr", "document.read", True),
        ("coll:hr/pay", "document.read", False),
        (LIST, "document.read", True),
    ]
    assert what(SNAPSHOT, Principal("role:hr"), NOON) == ()


def test_the_matrix_has_a_row_for_each_person() -> None:
    """And a column for all that rules or documents name, or for what is asked for."""
    rows = list(matrix(SNAPSHOT, [ALICE, BOB, EVE], NOON))
    assert rows[0][:4] == ("user", "groups", "document.read coll:hr", "document.read coll:hr/pay")
    assert rows[2] == ("user:bob", "group:staff group:temps", "yes", "", "yes", "yes")
    gone = "readers:" + "0" * 64
    asked = [Asked("coll:hr/new", READ), Asked(gone, READ)]
    audit = replace(NOON, purpose="audit")
    rule = parse_rules(f"p, role:hr, {gone}, document.read, allow, always").permissions
    snapshot = compile_snapshot(1, Rules(RULES.permissions + rule, RULES.links), CATALOG)
    assert [row[2:] for row in matrix(snapshot, [ALICE, EVE], audit, asked)][1:] == [("yes", ""), ("yes", "")]


def test_a_matrix_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any of it is made."""
    monkeypatch.setattr(module, "MAX_CELLS", 7)
    with pytest.raises(ValueError, match="fewer people or fewer objects"):
        matrix(SNAPSHOT, [ALICE, BOB], NOON)


def test_somebody_whose_name_is_none_may_nothing() -> None:
    """Though others with the same roles may."""
    staff = frozenset({"group:staff"})
    for posing in (Person("user:alice", staff | {"role:hr"}), Person("user:alice", staff | {"team:x"})):
        people = [posing, Person("user:alice", staff), posing]
        assert [one.person for one in who(SNAPSHOT, people, "coll:hr", READ, NOON)] == people[1:2]
        assert [row[2:] for row in matrix(SNAPSHOT, people, NOON)][1::2] == [("",) * 4] * 2


ASKED = [(name, READ) for name in (*COLLECTIONS, "coll:a/b/z", *MARKS)]
ASKED += [("adapter:support", Action.ADAPTER_USE), ("coll:a/b", Action.DOCUMENT_INGEST)]
people = st.lists(
    st.builds(Person, st.sampled_from([*USERS, "user:nobody", None]), st.frozensets(st.sampled_from(GROUPS))),
    max_size=8,
)


def asks(snapshot: Snapshot, person: Person, obj: str, action: Action, context: Context) -> bool:
    return may(snapshot, Principal(person.user or "user:nobody", person.groups), obj, action, context).allowed


@settings(deadline=None, database=None, max_examples=settings().max_examples // 4)
@given(worlds(), people)
def test_who_may_agrees_with_each_decision(world: World, people: list[Person]) -> None:
    """For everybody, also through chains that Casbin cuts."""
    snapshot = compile_snapshot(1, world.rules, world.catalog)
    for obj, action in (*ASKED, *((name, READ) for name in world.catalog.readers)):
        for context in CONTEXTS[:2]:
            found = [one.person for one in who(snapshot, people, obj, action, context)]
            assert found == [person for person in people if asks(snapshot, person, obj, action, context)]


@settings(deadline=None, database=None, max_examples=settings().max_examples // 4)
@given(worlds())
def test_what_somebody_may_agrees_with_each_decision(world: World) -> None:
    """What is not listed is as the nearest above it is; where there is none, it is denied."""
    snapshot = compile_snapshot(1, world.rules, world.catalog)
    for principal in world.principals:
        for context in CONTEXTS[:2]:
            told = {right.asked: right.decision.allowed for right in what(snapshot, principal, context)}
            for obj, action in (*ASKED, *((name, READ) for name in world.catalog.readers)):
                nearest = next((told[name, action] for name in (obj, *ancestors(obj)) if (name, action) in told), False)
                assert nearest == may(snapshot, principal, obj, action, context).allowed


@settings(deadline=None, database=None, max_examples=settings().max_examples // 4)
@given(worlds(), people)
def test_the_matrix_agrees_with_each_decision(world: World, people: list[Person]) -> None:
    """Cell by cell, for a policy that passes lint."""
    linted = Rules(world.rules.permissions, tuple(link for link in world.rules.links if link.role in ROLES[:8]))
    snapshot = compile_snapshot(1, linted, world.catalog)
    asked = [Asked(*one) for one in (*ASKED, *((name, READ) for name in world.catalog.readers))]
    for columns in (asked, None):
        head, *rows = matrix(snapshot, people, CONTEXTS[1], columns)
        questions = [name.split(" ", 1) for name in head[2:]]
        assert len(rows) == len(people)
        for person, row in zip(people, rows, strict=True):
            expected = [asks(snapshot, person, obj, Action(action), CONTEXTS[1]) for action, obj in questions]
            assert [cell == "yes" for cell in row[2:]] == expected


@pytest.mark.slow
@pytest.mark.crash
def test_everybody_of_a_hundred_thousand_is_found_soon() -> None:
    """Those with the same roles are asked about once."""
    links = tuple(RoleLink(f"user:u{n}", f"role:r{n % 5_000}") for n in range(100_000))
    links += tuple(RoleLink(f"role:r{n}", "role:staff") for n in range(5_000))
    rule = parse_rules("p, role:staff, sys:chat, chat.ask, allow, always").permissions
    snapshot = compile_snapshot(1, Rules(rule, links), Catalog())
    everybody = [Person(f"user:u{n}") for n in range(100_000)]
    began = time.process_time()
    assert len(who(snapshot, everybody, "sys:chat", Action.CHAT_ASK, NOON)) == 100_000
    assert time.process_time() - began < 4
