"""Conditions: their values, until when these hold, and what a failure means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher_policy.conditions import ConditionError, Context, Held, evaluate, parse_condition
from usher_policy.vocabulary import Effect

OFFICE = "time:days=mon-fri;from=09:00;to=17:00;zone=Europe/Berlin"


def at(text: str) -> Context:
    return Context(datetime.fromisoformat(text).astimezone(UTC))


def test_always_holds_for_ever() -> None:
    """`always` never changes."""
    assert evaluate("always", Effect.ALLOW, at("2026-01-07T12:00+00:00")) == Held(True, None)


@pytest.mark.parametrize(
    ("now", "holds", "until"),
    [
        ("2026-01-07T08:59:59+01:00", False, "2026-01-07T09:00+01:00"),
        ("2026-01-07T09:00+01:00", True, "2026-01-07T17:00+01:00"),
        ("2026-01-07T16:59:59.999+01:00", True, "2026-01-07T17:00+01:00"),
        ("2026-01-07T17:00+01:00", False, "2026-01-08T09:00+01:00"),
        ("2026-01-09T17:00+01:00", False, "2026-01-12T09:00+01:00"),  # Friday evening to Monday
        ("2026-03-27T18:00+01:00", False, "2026-03-30T09:00+02:00"),  # over the start of summer time
        ("2026-10-23T18:00+02:00", False, "2026-10-26T09:00+01:00"),  # and over its end
        ("2026-07-01T07:30+00:00", True, "2026-07-01T17:00+02:00"),
    ],
)
def test_office_hours_follow_the_wall_clock(now: str, holds: bool, until: str) -> None:
    """A window opens and closes by the zone's clock, in winter and in summer, and says when it will change."""
    assert evaluate(OFFICE, Effect.ALLOW, at(now)) == Held(holds, at(until).now)


@pytest.mark.parametrize(
    ("cond", "now", "holds", "until"),
    [
        # 02:30 does not exist on the day that summer time begins: the clock jumps into the window's middle, or over it
        ("from=02:30;to=04:00", "2026-03-29T01:59+01:00", False, "2026-03-29T03:00+02:00"),
        ("from=02:10;to=02:50", "2026-03-29T01:59+01:00", False, "2026-03-30T02:10+02:00"),
        ("from=01:00;to=02:30", "2026-03-29T01:30+01:00", True, "2026-03-29T03:00+02:00"),
        # 02:30 comes twice on the day that it ends: the window opens twice
        ("from=02:30;to=03:00", "2026-10-25T02:00+02:00", False, "2026-10-25T02:30+02:00"),
        ("from=02:30;to=03:00", "2026-10-25T02:30+02:00", True, "2026-10-25T02:00+01:00"),
        ("from=02:30;to=03:00", "2026-10-25T02:00+01:00", False, "2026-10-25T02:30+01:00"),
        ("from=02:30;to=03:00", "2026-10-25T02:30+01:00", True, "2026-10-25T03:00+01:00"),
    ],
)
def test_a_clock_change_is_a_change_of_the_value(cond: str, now: str, holds: bool, until: str) -> None:
    """Hours that are skipped or repeated count as the zone's clock shows them."""
    whole = f"time:days=mon-sun;{cond};zone=Europe/Berlin"
    assert evaluate(whole, Effect.ALLOW, at(now)) == Held(holds, at(until).now)


def test_a_window_swallowed_by_a_clock_change_opens_a_week_later() -> None:
    """On Sundays from 02:10 to 02:50, the next opening after a Sunday without 02:10 is the Sunday after."""
    held = evaluate("time:days=sun;from=02:10;to=02:50;zone=Europe/Berlin", Effect.ALLOW, at("2026-03-23T00:00+01:00"))
    assert held == Held(False, at("2026-04-05T02:10+02:00").now)


def test_a_window_that_is_always_open_never_changes() -> None:
    """All days and all hours are no limit, also over clock changes."""
    cond = "time:days=mon-sun;from=00:00;to=24:00;zone=Europe/Berlin"
    assert evaluate(cond, Effect.ALLOW, at("2026-03-29T01:00+01:00")) == Held(True, None)


@settings(max_examples=2 * settings().max_examples, deadline=None)
@given(
    zone=st.sampled_from(
        ["Europe/Berlin", "America/New_York", "America/Havana", "Australia/Lord_Howe", "Asia/Kolkata"]
    ),
    minute=st.integers(0, 366 * 24 * 60),
    start=st.integers(0, 23),
    hours=st.integers(1, 24),
    days=st.sampled_from(["mon-fri", "sat+sun", "sun", "fri-mon", "mon+wed"]),
)
def test_the_value_is_constant_until_it_changes(zone: str, minute: int, start: int, hours: int, days: str) -> None:
    """Against a plain reading of the zone's clock: nothing changes before `valid_until`, and at it something does."""
    end = min(start + hours, 24)
    cond = f"time:days={days};from={start:02}:00;to={end:02}:00;zone={zone}"
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    held = evaluate(cond, Effect.ALLOW, Context(now))
    names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    listed = {"mon-fri": names[:5], "fri-mon": ["fri", "sat", "sun", "mon"]}.get(days, days.split("+"))

    def plain(instant: datetime) -> bool:
        here = instant.astimezone(ZoneInfo(zone))
        return names[here.weekday()] in listed and start <= here.hour < end

    assert held.valid_until is not None
    assert held.holds == plain(now)
    assert plain(held.valid_until) != held.holds
    steps = -(-(held.valid_until - now) // timedelta(minutes=15))
    assert all(plain(now + timedelta(minutes=15 * step)) == held.holds for step in range(steps))
    assert plain(held.valid_until - timedelta(microseconds=1)) == held.holds


def test_a_purpose_is_compared_exactly() -> None:
    """A key issued for no purpose, or for another, does not meet the condition."""
    now = datetime(2026, 1, 7, tzinfo=UTC)
    assert evaluate("purpose:is=audit", Effect.ALLOW, Context(now, "audit")).holds
    assert not evaluate("purpose:is=audit", Effect.ALLOW, Context(now, "Audit")).holds
    assert not evaluate("purpose:is=audit", Effect.DENY, Context(now)).holds


@pytest.mark.parametrize("cond", ["gone", "time:days=mon", OFFICE.replace("Berlin", "Atlantis"), ""])
def test_a_condition_that_fails_does_not_allow_and_does_deny(cond: str) -> None:
    """Whatever cannot be evaluated fails closed."""
    now = at("2026-01-07T12:00+01:00")
    assert not evaluate(cond, Effect.ALLOW, now).holds
    assert evaluate(cond, Effect.DENY, now).holds


def test_a_time_without_zone_fails_closed() -> None:
    """A naive time could mean any instant."""
    naive = Context(datetime(2026, 1, 7, 12))
    assert not evaluate(OFFICE, Effect.ALLOW, naive).holds
    assert evaluate(OFFICE, Effect.DENY, naive).holds


def test_the_end_of_time_fails_closed() -> None:
    """An instant so late that its next change cannot be said is no answer."""
    assert not evaluate(OFFICE, Effect.ALLOW, Context(datetime.max.replace(tzinfo=UTC))).holds


def test_keys_may_come_in_any_order() -> None:
    """The order of a condition's keys means nothing."""
    assert parse_condition("time:zone=Europe/Berlin;to=17:00;from=09:00;days=mon-fri") == parse_condition(OFFICE)


def test_an_unreadable_condition_says_the_remedy() -> None:
    """The error names what is wrong and what to write."""
    with pytest.raises(ConditionError, match=r"time needs exactly these keys.*days, from, to, zone.*write time:days="):
        parse_condition("time:from=09:00")
