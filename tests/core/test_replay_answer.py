"""What a replay makes of its facts: under what it was judged, and what is an alarm."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from usher.audit.replay_answer import replayed
from usher.audit.replay_facts import Bench, Facts, Past, Then
from usher.core.replay import Agreement, Judge
from usher.ports.audit_exchanges import Exchange, Showing
from usher_policy.catalog import Catalog
from usher_policy.compile import compile_snapshot
from usher_policy.conditions import Context
from usher_policy.rules import Rules, parse_rules
from usher_policy.vocabulary import Principal

AT = datetime(2026, 11, 23, 17, 0, 1, tzinfo=UTC)
RULES = parse_rules("""\
p, role:staff, coll:a, document.read, allow, always
p, role:staff, sys:chat, chat.ask, allow, always
g, user:ann, role:staff
""")
CATALOG = Catalog(1, {1: frozenset({"coll:a"}), 2: frozenset({"coll:b"})})
LABELS = compile_snapshot(1, RULES, CATALOG)
ANN = Principal("user:ann")
THEN = Then(ANN, ("role:staff",), True, None, True)
PAST = Past(1, RULES, RULES.digest, None, None, LABELS, 1, AT, None, "", RULES.digest)
DOCUMENT = UUID(int=5)
DECISION: dict[str, Any] = {
    "action": "chat.ask",
    "object": "sys:chat",
    "effect": "allow",
    "reason": "a rule allows it and none denies it",
    "rules": [],
}


def facts(access_class: int, via: str | None = None, current: tuple[int, ...] = (1,), **decision: Any) -> Facts:
    how = "inherited" if via else "direct"
    showing = Showing(str(DOCUMENT), 1, None, access_class, 1, True, False, how, via, 3)
    exchange = Exchange(1, "t", "chat", "x", "p-1", "answered", (showing,))
    now = Judge(LABELS, ANN, Context(AT))
    return Facts(exchange, {**DECISION, **decision}, THEN, PAST, PAST, now, None, {DOCUMENT: current})


def test_it_is_judged_before_anything_could_change() -> None:
    """Where the record says until when what was judged held, the instant is before that."""
    until = AT - timedelta(seconds=1)
    assert Bench.of(PAST, THEN).judge.context.now == AT
    assert (
        until - timedelta(milliseconds=1) < Bench.of(replace(PAST, valid_until=until), THEN).judge.context.now < until
    )


def test_a_version_that_came_later_was_not_pending() -> None:
    """One that was proposed by then may have been."""
    proposed = [replace(PAST, following=Rules(), following_since=AT + timedelta(seconds=n)) for n in (-1, 1)]
    assert [len(Bench.of(past, THEN).ways) for past in (PAST, *proposed)] == [2, 3, 2]


def test_what_was_shown_and_might_not_be_is_an_alarm() -> None:
    """By a label that it still has, or had when it was shown itself."""
    found = replayed(facts(2, current=(2,)))
    assert (found.agreement, len(found.problems)) == (Agreement.CONTRADICTS, 1)
    assert replayed(facts(2, current=(1,))).agreement is Agreement.CONTRADICTS
    assert replayed(facts(1)).agreement is Agreement.AGREES


def test_what_was_inherited_under_a_label_that_changed_cannot_be_told() -> None:
    """It may have changed before it stood in this prompt; where it is the same still, it is an alarm."""
    assert replayed(facts(2, via="y", current=(1,))).agreement is Agreement.UNKNOWN
    assert replayed(facts(2, via="y", current=(2,))).agreement is Agreement.CONTRADICTS


def test_a_denial_that_was_the_credentials_cannot_be_told_by_rules() -> None:
    """A key that was revoked, or somebody who had left."""
    for reason in ("key_revoked", "key_expired", "person_inactive"):
        assert replayed(facts(1, effect="deny", reason=reason)).agreement is Agreement.UNKNOWN
    assert replayed(facts(1, effect="deny", reason="no rule allows it")).agreement is Agreement.CONTRADICTS


def test_a_policy_version_that_is_not_stored_is_an_alarm() -> None:
    """Nothing could be decided by it; version 0 is that there was none."""
    gone = replace(facts(1), decided=replace(PAST, rules=Rules(), found=None))
    assert any("not stored any more" in problem for problem in replayed(gone).problems)


def test_now_is_judged_by_every_label_that_may_be_in_force() -> None:
    """While a change is pending both must be readable, and a document that is not there is not."""
    assert [replayed(facts(1, current=now)).passages[0].now.readable for now in ((1,), (1, 2), ())] == [
        True,
        False,
        False,
    ]
