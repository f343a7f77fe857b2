"""An exchange under two policies: what the second keeps from it, and what it opens."""

from __future__ import annotations

from datetime import UTC, datetime

from usher.core.redecided import Sight, Some, by_requirements, redecided
from usher_policy.catalog import Catalog
from usher_policy.compile import Snapshot, compile_snapshot
from usher_policy.conditions import Context
from usher_policy.rules import parse_rules
from usher_policy.vocabulary import Principal

CATALOG = Catalog(1, {1: frozenset({"coll:a"}), 2: frozenset({"coll:b"}), 3: frozenset({"coll:c"})})
ALICE = Principal("user:alice")
MONDAY, SUNDAY = datetime(2026, 3, 30, 10, tzinfo=UTC), datetime(2026, 3, 29, 10, tzinfo=UTC)
ASKS = "p, user:alice, sys:chat, chat.ask, allow, always\n"


def policy(*collections: str, also: str = ASKS) -> Snapshot:
    lines = "".join(f"p, user:alice, coll:{name}, document.read, allow, always\n" for name in collections)
    return compile_snapshot(1, parse_rules(lines + also), CATALOG)


def sight(of: Snapshot, at: datetime = MONDAY) -> Sight:
    return Sight.of(of, ALICE, Context(at))


def test_what_is_lost_was_there_before() -> None:
    """What neither policy shows is gone already; what only the second one does is opened."""
    found = redecided([(1,), (2,), (3,)], sight(policy("a", "b")), sight(policy("b")))
    assert (found.lost, found.gone, found.opened, found.refused) == ((0,), (2,), frozenset(), False)
    assert redecided([(1,)], sight(policy("a")), sight(policy("a", "c"))).opened == {3}


def test_a_document_that_changes_must_be_readable_both_ways() -> None:
    """By the class that it has and by the one that it gets; one that nobody knows is readable to nobody."""
    before, after = sight(policy("a", "b")), sight(policy("a"))
    found = redecided([(1, 2), (1,), ()], before, after)
    assert (found.lost, found.gone) == ((0,), (2,))


def test_whoever_may_not_ask_sees_nothing() -> None:
    """All is lost, whatever may be read; and nothing is opened to them."""
    found = redecided([(1,)], sight(policy("a")), sight(policy("a", "b", also="")))
    assert (found.refused, found.lost, found.opened) == (True, (0,), frozenset())
    assert not redecided([(1,)], sight(policy("a", also="")), sight(policy("a", also=""))).refused


def test_conditions_hold_as_they_did_then() -> None:
    """A right of weekdays is lost to what was asked on a Sunday only."""
    weekdays = ASKS + "p, user:alice, coll:a, document.read, allow, time:days=mon-fri;from=00:00;to=24:00;zone=UTC\n"
    for at, lost in ((MONDAY, ()), (SUNDAY, (0,))):
        assert redecided([(1,)], sight(policy("a"), at), sight(policy(also=weekdays), at)).lost == lost


def test_passages_are_counted_by_what_they_require() -> None:
    """The most first; a class that is not known requires nothing that can be told."""
    told = by_requirements(policy(), [2, 1, 2, 9])
    assert told == (Some(("coll:b",), 2), Some((), 1), Some(("coll:a",), 1))
