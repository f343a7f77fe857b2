"""Break-glass: one person's leave, for exactly one thing, for a while, and a review that somebody else must close."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usher.core.approval import Denial, digest_of
from usher.core.break_glass import BOX, LONGEST_BOX, BreakGlass, break_glass, denied_by_glass, review
from usher.errors import UserError
from usher_policy.vocabulary import Principal

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANN, ANN_AGAIN, BEA = Principal("user:ann"), Principal("user:ann", frozenset({"group:staff"})), Principal("user:bea")
ACT = digest_of("policy", b"1")


def glass(reason: str = "payroll stands still", box: timedelta = BOX, *, may: bool = True) -> BreakGlass | Denial:
    return break_glass("b1", "policy", (b"1",), ANN, reason, NOON, may_break_glass=may, box=box)


def broken() -> BreakGlass:
    made = glass()
    assert isinstance(made, BreakGlass)
    return made


def test_it_needs_a_right_of_its_own() -> None:
    """Without it there is none."""
    assert glass(may=False) is Denial.NO_RIGHT


@given(st.integers(-90, 180))
def test_it_holds_within_its_box_only(minute: int) -> None:
    """From its beginning until before its end."""
    covered = denied_by_glass(broken(), ANN_AGAIN, ACT, NOON + timedelta(minutes=minute)) is None
    assert covered is (0 <= minute < 60)


def test_it_covers_one_person_and_one_act() -> None:
    """Nobody else, and nothing else."""
    assert denied_by_glass(broken(), BEA, ACT, NOON) is Denial.NO_RIGHT
    assert denied_by_glass(broken(), ANN, digest_of("policy", b"2"), NOON) is Denial.OTHER_CONTENT


@pytest.mark.parametrize(
    ("reason", "box"),
    [(" \n", BOX), ("why", timedelta()), ("why", -BOX), ("why", LONGEST_BOX + timedelta(microseconds=1))],
)
def test_without_a_reason_or_an_end_there_is_none(reason: str, box: timedelta) -> None:
    """The reason is typed, and the time is bounded."""
    with pytest.raises(UserError):
        glass(reason, box)


def test_its_review_is_closed_once_by_somebody_else_afterwards() -> None:
    """Not by whoever used it, not without the right, not while it can still be used; and long after, still."""
    after = NOON + 300 * timedelta(days=1)
    assert review(broken(), ANN_AGAIN, after, may_review=True) is Denial.SAME_PERSON
    assert review(broken(), BEA, after, may_review=False) is Denial.NO_RIGHT
    assert review(broken(), Principal("bea"), after, may_review=True) is Denial.NO_PERSON
    assert review(broken(), BEA, NOON + BOX / 2, may_review=True) is Denial.STILL_OPEN
    closed = review(broken(), BEA, after, may_review=True)
    assert isinstance(closed, BreakGlass)
    assert review(closed, BEA, after, may_review=True) is Denial.REPEATED


def test_the_json_form_has_neither_names_nor_the_reason() -> None:
    """Pseudonyms only; what was typed is text, to be sealed. It is marked as what it is."""
    closed = review(broken(), BEA, NOON + BOX, may_review=True)
    assert isinstance(closed, BreakGlass)
    form = closed.as_json({"user:ann": "p0", "user:bea": "p1"}.__getitem__)
    assert "payroll" not in json.dumps(form) + repr(closed)
    assert "user:" not in json.dumps(form)
    assert (form["break_glass"], form["person"], form["digest"]) == (True, "p0", ACT)
    assert form["reviewed"] == {"by": "p1", "at": "2026-03-02T13:00:00.000000+00:00"}
