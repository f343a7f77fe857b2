"""Scoped editors: what they may change, and every way out of it that we could think of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher_policy.catalog import Catalog, readers_digest
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.conditions import ALWAYS, Context
from usher_policy.decide import may
from usher_policy.governed import MAX_REASONS, ungoverned
from usher_policy.impact import Delta
from usher_policy.oracle import Oracle
from usher_policy.rules import Permission, RoleLink, Rules, parse_rules, read_rules
from usher_policy.vocabulary import Action, Effect, Principal, fits, typed

EDITOR = Principal("user:ed")
NOON = Context(datetime(2026, 1, 7, 12, tzinfo=UTC))
LIST = readers_digest(["role:hr/listed"])
CATALOG = Catalog(
    1, {1: frozenset({LIST}), 2: frozenset({"coll:hr", "mark:pii"})}, {LIST: frozenset({"role:hr/listed"})}
)
POLICY = """\
p, user:ed, coll:hr, policy.propose, allow, always
p, user:ed, role:hr, policy.propose, allow, always
p, role:hr, coll:hr, document.read, allow, always
p, role:hr/clerk, coll:hr/pay, document.read, allow, purpose:is=audit
p, role:hr/marked, mark:pii, document.read, allow, always
p, role:hr/chief, coll:hr, document.read, allow, always
p, role:boss, coll:board, document.read, allow, always
p, role:boss, sys:chat, chat.ask, allow, always
p, group:temps, coll:hr, document.read, deny, always
g, role:hr/clerk, role:hr
g, role:hr/deep/one, role:hr/deep/two
g, role:hr/deep/two, role:boss
g, user:alice, role:boss
"""
KEPT = """\
p, user:ed, coll:hr/secret, policy.propose, deny, always
p, user:ed, role:hr/chief, policy.propose, deny, always
"""
BEFORE = parse_rules(POLICY)


def reasons(add: str = "", remove: str = "", rules: Rules = BEFORE) -> tuple[str, ...]:
    delta = Delta(read_rules(remove), read_rules(add))
    return judged(rules, delta)[0]


def judged(rules: Rules, delta: Delta) -> tuple[tuple[str, ...], Snapshot, Snapshot]:
    before = compile_snapshot(1, rules, CATALOG)
    after = before.changed(2, "", delta.removed, delta.added)

    def governs(name: str) -> bool:
        return may(before, EDITOR, name, Action.POLICY_PROPOSE, NOON).allowed

    return ungoverned(before.book, after.book, delta, governs, CATALOG), before, after


THEIRS = {
    "a right on what lies within": "p, role:boss, coll:hr/pay, document.read, allow, always",
    "a deny for whoever it may be": "p, user:alice, coll:hr/pay, document.read, deny, always",
    "a right to put documents in": "p, group:temps, coll:hr/new/place, document.ingest, allow, always",
    "a condition": "p, role:hrx, coll:hr/pay, document.read, allow, purpose:is=audit",
    "a role that carries only what is governed": "g, group:temps, role:hr/clerk",
    "a role that carries nothing yet": "g, user:bob, role:hr/new",
    "a role for a role that is not governed": "g, role:boss, role:hr/clerk",
}


@pytest.mark.parametrize("line", THEIRS.values(), ids=THEIRS)
def test_what_is_governed_may_be_given_and_taken_away(line: str) -> None:
    assert reasons(add=line) == ()
    assert reasons(remove=line, rules=parse_rules(f"{POLICY}{line}\n")) == ()


ESCAPES = {
    # escape: (line, what its reason says)
    "another collection": ("p, user:bob, coll:board, document.read, allow, always", "coll:board is not governed"),
    "a name that begins alike": ("p, user:bob, coll:hr2, document.read, allow, always", "coll:hr2 is not governed"),
    "a name with a comma": ("p, user:bob, coll:hr%2Cx, document.read, allow, always", "coll:hr%2Cx is not governed"),
    "a slash that is written otherwise": ("p, user:bob, coll:hr%2Fx, document.read, allow, always", "not a collection"),
    "a way up": ("p, user:bob, coll:hr/../board, document.read, allow, always", "not a collection"),
    "what is above": ("p, user:bob, coll:h, document.read, allow, always", "coll:h is not governed"),
    "a place within that is kept from them": ("p, user:bob, coll:hr/secret, document.read, allow, always", "secret is"),
    "below such a place": ("p, user:bob, coll:hr/secret/x, document.read, allow, always", "secret/x is not governed"),
    "all around such a place": ("p, user:bob, coll:hr, document.read, allow, always", "coll:hr/secret is not governed"),
    "a marking": ("p, user:bob, mark:pii, document.read, deny, always", "mark:pii is not a collection"),
    "a reader list": (f"p, user:bob, {LIST}, document.read, deny, always", "is not a collection"),
    "their own right to edit": ("p, user:bob, coll:hr/pay, policy.propose, allow, always", "the whole policy"),
    "a right to edit roles": ("p, user:bob, role:hr, policy.approve, allow, always", "the whole policy"),
    "the audit log": ("p, user:bob, coll:hr/pay, audit.read, allow, always", "the whole policy"),
    "a role that is not theirs": ("g, user:bob, role:boss", "role:boss is not governed"),
    "a role that begins alike": ("g, user:bob, role:hrx", "role:hrx is not governed"),
    "a role with a comma": ("g, user:bob, role:hr%2Cx", "role:hr%2Cx is not governed"),
    "a role that is kept from them": ("g, user:bob, role:hr/chief", "role:hr/chief is not governed"),
    "a role that inherits another's": ("g, role:hr/clerk, role:boss", "role:boss is not governed"),
    "a role that carries a marking": ("g, user:bob, role:hr/marked", "carries document.read on mark:pii"),
    "a role that carries another's, far up": ("g, user:bob, role:hr/deep/one", "carries document.read on coll:board"),
    "a role on a reader list": ("g, user:bob, role:hr/listed", "carries what a reader list gives"),
    "a role whose rights go around a place": ("g, user:bob, role:hr", "role:hr carries document.read on coll:hr"),
}  # fmt: skip


@pytest.mark.parametrize("escape", ESCAPES)
def test_an_escape_is_refused_with_its_line(escape: str) -> None:
    """Whether the line is added or taken away."""
    line, why = ESCAPES[escape]
    policy = POLICY + (KEPT if "kept" in escape or "place" in escape else "")
    rules = read_rules(policy)
    (reason,) = reasons(add=line, rules=rules)
    assert reason.startswith(f"added line 1: {line}: ")
    assert why in reason
    (reason,) = reasons(remove=line, rules=read_rules(f"{policy}{line}\n"))
    assert reason.startswith(f"removed line 1: {line}: ")
    assert why in reason


def test_each_line_has_its_reason() -> None:
    """One that is theirs has none."""
    add = "p, user:bob, coll:a, document.read, allow, always\np, user:bob, coll:hr/pay, document.read, allow, always\n"
    assert len(reasons(add=add + "g, user:bob, role:boss\n")) == 2


def test_a_line_whose_number_is_not_known_is_told_by_what_it_says() -> None:
    """As those of a policy that was made by changing another."""
    delta = Delta(Rules(), Rules((), (RoleLink("user:bob", "role:boss"),)))
    assert judged(BEFORE, delta)[0] == ("added line: g, user:bob, role:boss: role:boss is not governed",)


def test_reasons_are_bounded() -> None:
    add = "\n".join(f"g, user:u{n}, role:boss" for n in range(500))
    found = reasons(add=add)
    assert len(found) == MAX_REASONS + 1
    assert found[-1] == "and more lines; only the first are shown"


def test_a_role_that_is_made_wider_in_the_same_change_is_judged_as_it_will_be() -> None:
    """Neither what it carried before nor what it carries afterwards may be another's."""
    wider = "p, role:hr/new, coll:board, document.read, allow, always\n"
    assert len(reasons(add=f"{wider}g, user:bob, role:hr/new\n")) == 2
    rules = parse_rules(POLICY + wider)
    assert len(reasons(add="g, user:bob, role:hr/new\n", remove=wider, rules=rules)) == 2


def test_a_chain_is_followed_to_its_end() -> None:
    """Also beyond the links that Casbin follows: a link further up makes the chain shorter."""
    names = [*(f"role:hr/deep/{n}" for n in range(9)), "role:boss"]
    chain = "".join(f"g, {low}, {high}\n" for low, high in pairwise(["user:bob", *names]))
    rules = read_rules(POLICY + chain)
    for link in ("g, user:bob, role:hr/deep/5", "g, user:eve, role:hr/deep/0"):
        (reason,) = reasons(add=link, rules=rules)
        assert "carries document.read on coll:board" in reason


SUBJECTS = ["user:ed", "user:alice", typed("user", "x, role:boss"), "group:staff", typed("group", "a,b"), "role:hr"]
SUBJECTS += ["role:hr/clerk", "role:hr/chief", "role:hr/listed", "role:hrx", "role:boss"]
DEEP = [f"role:hr/deep/{n}" for n in range(9)]
TARGETS = [
    *[(name, "document.read") for name in ("coll:hr", "coll:hr/pay", "coll:hr/pay/x", "coll:hr/secret", "coll:hr2")],
    *[(name, "document.read") for name in ("coll:h", typed("coll", "hr,/pay"), "coll:board", "mark:pii", LIST)],
    ("coll:hr/pay", "document.ingest"),
    ("coll:hr/pay", "audit.read"),
    ("coll:hr/pay", "policy.propose"),
    ("role:hr/clerk", "policy.propose"),
    ("sys:policy", "policy.approve"),
    ("sys:chat", "chat.ask"),
    ("adapter:hr", "adapter.use"),
]
ASKED = [(obj, Action(act)) for obj, act in TARGETS if fits(Action(act), obj)]
ASKED += [("coll:hr/secret/x", Action.DOCUMENT_READ), ("coll:hr/secret", Action.DOCUMENT_INGEST)]
CONDITIONS = ["always", "always", "purpose:is=audit", "gone:is=x"]
THE_EDITORS = [
    ["coll:hr", "role:hr"],
    ["coll:hr", "role:hr", "-coll:hr/secret", "-role:hr/chief"],
    ["coll:hr/pay", "role:hr/clerk"],
    ["role:hr", "coll:board", "-coll:hr"],
]
CONTEXTS = [NOON, Context(NOON.now, "audit")]
GROUPS = ["group:staff", typed("group", "a,b")]
PEOPLE = [
    Principal(user, frozenset(some))
    for user in (*SUBJECTS[:3], "user:nobody")
    for count in range(3)
    for some in combinations(GROUPS, count)
]

permissions = st.builds(
    lambda sub, target, eft, cond: Permission(sub, target[0], Action(target[1]), eft, cond),
    st.sampled_from(SUBJECTS + DEEP[-1:]),
    st.sampled_from(TARGETS[1:3] * 9 + TARGETS),
    st.sampled_from([Effect.ALLOW, Effect.ALLOW, Effect.DENY]),
    st.sampled_from(CONDITIONS),
)
links = st.builds(
    RoleLink,
    st.sampled_from(SUBJECTS),
    st.sampled_from([*SUBJECTS[5:10], *SUBJECTS[6:7] * 4, "role:boss", DEEP[0], DEEP[4], DEEP[8]]),
)
changes = st.one_of(permissions, links, links)


@st.composite
def attempts(draw: st.DrawFn) -> tuple[Rules, Delta]:
    """A policy with somebody whose right to edit is scoped, and a change of it that they try: some lines are theirs to
    change, and most of the others nearly are. In some policies roles reach as far as Casbin follows them."""
    scope = [
        Permission(
            "user:ed", name.lstrip("-"), Action.POLICY_PROPOSE, Effect("deny" if name[0] == "-" else "allow"), ALWAYS
        )
        for name in draw(st.sampled_from(THE_EDITORS))
    ]
    rules = draw(st.lists(permissions, max_size=8, unique=True))
    some = draw(st.lists(links, max_size=6, unique=True))
    if draw(st.booleans()):
        some += [RoleLink("user:alice", DEEP[0]), *(RoleLink(*pair) for pair in pairwise([*DEEP, "role:boss"]))]
    whole = Rules((*scope, *rules), tuple(some))
    removed, added = draw(st.lists(st.sampled_from(lines(whole)), max_size=1)), draw(st.lists(changes, max_size=2))
    return whole, Delta(rules_of(removed), rules_of(added))


def lines(rules: Rules) -> list[Permission | RoleLink]:
    return [*rules.permissions, *rules.links]


def rules_of(some: list[Permission | RoleLink]) -> Rules:
    permissions = tuple(line for line in some if isinstance(line, Permission))
    return Rules(permissions, tuple(line for line in some if isinstance(line, RoleLink)))


def answers(snapshot: Snapshot, asked: list[tuple[str, Action]]) -> Iterator[bool]:
    for principal in PEOPLE:
        for context in CONTEXTS:
            for obj, action in asked:
                yield may(snapshot, principal, obj, action, context).allowed


class Tally:
    """How many changes were let through that did something, and how many were not."""

    passed = refused = 0


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.crash])])
def test_no_change_that_passes_changes_a_right_that_is_not_governed(count: int) -> None:
    """For whoever it may be, with whatever groups and under whatever condition."""
    tally = Tally()

    @settings(max_examples=count, deadline=None, database=None, derandomize=True)
    @given(attempts())
    def holds(attempt: tuple[Rules, Delta]) -> None:
        rules, delta = attempt
        found, before, after = judged(rules, delta)
        if found:
            tally.refused += 1
            return
        tally.passed += bool(lines(delta.added) or lines(delta.removed))
        theirs = {obj for obj, _ in ASKED if may(before, EDITOR, obj, Action.POLICY_PROPOSE, NOON).allowed}
        others = [(obj, act) for obj, act in ASKED if obj not in theirs or not act.startswith("document.")]
        assert list(answers(before, others)) == list(answers(after, others))

    holds()
    assert min(tally.passed, tally.refused) >= count // 10, vars(tally)


@pytest.mark.slow
@settings(deadline=None, database=None, max_examples=settings().max_examples // 2)
@given(attempts())
def test_casbin_sees_no_escape_either(attempt: tuple[Rules, Delta]) -> None:
    """The same, asked of Casbin itself."""
    rules, delta = attempt
    found, before, after = judged(rules, delta)
    if found:
        return
    theirs = {obj for obj, _ in ASKED if may(before, EDITOR, obj, Action.POLICY_PROPOSE, NOON).allowed}
    for principal in PEOPLE[::3]:
        one, two = (Oracle(book.rules, CATALOG, [principal]) for book in (before.book, after.book))
        for obj, act in ASKED:
            if obj not in theirs or not act.startswith("document."):
                assert one.enforce(principal, obj, act, NOON) == two.enforce(principal, obj, act, NOON)
