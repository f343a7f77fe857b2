"""The life of an adapter: every road to being served, and every way off it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed
from tests.lora.made import IDENTITY, MEASURED, gate, leakage

from usher_lora.gates import Bounds, Outcome, Verdict
from usher_lora.lineage import Cause, Stale
from usher_lora.registry import (
    Alarm,
    Approve,
    Entry,
    Evaluate,
    GoStale,
    Publish,
    Quarantine,
    Refused,
    Reopen,
    Retire,
    State,
    Step,
    step,
)

BOUNDS = Bounds()
TIGHT = Bounds(over_base=0.9)
DRAFT = Entry(IDENTITY.served_name, author="anna")
GONE = Stale(Cause.DOCUMENT_ERASED, "d1")
LEAKY = gate(changed(MEASURED, outside=leakage(0.8, 2)))
PATH: tuple[Step, ...] = (Evaluate(gate()), Approve("ben", BOUNDS), Publish(BOUNDS))


def after(*steps: Step) -> Entry:
    entry = DRAFT
    for taken in steps:
        moved = step(entry, taken)
        assert isinstance(moved, Entry), moved
        entry = moved
    return entry


def refusal(entry: Entry, taken: Step) -> str:
    answered = step(entry, taken)
    assert isinstance(answered, Refused)
    assert answered.remedy
    return answered.problem


def test_the_road_to_being_served() -> None:
    """Evaluated, approved by somebody else, published; then retired."""
    states = [after(*PATH[:n]).state for n in range(4)]
    assert states == [State.DRAFT, State.EVALUATED, State.APPROVED, State.PUBLISHED]
    assert after(*PATH).served
    assert after(*PATH, Retire()).state is State.RETIRED


def test_nobody_approves_what_they_made() -> None:
    """Nor lets it begin again."""
    assert "by who made it" in refusal(after(PATH[0]), Approve("anna", BOUNDS))
    assert "by who made it" in refusal(after(*PATH, Retire()), Reopen("anna"))


def test_a_gate_counts_only_for_the_digests_it_was_run_on() -> None:
    """One of another adapter, and one whose verdict was written by hand, are refused."""
    other = gate(adapter=IDENTITY.served_name.replace("support", "sales"))
    assert "not the one" in refusal(DRAFT, Evaluate(other))
    forged = changed(LEAKY, verdict=Verdict(Outcome.PASSED, ()))
    assert "figures do not give" in refusal(DRAFT, Evaluate(forged))


def test_what_did_not_pass_stays_a_draft() -> None:
    """Also one that had passed before."""
    assert after(Evaluate(LEAKY)).state is State.DRAFT
    assert after(Evaluate(gate()), Evaluate(LEAKY)).state is State.DRAFT
    assert "is draft" in refusal(after(Evaluate(LEAKY)), Approve("ben", BOUNDS))


def test_bounds_that_became_tighter_bind_what_had_passed() -> None:
    """At its approval, and at its publication."""
    assert "gate of now" in refusal(after(PATH[0]), Approve("ben", TIGHT))
    assert "gate of now" in refusal(after(*PATH[:2]), Publish(TIGHT))


@pytest.mark.parametrize("steps", [PATH[:n] for n in range(4)])
def test_what_learned_something_that_went_never_serves_again(steps: tuple[Step, ...]) -> None:
    """Wherever it stood, it is retired for good."""
    entry = after(*steps, GoStale((GONE,)))
    assert (entry.state, entry.stale) == (State.RETIRED, (GONE,))
    assert "may no longer be known" in refusal(entry, Reopen("ben"))
    for taken in PATH:
        refusal(entry, taken)


@pytest.mark.parametrize("alarm", list(Alarm))
@pytest.mark.parametrize("steps", [PATH[:n] for n in range(4)])
def test_quarantine_comes_from_anywhere(steps: tuple[Step, ...], alarm: Alarm) -> None:
    """And no step but being reopened leads out: not for one whose bytes were others."""
    entry = after(*steps, Quarantine(alarm))
    assert (entry.state, entry.alarm, entry.served) == (State.QUARANTINED, alarm, False)
    for taken in (*PATH, Retire()):
        refusal(entry, taken)
    if alarm is Alarm.INTEGRITY:
        assert "other bytes" in refusal(entry, Reopen("ben"))
    else:
        assert step(entry, Reopen("ben")) == DRAFT


def test_bytes_that_were_others_are_not_forgotten_for_a_smaller_reason() -> None:
    """A second alarm does not open the way back, in whatever order they came."""
    for first, second in ((Alarm.INTEGRITY, Alarm.GATE), (Alarm.GATE, Alarm.INTEGRITY)):
        assert "other bytes" in refusal(after(Quarantine(first), Quarantine(second)), Reopen("ben"))


def test_what_went_while_it_was_quarantined_keeps_it_out() -> None:
    """It stays quarantined, and stale."""
    entry = after(*PATH, Quarantine(Alarm.REPORTED), GoStale((GONE,)))
    assert entry.state is State.QUARANTINED
    assert "may no longer be known" in refusal(entry, Reopen("ben"))
    assert "nothing of what went" in refusal(DRAFT, GoStale(()))


PEOPLE = st.sampled_from(["anna", "ben"])
STEPS = st.one_of(
    st.builds(Evaluate, st.sampled_from([gate(), gate(), LEAKY])),
    st.builds(Approve, PEOPLE, st.sampled_from([BOUNDS, BOUNDS, TIGHT])),
    st.builds(Publish, st.sampled_from([BOUNDS, BOUNDS, TIGHT])),
    st.just(Retire()),
    st.just(GoStale((GONE,))),
    st.builds(Quarantine, st.sampled_from(list(Alarm))),
    st.builds(Reopen, PEOPLE),
)


@given(st.lists(STEPS, max_size=30))
def test_whatever_is_tried_only_the_whole_road_leads_to_being_served(tried: list[Step]) -> None:
    """Since it was last a draft: a gate passed, an approval by another, a publication, in this order; nothing after it
    that ends it; and never after something went or its bytes were others."""
    entry, taken = DRAFT, list[Step]()
    for one in tried:
        moved = step(entry, one)
        if isinstance(moved, Entry):
            entry = moved
            taken = [] if entry == DRAFT else [*taken, one]
        if entry.served:
            kinds = [type(kind) for kind in taken]
            assert kinds[-3:] == [Evaluate, Approve, Publish]
            assert entry.approver not in (None, entry.author)
            assert entry.gate is not None
            assert entry.gate.verdict.outcome is Outcome.PASSED
            assert not entry.stale
            assert entry.alarm is None
