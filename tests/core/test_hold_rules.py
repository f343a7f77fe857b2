"""What a hold covers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from usher.core.holds import Hold, Kept, On, held
from usher.errors import UserError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEPT = Kept(
    times=(NOON,),
    pseudonym="p1",
    conversation="c1",
    exchange="x1",
    documents=frozenset({"d1", "d2"}),
    collections=frozenset({"coll:finance/payroll"}),
)
COVERING = {
    On.PERSON: "p1",
    On.CONVERSATION: "c1",
    On.EXCHANGE: "x1",
    On.DOCUMENT: "d2",
    On.COLLECTION: "coll:finance",
}


@pytest.mark.parametrize("on", list(On))
def test_a_hold_covers_what_it_is_on_and_nothing_else(on: On) -> None:
    """A value of another kind, though equal, is another thing."""
    assert held(KEPT, [Hold("h", on, COVERING[on])])
    other = "coll:sales" if on is On.COLLECTION else "zz"
    assert not held(KEPT, [Hold("h", on, other)])
    for another in set(On) - {on, On.COLLECTION}:
        assert not held(KEPT, [Hold("h", another, COVERING[on])])


def test_a_collection_covers_what_is_below_it_only() -> None:
    """Neither what is above it, nor one whose name only begins alike."""
    for name, covers in {"coll:finance/payroll": True, "coll:fin": False, "coll:finance/payroll/2026": False}.items():
        assert bool(held(KEPT, [Hold("h", On.COLLECTION, name)])) is covers


def test_the_first_instant_is_in_and_the_last_is_not() -> None:
    """As in every range of times; an end that is left out is none."""
    tick = timedelta(microseconds=1)
    person = Hold("h", On.PERSON, "p1")
    assert person.covers(KEPT)
    assert replace(person, since=NOON, until=NOON + tick).covers(KEPT)
    assert not replace(person, since=NOON + tick).covers(KEPT)
    assert not replace(person, until=NOON).covers(KEPT)
    assert replace(person, since=NOON + tick).covers(replace(KEPT, times=(NOON, NOON + tick)))
    assert replace(person, since=NOON + tick).covers(replace(KEPT, times=()))


def test_every_hold_that_covers_it_is_named() -> None:
    """So that whoever is stopped can be told by what."""
    holds = [Hold("a", On.PERSON, "p1"), Hold("b", On.PERSON, "p2"), Hold("c", On.DOCUMENT, "d1")]
    assert [hold.id for hold in held(KEPT, holds)] == ["a", "c"]


def test_a_hold_that_can_cover_nothing_is_refused() -> None:
    """It would look in force: the field and the remedy are named."""
    with pytest.raises(UserError, match="target"):
        Hold("h", On.COLLECTION, "finance")
    with pytest.raises(UserError, match="from"):
        Hold("h", On.PERSON, "p1", NOON, NOON)
