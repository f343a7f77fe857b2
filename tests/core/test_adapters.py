"""What two people decide on an adapter: exactly this one, with exactly this gate, and never by who made it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace as changed
from tests.lora.made import IDENTITY, MEASURED, attack, gate, leakage

from usher.core.adapters import Registered, approved, draft, evaluated, moved, published, to_train_anew
from usher.core.approval import Denial
from usher_lora.gates import Bounds, Measured
from usher_lora.lineage import Cause, Stale
from usher_lora.manifest import MadeFor
from usher_lora.registry import Alarm, GoStale, Quarantine, Refused, Reopen, Retire, State
from usher_policy.vocabulary import Principal

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANN, BEA, CEM = (Principal(f"user:{name}") for name in ("ann", "bea", "cem"))
STALE = GoStale((Stale(Cause.DOCUMENT_DELETED, "d"),))
LEAKS = Measured(leakage(0.9, 3), MEASURED.control, MEASURED.scores)


def passed(by: str = "ann", now: datetime = NOW) -> Registered:
    one = evaluated(draft(IDENTITY, by, now), gate(), "p1", now)
    assert isinstance(one, Registered)
    return one


def taken_on(by: Principal = BEA) -> Registered:
    before = passed()
    one = approved(before, by, before.digest or "", Bounds(), NOW, may=True)
    assert isinstance(one, Registered)
    return one


def test_two_people_bring_an_adapter_into_service() -> None:
    """Each step is the next one's condition, and the approver stands in it."""
    one = taken_on()
    assert (one.entry.state, one.entry.approver, one.digest) == (State.APPROVED, "bea", passed().digest)
    done = published(one, ANN, one.digest or "", Bounds(), NOW, frozenset({"user:bea"}))
    assert isinstance(done, Registered)
    assert done.entry.state is State.PUBLISHED


@pytest.mark.parametrize(
    ("by", "digest", "may", "at", "why"),
    [
        (ANN, None, True, NOW, Denial.SAME_PERSON),
        (BEA, None, False, NOW, Denial.NO_RIGHT),
        (BEA, "0" * 64, True, NOW, Denial.OTHER_CONTENT),
        (BEA, None, True, NOW + timedelta(days=30), Denial.EXPIRED),
        (BEA, None, True, NOW - timedelta(seconds=1), Denial.CLOCK),
    ],
    ids=["author", "no right", "other content", "too late", "too early"],
)
def test_an_approval_is_somebody_elses_of_exactly_this(
    by: Principal, digest: str | None, may: bool, at: datetime, why: Denial
) -> None:
    """By right, in time, of the adapter with the gate that was shown."""
    one = passed()
    assert approved(one, by, digest or one.digest or "", Bounds(), at, may=may) is why


def test_another_gate_is_another_content() -> None:
    """An approval of the gate before does not count for the one after."""
    first = passed()
    worse = gate(replace_general(0.605))
    again = evaluated(taken(first), worse, "p2", NOW)
    assert isinstance(again, Registered)
    assert again.digest != first.digest
    assert approved(again, BEA, first.digest or "", Bounds(), NOW, may=True) is Denial.OTHER_CONTENT


def replace_general(score: float) -> Measured:
    scores = MEASURED.scores
    return Measured(MEASURED.outside, MEASURED.control, type(scores)(0.8, 0.3, 0.82, score, 0.61))


def taken(one: Registered | Refused | Denial) -> Registered:
    assert isinstance(one, Registered)
    return one


def test_a_gate_that_was_not_passed_is_proposed_to_nobody() -> None:
    """It stays a draft, says why, and takes an earlier proposal away."""
    one = taken(evaluated(passed(), gate(LEAKS), "p2", NOW))
    assert (one.entry.state, one.proposal) == (State.DRAFT, None)
    assert one.entry.gate is not None
    assert isinstance(approved(one, BEA, one.digest or "", Bounds(), NOW, may=True), Refused)


def test_bounds_that_became_tighter_bind() -> None:
    """At the approval, and again when it is published."""
    tight = Bounds(leak_width=0.01)
    before, one = passed(), taken_on()
    assert isinstance(approved(before, BEA, before.digest or "", tight, NOW, may=True), Refused)
    assert isinstance(published(one, ANN, one.digest or "", tight, NOW, frozenset({"user:bea"})), Refused)


@pytest.mark.parametrize("may", [frozenset(), frozenset({"user:cem"}), frozenset({"user:ann"})], ids=str)
def test_who_approved_must_still_have_the_right(may: frozenset[str]) -> None:
    """Another one's right is not theirs."""
    one = taken_on()
    assert published(one, ANN, one.digest or "", Bounds(), NOW, may) is Denial.RIGHT_LOST


def test_only_what_was_looked_at_is_published() -> None:
    """With another digest nothing happens."""
    one = taken_on()
    assert published(one, ANN, "0" * 64, Bounds(), NOW, frozenset({"user:bea"})) is Denial.OTHER_CONTENT


def test_a_gate_of_another_adapter_is_refused() -> None:
    """Whatever it found."""
    other = gate(adapter=IDENTITY.served_name.replace("support", "sales"))
    assert isinstance(evaluated(draft(IDENTITY, "ann", NOW), other, "p", NOW), Refused)


def test_what_begins_again_needs_gate_and_approval_anew() -> None:
    """And it is not reopened by who made it."""
    stopped = taken(moved(taken_on(), Retire()))
    again = taken(moved(stopped, Reopen("bea")))
    assert (again.entry.state, again.entry.gate, again.entry.approver, again.proposal) == (
        State.DRAFT,
        None,
        None,
        None,
    )
    assert isinstance(moved(stopped, Reopen("ann")), Refused)


def test_what_is_stale_or_changed_never_serves_again() -> None:
    """It is neither published nor reopened."""
    for step in (STALE, Quarantine(Alarm.INTEGRITY)):
        one = taken(moved(taken_on(), step))
        assert isinstance(moved(one, Reopen("bea")), Refused)
        assert isinstance(published(one, ANN, one.digest or "", Bounds(), NOW, frozenset({"user:bea"})), Refused)


def test_an_approval_without_a_proposal_counts_for_nothing() -> None:
    """Whatever the entry says."""
    one = replace(taken_on(), proposal=None)
    assert isinstance(published(one, ANN, one.digest or "", Bounds(), NOW, frozenset({"user:bea"})), Refused)
    bare = replace(passed(), proposal=None)
    assert isinstance(approved(bare, BEA, bare.digest or "", Bounds(), NOW, may=True), Refused)


def test_attacks_are_part_of_what_is_approved() -> None:
    """Other figures, another digest."""
    other = Measured(MEASURED.outside, MEASURED.control, MEASURED.scores, (attack("min_k", 0.6),))
    assert taken(evaluated(draft(IDENTITY, "ann", NOW), gate(other), "p", NOW)).digest != passed().digest


def test_what_is_stale_is_to_be_trained_anew_until_another_takes_its_place() -> None:
    """One that was made for the same, whatever its state; the newest is proposed once, however many were before."""
    desk = MadeFor("role:desk", ("coll:handbook",), ("structure",), 1)
    first, second, third = (
        draft(changed(IDENTITY, made=f"{n:08}", made_for=desk), "ann", NOW + timedelta(days=n)) for n in range(3)
    )
    gone, gone_too = taken(moved(first, STALE)), taken(moved(second, STALE))
    other = draft(changed(IDENTITY, made_for=changed(desk, collections=("coll:news",))), "ann", NOW)
    named = draft(changed(IDENTITY, name="sales", made_for=desk), "ann", NOW)
    assert to_train_anew([first]) == []
    assert to_train_anew([named, other, gone]) == [gone]
    assert to_train_anew([gone_too, gone]) == [gone_too]
    assert to_train_anew([third, gone_too, gone]) == []
