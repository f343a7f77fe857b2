"""Cases: the answers that a policy's authors expect, as data."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from usher_policy.cases import DEFAULT_NOW, Case, read_case, run_cases
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.rules import parse_rules
from usher_policy.vocabulary import Action, Effect

SNAPSHOT = compile_snapshot(
    1,
    parse_rules("""\
p, role:finance, coll:finance, document.read, allow, time:days=mon-fri;from=09:00;to=17:00;zone=UTC
p, group:temps, coll:finance/payroll, document.read, deny, always
g, user:alice, role:finance
"""),
    Catalog(),
)
GOOD: dict[str, object] = {
    "user": "user:alice",
    "groups": ["group:temps"],
    "object": "coll:finance",
    "action": "document.read",
    "context": {"now": "2026-01-07T12:00:00Z", "purpose": "audit"},
    "expect": "allow",
    "name": "alice reads finance",
}


def test_a_case_is_read_from_parsed_yaml() -> None:
    """Names and instants become values; the case's own name stands before the given one."""
    assert read_case(GOOD, "file 1") == Case(
        "user:alice",
        frozenset({"group:temps"}),
        "coll:finance",
        Action.DOCUMENT_READ,
        Context(datetime(2026, 1, 7, 12, tzinfo=UTC), "audit"),
        Effect.ALLOW,
        "alice reads finance",
    )


def test_what_a_case_leaves_out_has_a_default() -> None:
    """No groups, no purpose, a Wednesday noon, the name of its place."""
    short = {key: GOOD[key] for key in ("user", "object", "action", "expect")}
    case = read_case(short, "file 1")
    assert (case.groups, case.context, case.name) == (frozenset(), Context(DEFAULT_NOW), "file 1")


def test_each_case_is_answered_in_order() -> None:
    """A case passes where the policy answers as expected, and carries the decision either way."""
    below = {**GOOD, "object": "coll:finance/payroll"}
    evening = {**GOOD, "context": {"now": datetime(2026, 1, 7, 20, tzinfo=UTC)}}
    cases = [read_case(value, "x") for value in (GOOD, below, {**below, "expect": "deny"}, evening)]
    results = run_cases(SNAPSHOT, cases)
    assert [result.passed for result in results] == [True, False, True, False]
    assert [result.case for result in results] == cases
    assert results[1].decision.reason == "a rule denies it"


VACUOUS: dict[str, tuple[dict[str, object], str]] = {
    "no kind of user": ({"user": "alice"}, "user must be"),
    "a group as user": ({"user": "group:temps"}, "user must be"),
    "a user not as written": ({"user": "user:a,b"}, "user must be"),
    "a role as group": ({"groups": ["role:finance"]}, "groups must be"),
    "no kind of group": ({"groups": ["group:a", "temps"]}, "groups must be"),
    "no kind of object": ({"object": "finance"}, "object must be"),
    "an object not as written": ({"object": "coll:finance/"}, "object must be"),
    "an object of another action": ({"object": "sys:chat"}, "object must be"),
    "an action of another object": ({"action": "chat.ask"}, "object must be"),
}


@pytest.mark.parametrize(("change", "problem"), VACUOUS.values(), ids=VACUOUS)
def test_a_question_that_only_a_denial_can_answer_is_refused(change: dict[str, object], problem: str) -> None:
    """It would pass under every policy."""
    with pytest.raises(ValueError, match=f"^file 1: {problem}"):
        read_case({**GOOD, **change, "expect": "deny"}, "file 1")


def test_such_a_question_fails_where_it_was_not_read_from_yaml() -> None:
    """A case that a program hands over is judged like one of a file."""
    good = read_case({**GOOD, "expect": "deny"}, "file 1")
    vacuous = [
        replace(good, user="alice"),
        replace(good, groups=frozenset({"role:finance"})),
        replace(good, object="finance"),
        replace(good, action=Action.CHAT_ASK),
    ]
    results = run_cases(SNAPSHOT, vacuous)
    assert [(result.decision.allowed, result.passed) for result in results] == [(False, False)] * 4


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"expects": "allow"}, "'expects' is unknown"),
        ({"user": None}, "user must be a text"),
        ({"object": 3}, "object must be a text"),
        ({"action": "document.write"}, "action must be one of document.read"),
        ({"expect": "yes"}, "expect must be one of allow, deny"),
        ({"groups": "group:temps"}, "groups must be a list"),
        ({"groups": [1]}, "groups must be a list"),
        ({"context": "now"}, "context has now and purpose"),
        ({"context": {"time": "x"}}, "context has now and purpose"),
        ({"context": {"now": "noon"}}, "context.now must be a time"),
        ({"context": {"now": "2026-01-07T12:00:00"}}, "context.now must be a time with its zone"),
        ({"context": {"purpose": 1}}, "context.purpose must be a text"),
    ],
)
def test_a_malformed_case_names_its_field(change: dict[str, object], problem: str) -> None:
    """The error begins with the case's place and names field and remedy."""
    with pytest.raises(ValueError, match=f"^file 1: {problem}"):
        read_case({**GOOD, **change}, "file 1")
