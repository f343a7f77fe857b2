"""What people may learn of the policy: explanations, who, what, the matrix; and what they may not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy.worlds import CONTEXTS, worlds
from tests.policy.worlds import World as Rulebook
from tests.web.world import OPERATOR, PEOPLE, POLICY, World, world

from usher.errors import UserError
from usher.policy.editors import Editor
from usher.policy.view_values import Explained, own
from usher.policy.views import PolicyViews
from usher_policy.catalog import readers_digest
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may
from usher_policy.explain import explain
from usher_policy.vocabulary import Action, Principal, typed

LOOKERS = """\
p, user:olga, sys:policy, policy.read, allow, always
p, user:frank, coll:finance, policy.read, allow, always
p, user:frank, role:finance, policy.read, allow, always
p, user:gina, coll:finance/payroll, policy.read, allow, always
p, role:board, coll:finance, document.read, deny, always
p, group:staff, coll:finance/payroll, document.read, deny, always
p, role:employee, adapter:support, adapter.use, allow, always
g, group:=cmd, role:finance
"""
LOCAL = Editor(None, "operator:uid:0")
NAMES = (*PEOPLE, "nobody", "user:nobody", "x,y", "ä")


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("views")) as made:
        made.run(made.apply(POLICY + LOOKERS))
        for name in ("olga", "frank", "gina"):
            made.run(made.add(name))
        made.run(made.services.people.add("x|=1+1", (), OPERATOR))
        made.run(made.services.people.add("=cmd|' /C calc'!A0", ["=cmd"], OPERATOR))
        yield made


def told(usher: World, what: str, who: str, status: int = 200, **query: str) -> dict[str, Any]:
    answer = usher.ask("GET", f"/api/policy/{what}", who, params=query)
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_decision_is_explained_to_whoever_may_read_the_policy(usher: World) -> None:
    """Each rule with the path to it, what is missing, and what would turn it round."""
    found = told(usher, "explain", "olga", user="bob", object="coll:handbook")
    assert (found["allowed"], found["groups"]) == (True, ["group:staff"])
    assert [rule["line"] for rule in found["rules"]] == [
        "p, role:employee, coll:handbook, document.read, allow, always"
    ]
    assert found["rules"][0]["path"] == ["group:staff", "role:employee"]
    assert "g, group:staff, role:employee" in found["to_remove"]
    denied = told(usher, "explain", "olga", user="bob", object="coll:board")
    assert (denied["allowed"], denied["rules"]) == (False, [])
    assert "g, user:bob, role:board" in denied["roles_to_give"]
    assert denied["missing"]


def test_the_operator_is_told_of_anybody_as_of_now(usher: World) -> None:
    """However the name is written; whoever is not there, or not active, may nothing, whatever the rules say."""

    def asked(user: str, target: str = "coll:finance", action: str = "document.read") -> Explained:
        views = usher.services.policies.views
        found = usher.run(views.explain(LOCAL, target, action, user))
        assert isinstance(found, Explained)
        return found

    assert asked("alice").allowed
    assert asked("user:alice") == asked("alice")
    usher.run(usher.services.people.deactivate("alice", OPERATOR))
    told = asked("alice")
    assert (told.known, told.allowed, told.reason) == (False, False, "person_inactive")
    assert "user:alice" not in str(usher.run(usher.services.policies.views.who(LOCAL, "coll:finance", "document.read")))
    assert "user:alice" not in usher.run(usher.services.policies.views.matrix(LOCAL))
    usher.run(usher.services.people.add("alice", (), OPERATOR))
    assert (asked("nobody").known, asked("nobody").allowed) == (False, False)
    for user, action, field in (("alice", "fly", "action"), ("", "chat.ask", "user"), ("x" * 300, "chat.ask", "user")):
        with pytest.raises(UserError) as wrong:
            asked(user, action=action)
        assert wrong.value.field == field


def test_one_is_told_of_oneself_without_any_right(usher: World) -> None:
    """In words; whoever else may, or what would open it, is not in them."""
    found = told(usher, "explain", "bob", object="coll:handbook")
    assert (found["user"], found["allowed"], found["words"]) == (
        "user:bob",
        True,
        ["a rule on role:employee allows it"],
    )
    assert set(found) == {"user", "object", "action", "allowed", "words", "valid_until", "policy_version"}
    assert told(usher, "explain", "bob", object="coll:handbook", user="bob") == found
    denied = told(usher, "explain", "bob", object="coll:board")
    assert denied["words"] == ["nothing that you are allows it"]
    assert told(usher, "explain", "carol", object="coll:finance")["words"] == ["a rule on role:board forbids it"]


def test_what_is_not_ones_own_reads_like_what_is_not_there(usher: World) -> None:
    """Collections, adapters, markings, and reader lists that name others: the same words, but for what was asked."""
    listed = readers_digest(["user:alice"])
    pairs = [("coll:board", "coll:nowhere"), (listed, readers_digest(["user:zed"])), ("mark:mnpi", "mark:none")]
    for there, absent in [*pairs, ("coll:board/minutes", "coll:nowhere/x")]:
        both = [told(usher, "explain", "bob", object=name) for name in (there, absent)]
        assert {**both[0], "object": ""} == {**both[1], "object": ""}
    assert told(usher, "explain", "alice", object=listed)["allowed"]


@pytest.mark.parametrize("query", [{"object": "coll:board"}, {"object": "coll:nowhere"}, {"object": "sys:policy"}])
def test_nobody_learns_without_a_right_whether_a_name_exists(usher: World, query: dict[str, str]) -> None:
    """One answer for everybody else's name, known, unknown or inactive, to each question."""
    asked = [("explain", {**query, "user": name}) for name in NAMES if name != "bob"]
    asked += [("what", {"user": name}) for name in NAMES]
    asked += [("who", query), ("matrix.csv", {}), ("who", {**query, "action": "document.ingest"})]
    answers = {what: set[str]() for what, _ in asked}
    for what, params in asked:
        answer = usher.ask("GET", f"/api/policy/{what}", "bob", params=params)
        assert answer.status_code == 403
        answers[what].add(answer.text)
    assert {len(texts) for texts in answers.values()} == {1}


def test_asking_for_a_name_makes_it_known_to_nobody(usher: World) -> None:
    """The record gains no person by it, and has the question without names."""
    told(usher, "what", "olga", user="somebody-new")
    assert usher.run(usher.services.ledger.subjects.found("somebody-new")) is None
    event = [event for event in usher.events() if event["type"] == "view"][-1]
    assert event["policy"] == {"question": "what", "subject": None}
    told(usher, "explain", "olga", user="alice", object="coll:board")
    event = [event for event in usher.events() if event["type"] == "view"][-1]
    assert event["policy"]["question"] == "explain"
    assert "alice" not in str(event)
    assert "board" not in str(event["policy"])


def test_who_may(usher: World) -> None:
    """People by what they are, and groups whose members may; bounded, with the rest counted."""
    found = told(usher, "who", "olga", object="coll:finance")
    assert (found["users"], found["anyone_in"]) == (["user:=cmd|%27 /C calc%27!A0", "user:alice"], ["group:=cmd"])
    assert told(usher, "who", "olga", object="coll:finance", limit="1")["more"] == 1
    assert told(usher, "who", "olga", object="coll:nowhere")["users"] == []


def test_what_somebody_may(usher: World) -> None:
    """All that is said to them, denials too; somebody who is not there may nothing."""
    found = told(usher, "what", "olga", user="carol")
    rights = {(right["action"], right["object"]): right["allowed"] for right in found["rights"]}
    assert rights["document.read", "coll:finance"] is False
    assert rights["document.read", "coll:board"] is True
    assert rights["adapter.use", "adapter:support"] is True
    assert told(usher, "what", "olga", user="nobody")["known"] is False


def test_a_limited_right_tells_of_what_it_governs(usher: World) -> None:
    """Finance's admin sees finance's rules and nothing of other roles, groups and collections."""
    found = told(usher, "explain", "frank", user="carol", object="coll:finance/payroll")
    assert [rule["line"] for rule in found["rules"]] == ["p, role:board, coll:finance, document.read, deny, always"]
    assert "role:employee" not in str(found)
    other = told(usher, "explain", "frank", user="bob", object="coll:finance/payroll")
    assert "role:employee" not in str(other)
    for name in ("coll:board", "coll:nowhere", "sys:policy", "mark:mnpi"):
        assert (
            usher.ask("GET", "/api/policy/explain", "frank", params={"user": "carol", "object": name}).status_code
            == 403
        )
    assert {right["object"] for right in told(usher, "what", "frank", user="carol")["rights"]} == {"coll:finance"}
    rows = table(usher, "frank")
    assert sorted(rows[0]) == [
        "document.read coll:finance",
        "document.read coll:finance/payroll",
        "policy.read coll:finance",
        "policy.read coll:finance/payroll",
        "policy.read role:finance",
        "user",
    ]
    assert [row[0] for row in rows[1:]] == [
        "user:=cmd|%27 /C calc%27!A0",
        "user:alice",
        "user:frank",
        "user:gina",
        "anyone in group:=cmd",
    ]


def test_rules_above_what_is_governed_are_not_told(usher: World) -> None:
    """But that there is one, and that it forbids it."""
    found = told(usher, "explain", "gina", user="carol", object="coll:finance/payroll")
    assert (found["allowed"], found["rules"], found["hidden"]) == (False, [], True)
    assert found["missing"] == ["a rule on what you do not govern forbids it"]
    assert "role:board" not in str(found)
    assert not told(usher, "explain", "frank", user="dave", object="coll:finance/payroll")["hidden"]


def table(usher: World, who: str, **query: str) -> list[list[str]]:
    answer = usher.ask("GET", "/api/policy/matrix.csv", who, params=query)
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))


def test_each_cell_of_the_matrix_is_a_decision(usher: World) -> None:
    """`yes` where the policy says so now, and nothing elsewhere; for everybody, and for each group alone."""
    head, *rows = table(usher, "olga")
    _, snapshot = usher.run(usher.services.authority.current())
    context, cells = Context(datetime.now(UTC)), 0
    for user, groups, *row in rows:
        name = user.removeprefix("'") or "user:anyone"
        principal = Principal(name, frozenset(groups.split()))
        for column, cell in zip(head[2:], row, strict=True):
            action, _, target = column.partition(" ")
            allowed = may(snapshot, principal, target, Action(action), context).allowed
            assert cell == ("yes" if allowed else ""), (user, column)
            cells += allowed
    assert cells > 20
    assert {row[0] for row in rows} >= {typed("user", name) for name in PEOPLE}


def test_no_cell_is_a_formula(usher: World) -> None:
    """Neither a person's name nor a group's, also not behind what a program may cut a cell at."""
    assert "user:x|'=1+1" in {row[0] for row in table(usher, "olga")}
    for cell in (cell for row in table(usher, "olga") for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\t"))


def test_the_matrix_can_be_asked_for_in_part(usher: World) -> None:
    """By action and by object."""
    assert table(usher, "olga", action="adapter.use")[0] == ["user", "groups", "adapter.use adapter:support"]
    assert table(usher, "olga", object="coll:board")[0][2:] == ["document.read coll:board"]
    assert table(usher, "olga", object="coll:nowhere")[0] == ["user", "groups"]


@pytest.mark.parametrize("what", ["explain", "who"])
@pytest.mark.parametrize(
    "query", [{"object": "finance"}, {"object": "coll:a", "action": "fly"}, {"object": "coll:a//b"}]
)
def test_what_is_no_question_is_told_so(usher: World, what: str, query: dict[str, str]) -> None:
    """With the field and the remedy, whoever asks."""
    problem = told(usher, what, "olga", 400, **query)
    assert problem["field"] in ("object", "action")
    assert problem["remedy"]


def test_a_right_that_ends_meanwhile_shows_nothing(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is judged again once it is recorded."""
    views = usher.services.policies.views
    real = PolicyViews._people
    grant = usher.run(usher.services.authority.admit(usher.keys["olga"]))

    async def then_gone(self: PolicyViews) -> Any:
        found = await real(self)
        monkeypatch.undo()
        await usher.services.people.deactivate("olga", OPERATOR)
        return found

    monkeypatch.setattr(PolicyViews, "_people", then_gone)
    from usher.viewing import NotPermitted

    with pytest.raises(NotPermitted):
        usher.run(views.who(Editor(grant, "key"), "coll:finance", "document.read"))
    usher.run(usher.services.people.add("olga", (), OPERATOR))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    worlds(),
    st.integers(0, 3),
    st.sampled_from(CONTEXTS),
    st.sampled_from(["coll:a/b", "coll:a/b/c", "mark:pii", "adapter:support"]),
)
def test_ones_own_explanation_tells_of_nobody_else(book: Rulebook, who: int, context: Context, target: str) -> None:
    """No id, subject or line of any rule stands in it, but for one's own names: user, groups and roles."""
    snapshot = compile_snapshot(1, book.rules, book.catalog)
    principal = book.principals[who]
    action = Action.ADAPTER_USE if target.startswith("adapter:") else Action.DOCUMENT_READ
    found = own(explain(snapshot, principal, target, action, context), principal.user, 1)
    mine = snapshot.book.closure(principal)
    assert found.allowed == may(snapshot, principal, target, action, context).allowed
    text = " ".join(found.words)
    for rule in book.rules.permissions:
        assert rule.id not in text
        assert rule.canonical not in text
    words = set(text.replace(",", " ").split())
    named = {rule.sub for rule in book.rules.permissions} | {link.role for link in book.rules.links}
    named |= {link.member for link in book.rules.links}.union(*book.catalog.readers.values())
    assert not (words & named) - mine
