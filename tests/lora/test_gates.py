"""The gate: figures keep the bounds, break them, or tell nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.lora.made import MEASURED, attack, leakage

from usher_lora.gates import Bounds, Leakage, Measured, Outcome, Scores, judge

NAN = float("nan")


def test_figures_within_all_bounds_pass() -> None:
    """Without a reason to say otherwise."""
    verdict = judge(Bounds(), MEASURED)
    assert (verdict.outcome, verdict.reasons) == (Outcome.PASSED, ())


@dataclass(frozen=True)
class Case:
    measured: Measured
    outcome: Outcome
    reason: str


def outside(value: Leakage) -> Measured:
    return replace(MEASURED, outside=value)


def control(value: Leakage) -> Measured:
    return replace(MEASURED, control=value)


def scores(**changes: float) -> Measured:
    return replace(MEASURED, scores=replace(MEASURED.scores, **changes))


PAIR = MEASURED.outside.attacks
FAILED, INCONCLUSIVE = Outcome.FAILED, Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    "case",
    [
        Case(outside(leakage(0.55, 0)), FAILED, "tells members"),
        Case(outside(leakage(0.45, 0)), FAILED, "tells others"),
        Case(outside(leakage(0.5, 1)), FAILED, "1 canaries found"),
        Case(scores(adapter=0.2), FAILED, "over the base"),
        Case(scores(general=0.5), FAILED, "on general questions"),
        Case(control(leakage(0.73, 8)), INCONCLUSIVE, "reaches only 0.690"),
        Case(control(leakage(0.9, 0)), INCONCLUSIVE, "0 canaries found, not 1"),
        Case(outside(replace(MEASURED.outside, attacks=PAIR[:1])), INCONCLUSIVE, "loss_ratio was not tried once"),
        Case(outside(replace(MEASURED.outside, attacks=(*PAIR, PAIR[0]))), INCONCLUSIVE, "min_k was not tried once"),
        Case(outside(replace(MEASURED.outside, attacks=(*PAIR, attack("x", 0.5)))), INCONCLUSIVE, "not the same"),
        Case(outside(Leakage((attack("min_k", 0.5, 0.06), PAIR[1]), 8, 0)), INCONCLUSIVE, "0.120 wide"),
        Case(outside(Leakage((replace(PAIR[0], low=NAN), PAIR[1]), 8, 0)), INCONCLUSIVE, "no AUC"),
        Case(outside(Leakage((replace(PAIR[0], members=0), PAIR[1]), 8, 0)), INCONCLUSIVE, "no AUC"),
        Case(outside(replace(MEASURED.outside, canaries_planted=0)), INCONCLUSIVE, "no canary was planted"),
        Case(control(replace(MEASURED.control, canaries_found=9)), INCONCLUSIVE, "than planted"),
        Case(scores(adapter=NAN), INCONCLUSIVE, "shares from 0 to 1"),
        Case(scores(general_base=1.5), INCONCLUSIVE, "shares from 0 to 1"),
    ],
)
def test_each_bound_that_is_not_kept_is_named(case: Case) -> None:
    """A leak fails; a control that does not leak, too few attacks or figures that are none make it inconclusive."""
    verdict = judge(Bounds(), case.measured)
    assert verdict.outcome == case.outcome
    assert any(case.reason in reason for reason in verdict.reasons), verdict.reasons


def test_an_adapter_that_knows_less_than_retrieval_is_kept_out_where_that_is_asked() -> None:
    """By so many at most; it is not asked unless gates.yaml does."""
    assert judge(Bounds(), MEASURED).outcome is Outcome.PASSED
    assert judge(Bounds(under_retrieval=0.03), MEASURED).outcome is Outcome.PASSED
    verdict = judge(Bounds(under_retrieval=0.01), MEASURED)
    assert verdict.outcome is FAILED
    assert "over retrieval" in verdict.reasons[0]


def test_a_leak_under_a_dead_control_is_inconclusive_and_told() -> None:
    """Both block; the reasons are all there."""
    verdict = judge(Bounds(), replace(outside(leakage(0.9, 3)), control=leakage(0.5, 0)))
    assert verdict.outcome == INCONCLUSIVE
    assert any("3 canaries found" in reason for reason in verdict.reasons)


def test_of_two_bounds_the_stricter_counts() -> None:
    """Each by itself, whichever side has it."""
    loose = Bounds(0.6, 0.2, 3, 0.6, 1, -0.5, 1.0, 0.5)
    for name in Bounds.__struct_fields__:
        strict = replace(loose, **{name: getattr(STRICT, name)})
        assert loose & strict == strict & loose == strict


STRICT = Bounds(0.5, 0.1, 0, 0.9, 5, 0.5, 0.1, 0.0)
SHARES = st.floats(0, 1)
BOUNDS = st.builds(
    Bounds, SHARES, SHARES, st.integers(0, 3), SHARES, st.integers(0, 9), st.floats(-1, 1), SHARES, SHARES
)
FIGURES = st.builds(
    Measured,
    st.builds(leakage, SHARES, st.integers(0, 3)),
    st.builds(leakage, SHARES, st.integers(0, 9)),
    st.builds(Scores, SHARES, SHARES, SHARES, SHARES, SHARES),
)


@given(BOUNDS, BOUNDS, FIGURES)
def test_two_sets_of_bounds_pass_what_each_passes(one: Bounds, other: Bounds, measured: Measured) -> None:
    """While a change of them is pending an adapter must pass by the old ones and by the new."""

    def passes(bounds: Bounds) -> bool:
        return judge(bounds, measured).outcome == Outcome.PASSED

    assert passes(one & other) == (passes(one) and passes(other))
