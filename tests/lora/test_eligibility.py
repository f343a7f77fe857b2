"""Who may use an adapter: only who has the right to it and may read all that it learned, then and now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.lora.made import IDENTITY, document, line

from usher_lora.eligibility import Candidate, Eligibility, Judged, Reason
from usher_lora.faults import AdapterFault
from usher_policy.catalog import Catalog
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.conditions import Context
from usher_policy.decide import may
from usher_policy.rules import parse_rules
from usher_policy.vocabulary import Action, Principal

MONDAY = Context(datetime(2026, 1, 5, 12, tzinfo=UTC))
SUNDAY = Context(datetime(2026, 1, 4, 12, tzinfo=UTC))
OFFICE = "time:days=mon-fri;from=08:00;to=18:00;zone=Europe/Berlin"
RULES = f"""
p, role:all, adapter:a, adapter.use, allow, always
p, role:all, adapter:b, adapter.use, allow, {OFFICE}
p, role:all, adapter:c, adapter.use, allow, always
p, group:lent, adapter:c, adapter.use, deny, {OFFICE}
p, user:bob, adapter:d, adapter.use, allow, purpose:is=audit
g, user:alice, role:all
g, group:lent, role:all
"""
SNAPSHOT = compile_snapshot(1, parse_rules(RULES), Catalog())
NARROWER = compile_snapshot(2, parse_rules("p, user:alice, adapter:b, adapter.use, allow, always\n"), Catalog())
ALICE, BOB = Principal("user:alice"), Principal("user:bob")
LENT = Principal("user:eve", frozenset({"group:lent"}))
PRINCIPALS = (ALICE, BOB, LENT, Principal("role:all"))
CONTEXTS = (MONDAY, SUNDAY, Context(MONDAY.now, "audit"))
SCOPES = ((), (1,), (1, 2), (2, 3, 4), (1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5))


def adapters(*candidates: Candidate, classes: dict[UUID, tuple[int, ...]]) -> Eligibility:
    made = Eligibility()
    for candidate in candidates:
        made.add(candidate, classes)
    return made


def one(documents: Iterable[int], trained: tuple[int, ...] = (1,), name: str = "a") -> Candidate:
    return Candidate(f"{name}@1", f"adapter:{name}", frozenset(map(document, documents)), trained)


def judged(made: Eligibility, classes: tuple[int, ...], who: Principal = ALICE, context: Context = MONDAY) -> Judged:
    return made.judge(classes, [SNAPSHOT], [who], context)


def test_every_class_must_be_in_the_scope() -> None:
    """Of each document, the one it had and the one it has."""
    made = adapters(one([1, 2], (1, 2)), classes={document(1): (1,), document(2): (3,)})
    assert judged(made, (1, 2, 3)).eligible == ("a@1",)
    for scope in ((1, 2), (1, 3), (2, 3), ()):
        assert judged(made, scope).eligible == ()
        assert judged(made, scope).ineligible == {"a@1": Reason.OUTSIDE}


def test_a_label_that_was_loosened_frees_nothing_that_was_learned_under_the_old_one() -> None:
    """What the adapter says may still be what was secret then."""
    made = adapters(one([1], (2,)), classes={document(1): (1,)})
    assert judged(made, (1,)).eligible == ()
    assert made.missing("a@1", (1,)) == {2}


def test_a_label_that_was_tightened_binds_at_once() -> None:
    """While the change is pending both classes must be in the scope."""
    made = adapters(one([1]), classes={document(1): (1,)})
    assert judged(made, (1,)).eligible == ("a@1",)
    made.relabel({document(1): (1, 4)})
    assert judged(made, (1,)).eligible == ()
    assert judged(made, (1, 4)).eligible == ("a@1",)
    made.relabel({document(1): (1,)})
    assert judged(made, (1,)).eligible == ("a@1",)


def test_a_document_that_nobody_knows_takes_its_adapters_from_everybody() -> None:
    """Also from a scope that had class 0 by mistake."""
    made = adapters(one([1, 2]), classes={document(1): (1,)})
    assert judged(made, (0, 1)).eligible == ()


def test_what_learned_nothing_is_nobodys() -> None:
    """A set of no requirements would be inside every scope."""
    assert judged(adapters(one([], ()), classes={}), (1, 2)).eligible == ()


def test_a_reason_tells_nothing_to_who_has_no_right() -> None:
    """An adapter that is not there and one that is not theirs are answered alike."""
    made = adapters(one([1], (9,)), one([1], (9,), "d"), classes={document(1): (9,)})
    seen = judged(made, (1,))
    assert seen.reason("a@1") == Reason.OUTSIDE
    assert seen.reason("d@1") == seen.reason("absent@1") == seen.reason("") == Reason.NO_RIGHT
    assert made.missing("absent@1", ()) == made.missing("", ()) == frozenset()


def test_while_a_change_is_pending_each_policy_must_give_the_right() -> None:
    """And each of the groups that a person is about to have."""
    made = adapters(one([1]), one([1], name="b"), one([1], name="c"), classes={document(1): (1,)})
    assert made.judge((1,), [SNAPSHOT], [ALICE], MONDAY).eligible == ("a@1", "b@1", "c@1")
    assert made.judge((1,), [SNAPSHOT, NARROWER], [ALICE], MONDAY).eligible == ("b@1",)
    assert made.judge((1,), [SNAPSHOT], [ALICE, LENT], MONDAY).eligible == ("a@1", "b@1")
    assert made.judge((1,), [], [ALICE], MONDAY).eligible == ()
    assert made.judge((1,), [SNAPSHOT], [], MONDAY).eligible == ()


def test_a_result_stays_what_it_was() -> None:
    """Whatever becomes of the adapters."""
    made = adapters(one([1]), classes={document(1): (1,)})
    before = judged(made, (1,))
    made.remove("a@1")
    made.add(one([1], name="d"), {document(1): (1,)})
    assert before.eligible == ("a@1",)
    assert judged(made, (1,)).eligible == ()


def test_a_name_is_there_once() -> None:
    """And what is not there is not removed."""
    made = adapters(one([1]), classes={})
    with pytest.raises(ValueError, match="no name of a new adapter"):
        made.add(one([1]), {})
    assert not made.remove("b@1")
    assert not made.remove("")


def test_a_candidate_is_an_adapter_with_the_lineage_of_its_manifest() -> None:
    """With another lineage it would be judged by what it did not learn."""
    candidate = Candidate.of(IDENTITY, line(1, 2))
    assert (candidate.name, candidate.policy_object) == (IDENTITY.served_name, "adapter:support")
    assert (candidate.documents, candidate.trained) == ({document(1), document(2)}, {1})
    with pytest.raises(AdapterFault, match="not the one"):
        Candidate.of(IDENTITY, line(1))


@dataclass
class Oracle:
    """What the index is to answer, worked out anew for each question."""

    held: dict[str, Candidate] = field(default_factory=dict)
    classes: dict[UUID, frozenset[int]] = field(default_factory=dict)

    def eligible(self, scope: tuple[int, ...], snapshot: Snapshot, who: Principal, context: Context) -> set[str]:
        inside = set(scope) - {0}
        return {
            name
            for name, one in self.held.items()
            if may(snapshot, who, one.policy_object, Action.ADAPTER_USE, context).allowed
            and one.documents
            and inside.issuperset(one.trained)
            and all(self.classes.get(d) and inside.issuperset(self.classes[d]) for d in one.documents)
        }


class Changes(RuleBasedStateMachine):
    """Adapters come and go, labels change: the index answers as if it were made anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.made, self.oracle = Eligibility(), Oracle()

    @rule(
        name=st.sampled_from(["a", "b", "c", "d"]),
        version=st.integers(1, 3),
        documents=st.frozensets(st.integers(0, 5), max_size=4),
        trained=st.frozensets(st.integers(1, 4), min_size=1, max_size=2),
    )
    def publish(self, name: str, version: int, documents: frozenset[int], trained: frozenset[int]) -> None:
        candidate = Candidate(f"{name}@{version}", f"adapter:{name}", frozenset(map(document, documents)), trained)
        if candidate.name not in self.oracle.held:
            self.made.add(candidate, self.oracle.classes)
            self.oracle.held[candidate.name] = candidate

    @rule(chosen=st.integers(0, 9))
    def retire(self, chosen: int) -> None:
        for name in sorted(self.oracle.held)[chosen : chosen + 1]:
            assert self.made.remove(name)
            del self.oracle.held[name]

    @rule(
        labels=st.dictionaries(st.integers(0, 6), st.frozensets(st.integers(1, 5), max_size=2), min_size=1, max_size=3)
    )
    def label(self, labels: dict[int, frozenset[int]]) -> None:
        changed = {document(n): found for n, found in labels.items()}
        self.oracle.classes |= changed
        self.made.relabel(changed)

    @invariant()
    def answers_alike(self) -> None:
        assert set(self.made.names) == set(self.oracle.held)
        assert set(self.made.documents) == {d for one in self.oracle.held.values() for d in one.documents}
        for scope in SCOPES:
            for who in PRINCIPALS:
                for context in CONTEXTS:
                    seen = self.made.judge(scope, [SNAPSHOT], [who], context)
                    expected = self.oracle.eligible(scope, SNAPSHOT, who, context)
                    assert set(seen.eligible) == expected
                    assert seen.ineligible.keys() == self.oracle.held.keys() - expected
        for name, one in self.oracle.held.items():
            assert all(name in self.made.learned(d) for d in one.documents)
            found = [self.oracle.classes.get(d) or frozenset({0}) for d in one.documents] or [frozenset({0})]
            needed = frozenset(one.trained if one.documents else ()).union(*found)
            assert self.made.missing(name, (1, 2)) == needed - {1, 2}


TestChanges = Changes.TestCase
TestChanges.settings = settings(stateful_step_count=10)
