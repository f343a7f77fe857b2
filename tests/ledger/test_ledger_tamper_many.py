"""Ten thousand changes of a log: each is found with a held checkpoint, and the first bad event is named."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from tests.ledger.tamper_acts import BESIDE, EVENTS
from tests.ledger.tamper_content import CONTENT, committing, content_of
from tests.ledger.tamper_kit import (
    HELD,
    SIZE,
    Act,
    Case,
    Original,
    Rows,
    expected,
    first_difference,
    loaded,
    made,
    rows_of,
    verified,
)
from tests.ledger.tamper_rewritten import REWRITTEN

from usher.ledger.checkpoint import Checkpoint, sign
from usher.ledger.verify import Means, Verdict

FEW, MANY = range(6), range(6, 210)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    found = made(tmp_path_factory.mktemp("original"))
    with loaded(found.data) as connection:
        verdict = verified(connection, Means(found.ring, held=found.held))
    assert (verdict.ok, verdict.size, len(found.rows)) == (True, SIZE, SIZE), verdict.problems
    assert [trust.events for trust in verdict.trusted] == [max(HELD), SIZE, SIZE]
    return found


def means(original: Original, seed: int) -> Means:
    """Of somebody with the held checkpoints and the public key, and every second time with the ring."""
    if seed % 2:
        return Means(original.ring, held=original.held)
    return Means(public_key=original.ring.public_key, held=original.held)


@dataclass(frozen=True)
class Outcome:
    """What is said after a change, the first event that should be called bad, and the events as they are now."""

    verdict: Verdict
    number: int | None
    now: Rows

    def holds_what_is_trusted(self, original: Original, by: tuple[str, ...]) -> bool:
        """Whether what these vouch for is there as it was."""
        most = max((trust.events for trust in self.verdict.trusted if trust.by in by), default=0)
        return all(letters(self.now[n][1]) == original.rows[n][1] for n in range(1, most + 1))


def letters(event: object) -> object:
    return event.encode() if isinstance(event, str) else event


def changed(original: Original, act: Act, seed: int) -> Outcome:
    with loaded(original.data) as connection:
        case = Case(original, connection, random.Random(f"{act.__name__} {seed}"))  # noqa: S311  # a fixed sample
        before = content_of(case)
        act(case)
        given, stored = means(original, seed), [size for (size,) in case.run("SELECT size FROM checkpoints")]
        verdict, now = verified(connection, given), rows_of(connection)
        number = expected(original.rows, now, [] if act in REWRITTEN else stored)
        if act in CONTENT:
            number = committing(original.rows, before, content_of(case))
        elif number is None and given.ring and case.run("SELECT mac FROM tree") != [(original.mac,)]:
            number = SIZE + 1  # then the ring does not say that this is the end
    return Outcome(verdict, number, now)


def found_at_its_event(original: Original, act: Act, seeds: range) -> None:
    for seed in seeds:
        found = changed(original, act, seed)
        assert (found.verdict.ok, found.verdict.first_bad) == (False, found.number), (seed, found.verdict.problems)
        assert found.holds_what_is_trusted(original, ("held", "stored", "ring")), seed


@pytest.mark.parametrize("act", EVENTS + BESIDE + CONTENT)
def test_a_change_without_the_key_is_found(original: Original, act: Act) -> None:
    """Of events, tree, checkpoints or content: the verdict names the first bad event, or none where no event is bad,
    and what it says can be relied on is as it was recorded."""
    found_at_its_event(original, act, FEW)


@pytest.mark.crash
@pytest.mark.parametrize("act", EVENTS + BESIDE + CONTENT)
def test_many_changes_without_the_key_are_found(original: Original, act: Act) -> None:
    """The same at length."""
    found_at_its_event(original, act, MANY)


def found_up_to_the_held_one(original: Original, act: Act, seeds: range) -> None:
    for seed in seeds:
        found = changed(original, act, seed)
        first = first_difference(original.rows, found.now)
        covered = first is not None and first <= max(HELD)
        assert found.verdict.ok is not covered, (seed, found.verdict.problems)
        assert found.verdict.first_bad == (found.number if covered else None), (seed, found.verdict.problems)
        assert found.holds_what_is_trusted(original, ("held",)), seed
        if any("held checkpoint: its root" in problem for problem in found.verdict.problems):
            believed = [trust.events for trust in found.verdict.trusted if trust.by == "held"]
            assert len(believed) == len(found.verdict.trusted), (
                seed
            )  # whoever signed the others signed what contradicts
            assert found.verdict.uncovered == found.verdict.size - sum(believed), seed


def test_a_tree_of_more_events_says_that_they_are_missing(original: Original) -> None:
    """The first that is not there is named, though all that checkpoints cover is."""
    with loaded(original.data) as connection:
        connection.execute("UPDATE tree SET size = ?", (SIZE + 7,))
        verdict = verified(connection, means(original, 0))
    assert (verdict.ok, verdict.first_bad) == (False, SIZE + 1), verdict.problems


def test_two_changes_are_told_by_the_first(original: Original) -> None:
    """One that shows by itself says nothing of another before it, which only a checkpoint shows."""
    with loaded(original.data) as connection:
        case = Case(original, connection, random.Random(1))  # noqa: S311  # a fixed sample
        case.put(8, original.rows[8][1].replace(b'"type"', b'"k":1,"type"'), mended=True)
        case.put(21, b"{}", mended=False)
        verdict = verified(connection, means(original, 0))
    assert (verdict.ok, verdict.first_bad) == (False, min(HELD) + 1), verdict.problems


def test_a_false_checkpoint_by_the_key_holder_makes_no_event_bad(original: Original) -> None:
    """Where a held one vouches for the events that it contradicts."""
    with loaded(original.data) as connection:
        case = Case(original, connection, random.Random(1))  # noqa: S311  # a fixed sample
        ((origin,),) = case.run("SELECT origin FROM log")
        note = sign(Checkpoint(origin, min(HELD), b"x" * 32), original.ring.signing_key)
        case.run("UPDATE checkpoints SET note = ? WHERE size = ?", note, min(HELD))
        verdict = verified(connection, means(original, 1))
    assert (verdict.ok, verdict.first_bad) == (False, None), verdict.problems


@pytest.mark.parametrize("act", REWRITTEN)
def test_what_the_key_holder_rewrites_is_found_up_to_the_held_checkpoint(original: Original, act: Act) -> None:
    """And no further: what comes after it, nobody else has seen."""
    found_up_to_the_held_one(original, act, FEW)


@pytest.mark.crash
@pytest.mark.parametrize("act", REWRITTEN)
def test_much_that_the_key_holder_rewrites_is_found_up_to_the_held_checkpoint(original: Original, act: Act) -> None:
    """The same at length."""
    found_up_to_the_held_one(original, act, MANY)
