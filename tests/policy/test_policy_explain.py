"""One decision explained: what took part, and which single lines turn it round."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.worlds import COLLECTIONS, CONTEXTS, MARKS, World, worlds

from usher_policy.book import RuleBook
from usher_policy.catalog import Catalog, readers_digest
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may
from usher_policy.explain import Explanation, explain
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, RoleLink, Rules, parse_rules
from usher_policy.vocabulary import Action, Principal

READ = Action.DOCUMENT_READ
NOON = Context(datetime(2026, 1, 7, 12, tzinfo=UTC))
NIGHT = Context(datetime(2026, 1, 7, 23, tzinfo=UTC))
LIST = readers_digest(["role:staff", "user:zoe"])
CATALOG = Catalog(1, {1: frozenset({LIST})}, {LIST: frozenset({"role:staff", "user:zoe"})})
POLICY = """\
p, role:finance, coll:finance, document.read, allow, always
p, role:finance, mark:pii, document.read, allow, time:days=mon-fri;from=09:00;to=17:00;zone=UTC
p, group:temps, coll:finance/payroll, document.read, deny, always
p, role:secret, coll:legal, document.read, allow, always
p, role:shady, coll:legal, document.read, allow, purpose:is=audit
p, role:shady, sys:chat, chat.ask, allow, always
p, user:mallory, coll:legal, document.read, deny, always
g, user:alice, role:finance
g, role:finance, role:staff
g, group:all, role:finance
"""
RULES = parse_rules(POLICY)
SNAPSHOT = compile_snapshot(1, RULES, CATALOG)
ALICE = Principal("user:alice", frozenset({"group:temps"}))


def asked(obj: str, who: Principal = ALICE, context: Context = NOON, action: Action = READ) -> Explanation:
    return explain(SNAPSHOT, who, obj, action, context)


def test_an_allowed_decision_shows_its_rule_and_how_it_reaches_them() -> None:
    """The path is that of links; taking away the rule, or the link, would deny it."""
    found = asked("coll:finance/board")
    assert found.decision == may(SNAPSHOT, ALICE, "coll:finance/board", READ, NOON)
    (part,) = found.parts
    assert (part.rule, part.holds, part.path) == (RULES.permissions[0], True, ("user:alice", "role:finance"))
    assert found.to_remove == (RULES.permissions[0], RULES.links[0])
    assert [rule.canonical for rule in found.to_add] == [
        f"p, {name}, coll:finance/board, document.read, deny, always"
        for name in ("user:alice", "group:temps", "role:finance", "role:staff")
    ]
    assert (found.missing, found.roles_to_give) == ((), ())
    assert found.own_words == ("a rule on role:finance allows it",)


def test_a_denied_decision_shows_the_rule_that_must_go() -> None:
    """The deny is first; no rule that could be added would help, nor any role."""
    found = asked("coll:finance/payroll")
    assert [part.path for part in found.parts] == [("group:temps",), ("user:alice", "role:finance")]
    assert found.to_remove == (RULES.permissions[2],)
    assert (found.to_add, found.roles_to_give) == ((), ())
    assert found.missing == ("it must go: p, group:temps, coll:finance/payroll, document.read, deny, always",)
    assert found.own_words == ("a rule on group:temps forbids it",)


def test_a_condition_that_does_not_hold_is_what_is_missing() -> None:
    """It says when that can change."""
    found = asked("mark:pii", context=NIGHT)
    (part,) = found.parts
    assert (part.holds, part.valid_until) == (False, datetime(2026, 1, 8, 9, tzinfo=UTC))
    assert found.missing == (f"its condition must hold: {RULES.permissions[1].canonical}",)
    assert found.own_words == ("a rule on role:finance allows it at other times or for another purpose",)
    assert found.to_remove == ()


def test_where_no_rule_allows_it_a_rule_or_a_role_would() -> None:
    """Rules to add name only what the asker is; roles to give are told apart, and one with a condition is none."""
    found = asked("coll:legal")
    assert {rule.sub for rule in found.to_add} == set(found.subjects)
    assert found.roles_to_give == (RoleLink("user:alice", "role:secret"),)
    assert found.missing == (
        "a rule that allows document.read on coll:legal for one of user:alice, group:temps, role:finance, role:staff",
    )


def test_a_role_that_would_bring_a_deny_with_it_is_not_suggested() -> None:
    """What a role inherits counts."""
    rules = parse_rules("""\
p, role:a, coll:x, document.read, allow, always
p, role:b, coll:x, document.read, allow, always
p, role:c, coll:x, document.read, deny, always
g, role:b, role:c
""")
    found = explain(compile_snapshot(1, rules, Catalog()), ALICE, "coll:x", READ, NOON)
    assert found.roles_to_give == (RoleLink("user:alice", "role:a"),)


def test_only_rules_whose_condition_holds_are_told_as_the_reason() -> None:
    """One that allows or forbids at other times is not what decides now."""
    rules = parse_rules("""\
p, user:alice, coll:x, document.read, allow, always
p, group:temps, coll:x, document.read, allow, purpose:is=audit
p, group:temps, coll:y, document.read, deny, purpose:is=audit
""")
    snapshot = compile_snapshot(1, rules, Catalog())
    assert explain(snapshot, ALICE, "coll:x", READ, NOON).own_words == ("a rule on user:alice allows it",)
    denied = explain(snapshot, ALICE, "coll:y", READ, NOON)
    assert denied.missing[0].startswith("a rule that allows document.read on coll:y for one of")
    audit = explain(snapshot, ALICE, "coll:y", READ, Context(NOON.now, "audit"))
    assert audit.missing == (f"it must go: {rules.permissions[2].canonical}",)


def test_a_reader_list_shows_whom_it_names() -> None:
    found = asked(LIST)
    assert found.listed == (("user:alice", "role:finance", "role:staff"),)
    assert found.to_remove == RULES.links[:2]
    assert found.own_words == ("you are on its list of readers",)


@pytest.mark.parametrize("obj", ["coll:legal", "coll:no-such", "readers:" + "0" * 64, "coll:a//b"])
def test_to_oneself_what_is_others_reads_like_what_does_not_exist(obj: str) -> None:
    """Neither rules nor roles of others show, nor whether there is such a thing."""
    words = " ".join(asked(obj, Principal("user:bob")).own_words)
    assert words == "nothing that you are allows it it would take a rule for one of user:bob"


@pytest.mark.parametrize(
    ("who", "obj", "action"),
    [
        (Principal("role:finance"), "coll:finance", "document.read"),
        (ALICE, "coll:finance", "document.write"),
        (ALICE, "readers:" + "0" * 64, "document.read"),
        (ALICE, "finance", "document.read"),
    ],
)
def test_a_question_that_is_none_has_its_reason_and_nothing_flips_it(who: Principal, obj: str, action: Action) -> None:
    found = asked(obj, who, action=action)
    assert not found.decision.allowed
    assert found.missing == (found.decision.reason,)
    assert (found.parts, found.to_remove, found.to_add, found.roles_to_give) == ((), (), (), ())


def test_an_action_that_does_not_belong_to_the_object_is_not_suggested() -> None:
    """Such a rule would not pass lint."""
    assert asked("coll:legal", action=Action.CHAT_ASK).to_add == ()


def test_only_some_roles_are_looked_at() -> None:
    """However many would open it."""
    rules = Rules(tuple(Permission(f"role:x{n}", "coll:x", READ, "allow", "always") for n in range(50)))  # type: ignore[arg-type]  # a StrEnum's value
    found = explain(compile_snapshot(1, rules, Catalog()), ALICE, "coll:x", READ, NOON)
    assert len(found.roles_to_give) == 20


def lines(rules: Rules) -> list[Permission | RoleLink]:
    return list(dict.fromkeys([*rules.permissions, *rules.links]))


def without(rules: Rules, line: Permission | RoleLink) -> Rules:
    return Rules(tuple(p for p in rules.permissions if p != line), tuple(g for g in rules.links if g != line))


def with_line(rules: Rules, line: Permission | RoleLink) -> Rules:
    if isinstance(line, Permission):
        return Rules((*rules.permissions, line), rules.links)
    return Rules(rules.permissions, (*rules.links, line))


OBJECTS = [(name, READ) for name in (*COLLECTIONS[:4], *MARKS[:2])] + [("adapter:support", Action.ADAPTER_USE)]
questions = st.tuples(worlds(), st.integers(0, 3), st.sampled_from(OBJECTS), st.sampled_from(CONTEXTS))


@settings(deadline=None, database=None, max_examples=settings().max_examples // 3)
@given(questions)
def test_each_line_that_turns_it_round_is_told_and_no_other(
    question: tuple[World, int, tuple[str, Action], Context],
) -> None:
    """By brute force over every line of the policy, compiled without it; and each one to add is added."""
    world, number, (obj, action), context = question
    who = world.principals[number]
    whole = compile_snapshot(1, world.rules, world.catalog)
    found = explain(whole, who, obj, action, context)

    def answer(rules: Rules) -> bool:
        snapshot = Snapshot(1, "", world.catalog, RuleBook.of(rules), whole.shelves)
        return may(snapshot, who, obj, action, context).allowed

    assert found.decision.allowed == answer(world.rules)
    turning = {line for line in lines(world.rules) if answer(without(world.rules, line)) != found.decision.allowed}
    assert set(found.to_remove) == turning
    for line in (*found.to_add, *found.roles_to_give):
        assert answer(with_line(world.rules, line)) != found.decision.allowed
    assert {part.rule for part in found.parts} == concerned(world.rules, who, obj, action)
    assert all(rule.sub in found.subjects for rule in found.to_add)
    assert set(found.subjects) == RuleBook.of(world.rules).closure(who)
    assert bool(found.to_add) == (found.decision.allowed or found.decision.reason != "a rule denies it")


def concerned(rules: Rules, who: Principal, obj: str, action: Action) -> set[Permission]:
    closure = RuleBook.of(rules).closure(who)
    return {
        rule
        for rule in rules.permissions
        if rule.sub in closure and rule.act == action and (rule.obj == obj or obj.startswith(rule.obj + "/"))
    }


@settings(deadline=None, database=None, max_examples=settings().max_examples // 3)
@given(questions)
def test_paths_are_made_of_links(question: tuple[World, int, tuple[str, Action], Context]) -> None:
    """From the user or one of the groups to the rule's subject."""
    world, number, (obj, action), context = question
    who = world.principals[number]
    links = {(link.member, link.role) for link in world.rules.links}
    for part in explain(compile_snapshot(1, world.rules, world.catalog), who, obj, action, context).parts:
        assert part.path[0] in who.subjects
        assert part.path[-1] == part.rule.sub
        assert links.issuperset(zip(part.path, part.path[1:], strict=False))


@pytest.mark.slow
@settings(deadline=None, database=None, max_examples=settings().max_examples // 3)
@given(questions)
def test_casbin_turns_round_at_the_same_lines(question: tuple[World, int, tuple[str, Action], Context]) -> None:
    world, number, (obj, action), context = question
    who = world.principals[number]
    found = explain(compile_snapshot(1, world.rules, world.catalog), who, obj, action, context)

    def answer(rules: Rules) -> bool:
        return Oracle(rules, world.catalog, [who]).enforce(who, obj, action, context)

    assert found.decision.allowed == answer(world.rules)
    for line in lines(world.rules):
        assert (answer(without(world.rules, line)) != found.decision.allowed) == (line in found.to_remove)
    for line in (*found.to_add, *found.roles_to_give):
        assert answer(with_line(world.rules, line)) != found.decision.allowed


@settings(deadline=None, database=None, max_examples=settings().max_examples // 3)
@given(questions)
def test_to_oneself_no_name_is_told_that_is_not_ones_own(
    question: tuple[World, int, tuple[str, Action], Context],
) -> None:
    """Of rules nothing shows but which of one's own names they are for."""
    world, number, (obj, action), context = question
    who = world.principals[number]
    found = explain(compile_snapshot(1, world.rules, world.catalog), who, obj, action, context)
    words = " ".join(found.own_words)
    others = RuleBook.of(world.rules).subjects - set(found.subjects)
    told = set(words.replace(",", " ").split())
    assert others.isdisjoint(told)
    assert not any(rule.canonical in words or rule.cond in told for rule in world.rules.permissions)
