"""The token bucket: never more than the rate, and never a wait that is too short or needless."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from usher.core.limits import Bucket, Rate, charged, full, is_full, refilled, take, whole_seconds

RATES = st.builds(Rate, st.integers(1, 10_000), st.sampled_from([1.0, 60.0, 3600.0]))
PAUSES = st.lists(st.floats(0, 100), max_size=60)


@given(RATES, PAUSES)
def test_no_stretch_of_time_sees_more_than_the_rate(rate: Rate, pauses: list[float]) -> None:
    """Between any two instants: at most the amount and what comes in meanwhile."""
    bucket, now, taken = full(rate, 0.0), 0.0, []
    for pause in pauses:
        now += pause
        bucket, allowed, _ = take(bucket, rate, now)
        if allowed:
            taken.append(now)
    for first, begin in enumerate(taken):
        for count, end in enumerate(taken[first:], 1):
            assert count <= rate.amount * (1 + (end - begin) / rate.seconds) + 1e-6


@given(RATES, st.floats(-5_000, 0), st.floats(0.01, 1))
def test_the_wait_is_as_long_as_it_must_be(rate: Rate, left: float, part: float) -> None:
    """After it there is enough; a moment before there is not."""
    cost = max(rate.amount * part, 0.01)
    bucket, allowed, wait = take(Bucket(left, 10.0), rate, 10.0, cost)
    assert (allowed, bucket.left) == (False, left)
    assert take(bucket, rate, 10.0 + wait * 1.000001 + 1e-6, cost)[1]
    assert not take(bucket, rate, 10.0 + wait * 0.99, cost)[1]


@given(RATES, st.floats(-1e6, 1e4), st.floats(0, 1e6), st.floats(0, 1e6))
def test_time_only_fills(rate: Rate, left: float, at: float, now: float) -> None:
    """Never above the amount; a clock that goes back, and comes again, gives nothing twice."""
    bucket = Bucket(min(left, rate.amount), at)
    later = refilled(bucket, rate, now)
    assert bucket.left <= later.left <= rate.amount
    assert later.at == max(at, now)
    if now <= at:
        assert later == bucket


def test_what_is_charged_afterwards_is_owed() -> None:
    """The bucket goes below zero, and the wait covers the debt."""
    rate = Rate(60)
    bucket = charged(full(rate, 0.0), rate, 0.0, 180)
    assert take(bucket, rate, 0.0)[1:] == (False, 121.0)
    assert take(bucket, rate, 121.0)[1]


def test_only_a_full_bucket_may_be_forgotten() -> None:
    """One that has given something is full again only after its time."""
    rate = Rate(60)
    bucket, _, _ = take(full(rate, 0.0), rate, 0.0)
    assert [is_full(bucket, rate, at) for at in (0.0, 0.9, 1.0)] == [False, False, True]


def test_waits_are_told_in_whole_seconds() -> None:
    """Rounded up, and never none."""
    assert [whole_seconds(wait) for wait in (0.0, 0.01, 1.0, 1.2, 59.9)] == [1, 1, 1, 2, 60]
