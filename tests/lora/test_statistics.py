"""Figures of a leak: as counted by hand, and as wide as what was measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher_lora.statistics import auc, exposure, needed

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=12)
FINE = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)


def by_hand(members: list[float], others: list[float]) -> float:
    won = sum((m > o) + (m == o) / 2 for m in members for o in others)
    return won / (len(members) * len(others))


def delong_by_hand(members: list[float], others: list[float]) -> float:
    """The variance by the definition: of the structural components, pair by pair."""
    area = by_hand(members, others)
    v10 = [by_hand([m], others) for m in members]
    v01 = [by_hand(members, [o]) for o in others]
    s10 = sum((v - area) ** 2 for v in v10) / (len(members) - 1)
    s01 = sum((v - area) ** 2 for v in v01) / (len(others) - 1)
    return s10 / len(members) + s01 / len(others)


@given(SCORES | FINE, SCORES | FINE)
def test_the_area_is_the_share_of_pairs_won(members: list[float], others: list[float]) -> None:
    """Ties count half; the interval is DeLong's, cut at 0 and 1, and has the area in it."""
    found = auc(members, others)
    assert found.auc == pytest.approx(by_hand(members, others))
    assert 0 <= found.low <= found.auc <= found.high <= 1
    assert found.width > 0
    variance = delong_by_hand(members, others)
    if variance > 1e-12:
        half = 1.959964 * math.sqrt(variance)
        assert found.low == pytest.approx(max(0, found.auc - half), abs=1e-6)
        assert found.high == pytest.approx(min(1, found.auc + half), abs=1e-6)


@given(SCORES, SCORES)
def test_turned_round_it_is_the_other_way_round(members: list[float], others: list[float]) -> None:
    """What tells others from members tells members from others."""
    one, other = auc(members, others), auc(others, members)
    assert one.auc == pytest.approx(1 - other.auc)
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)


@given(SCORES, SCORES)
def test_only_the_order_of_scores_counts(members: list[float], others: list[float]) -> None:
    """A rising function of them changes nothing."""
    assert auc([m**3 + 5 for m in members], [o**3 + 5 for o in others]) == auc(members, others)


def test_a_few_that_are_told_apart_wholly_prove_little() -> None:
    """An interval of no width would claim certainty from four scores."""
    assert auc([2.0, 3.0], [0.0, 1.0]).low < 0.4
    assert auc(np.arange(100) + 1000.0, np.arange(100.0)).low > 0.95
    assert auc([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]).auc == 0.5
    assert auc([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]).width > 0.5


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 400 guesses about 95 in a hundred intervals hold one half; as many are below as above."""
    drawn = np.random.default_rng(5).normal(size=(400, 2, 120))
    found = [auc(members, others) for members, others in drawn]
    low, high = sum(one.low > 0.5 for one in found), sum(one.high < 0.5 for one in found)
    assert 8 <= low + high <= 34
    assert abs(low - high) <= 16


def test_how_many_are_needed_for_a_width() -> None:
    """The interval of that many guesses is about as wide as was asked; more make it narrower."""
    count = needed(0.10)
    assert count == 257
    drawn = np.random.default_rng(6).normal(size=(40, 2, count))
    assert np.mean([auc(members, others).width for members, others in drawn]) == pytest.approx(0.10, abs=0.002)
    assert needed(0.05) > 4 * count - 8
    with pytest.raises(ValueError, match="width"):
        needed(0)


@pytest.mark.parametrize(
    ("members", "others"),
    [([], [1.0, 2.0]), ([1.0], [1.0, 2.0]), ([1.0, 2.0], [math.nan, 1.0]), ([math.inf, 1], [1, 2])],
)
def test_too_few_scores_or_none_that_are_numbers_give_no_figure(members: list[float], others: list[float]) -> None:
    """A figure would be taken for one."""
    with pytest.raises(ValueError, match=r"members|others"):
        auc(members, others)


@given(st.integers(-3, 3), st.lists(st.integers(-3, 3), min_size=1, max_size=20))
def test_exposure_is_by_the_canarys_rank(canary: int, references: list[int]) -> None:
    """From none to log2 of the candidates; of equal losses the canary is the first."""
    rank = sorted([(loss, 1) for loss in references] + [(canary, 0)]).index((canary, 0)) + 1
    assert exposure(canary, references) == pytest.approx(math.log2((len(references) + 1) / rank))
    assert 0 <= exposure(canary, references) <= math.log2(len(references) + 1)


def test_exposure_of_a_loss_that_is_none_is_refused() -> None:
    """And of one that is compared with nothing."""
    with pytest.raises(ValueError, match="canary"):
        exposure(math.nan, [1.0])
    with pytest.raises(ValueError, match="references"):
        exposure(1.0, [])
