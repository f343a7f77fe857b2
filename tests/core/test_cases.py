"""Cases: what steps make, and what may be the next one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usher.core.cases import (
    MAX_EXCHANGES,
    Case,
    Closed,
    Moved,
    NotDecidable,
    Op,
    Review,
    Step,
    case_of,
    check_decision,
    check_open,
    check_seen,
    checked_text,
    newly,
)
from usher.errors import UserError

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
OPENED = Step(1, Op.OPEN, "p-1", NOW)


def decided(version: int, review: Review, by: str = "p-2") -> Step:
    return Step(version, Op.DECIDE, by, NOW, (), review)


def added(version: int, *idents: str, subjects: tuple[str, ...] = ()) -> Step:
    return Step(version, Op.ADD, "p-1", NOW, idents, None, subjects)


def test_a_case_is_what_its_steps_say() -> None:
    """Exchanges once each, in the order in which they came; the last decision stands."""
    steps = [OPENED, added(2, "a", "b", subjects=("p-7",)), added(3, "b", "c", subjects=("p-8",))]
    steps += [Step(4, Op.NOTE, "p-2", NOW), decided(5, Review.FINE), decided(6, Review.NEEDS_MORE, "p-3")]
    case = case_of(steps)
    assert (case.version, case.opener, case.exchanges) == (6, "p-1", ("a", "b", "c"))
    assert case.subjects == {"p-7", "p-8"}
    assert (case.review, case.reviewed_by, case.closed) == (Review.NEEDS_MORE, "p-3", False)
    assert case_of(steps[:5]).closed


@pytest.mark.parametrize("steps", [[], [added(1, "a")], [OPENED, added(3, "a")], [added(2, "a"), OPENED]])
def test_steps_that_lack_one_are_no_case(steps: list[Step]) -> None:
    """Nor are those in another order."""
    with pytest.raises(ValueError, match="steps"):
        case_of(steps)


@settings(deadline=None, database=None, derandomize=True)
@given(st.lists(st.sampled_from([*Review, "add", "note"]), max_size=12))
def test_a_case_is_closed_by_its_last_decision(ops: list[Review | str]) -> None:
    """Whatever came before; `needs_more` leaves it open."""
    steps, last = [OPENED], None
    for version, op in enumerate(ops, 2):
        if isinstance(op, Review):
            steps.append(decided(version, op))
            last = op
        else:
            steps.append(Step(version, Op(op), "p-1", NOW))
    case = case_of(steps)
    assert (case.review, case.closed) == (last, last in (Review.FINE, Review.VIOLATION))
    if case.closed:
        with pytest.raises(Closed):
            check_open(case)
    else:
        check_open(case)


@pytest.mark.parametrize("seen", [0, 2, 4, -1, 10**30])
def test_a_change_upon_another_version_names_the_newest(seen: int) -> None:
    """By whom, when and what; upon the newest it is let by."""
    newest = Step(3, Op.NOTE, "p-9", NOW)
    with pytest.raises(Moved, match=r"at 3: note by p-9 at 2026-11-22T09:00:00"):
        check_seen(seen, newest)
    check_seen(3, newest)


CASE = Case(2, "p-1", NOW, ("a",), frozenset({"p-7"}))
REFUSED = {
    "no person": (CASE, None, True, "a person's"),
    "own exchange": (CASE, "p-7", True, "own exchange"),
    "empty": (Case(1, "p-1", NOW), "p-2", True, "holds no exchange"),
    "out of reach": (CASE, "p-2", False, "your rights"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_who_may_not_decide_is_told_why(name: str) -> None:
    """Nobody on their own exchange; nobody on what they do not see whole."""
    case, by, all_seen, words = REFUSED[name]
    with pytest.raises(NotDecidable, match=words):
        check_decision(case, by, all_seen=all_seen)


def test_whoever_opened_it_may_decide() -> None:
    """As anybody else whose exchanges are not in it."""
    for by in ("p-1", "p-2"):
        check_decision(CASE, by, all_seen=True)


def test_what_is_in_it_is_not_added_again() -> None:
    """Each once, and no more than a case takes."""
    assert newly(CASE, ["b", "a", "b", "c"]) == ("b", "c")
    full = Case(2, "p-1", NOW, tuple(map(str, range(MAX_EXCHANGES))))
    assert newly(full, ["0"]) == ()
    with pytest.raises(UserError, match="exchanges would be more"):
        newly(full, ["new"])


def test_a_text_has_bounds() -> None:
    """White space around it is no text."""
    assert checked_text("title", " a ", 1) == "a"
    for text in ("", " \n", "ab"):
        with pytest.raises(UserError, match="title"):
            checked_text("title", text, 1)
