"""What `docs/audit.md` says that a verification does not find: it does not, and with what the page names it does."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ledger import tamper_rewritten as by_ring
from tests.ledger.tamper_kit import HELD, SIZE, Act, Case, Original, fit_tree, loaded, made, parsed, verified, written

from usher.ledger.record import leaf_hash
from usher.ledger.verify import Means

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def older_copy(case: Case) -> None:
    case.connection.deserialize(case.original.older[min(HELD)])


def newest_checkpoints_gone(case: Case) -> None:
    case.run("DELETE FROM checkpoints WHERE size > ?", case.chance.choice([0, *HELD]))


def unheld_checkpoint_gone(case: Case) -> None:
    case.run("DELETE FROM checkpoints WHERE size = 0")


def uncovered(case: Case) -> None:
    """As a kill leaves it: the last events are in no checkpoint."""
    case.run("DELETE FROM checkpoints WHERE size > ?", max(HELD))


def tail_cut_off(case: Case) -> None:
    uncovered(case)
    written(case, parsed(case)[: max(HELD)], signed=False)


def tail_added_to(case: Case) -> None:
    uncovered(case)
    raw = b'{"number":%d,"time":"2126-01-01T00:00:00.000000Z","type":"operator","audit_id":null}' % (SIZE + 1)
    case.run("INSERT INTO events VALUES (?, ?, ?)", SIZE + 1, leaf_hash(raw), raw)
    fit_tree(case.connection)


def mac(case: Case) -> None:
    case.run("UPDATE tree SET mac = ?", case.chance.randbytes(32))


def somebody(case: Case) -> None:
    column = case.chance.choice(["wrapped_key", "sealed_name"])
    case.run(f"UPDATE subjects SET {column} = zeroblob(60) WHERE rowid = 1")  # noqa: S608  # a test's own


HELD_FINDS: dict[str, Act] = {
    "An older copy is put back": older_copy,
    "A server goes on from an older copy": by_ring.an_older_copy_gone_on_with,
    "Whoever has the ring changes what an event says": by_ring.rewritten_meaning,
    "Whoever has the ring gives an exchange to somebody else": by_ring.rewritten_person,
    "Whoever has the ring dates events otherwise": by_ring.rewritten_times,
    "Whoever has the ring leaves an exchange out": by_ring.rewritten_without_an_exchange,
    "Whoever has the ring cuts the last events off": by_ring.rewritten_shorter,
    "Whoever has the ring puts exchanges in another order": by_ring.rewritten_in_another_order,
    "Whoever has the ring adds a search that nobody made": by_ring.rewritten_with_more,
}
RING_FINDS: dict[str, Act] = {
    "Events after the newest checkpoint are cut off": tail_cut_off,
    "Others are put after the newest checkpoint": tail_added_to,
    "The MAC of the last commit is changed": mac,
    "Somebody's wrapped key or sealed name is changed": somebody,
}
NOTHING_FINDS: dict[str, Act] = {
    "The newest checkpoints are removed": newest_checkpoints_gone,
    "A checkpoint that nobody holds is removed": unheld_checkpoint_gone,
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """With a checkpoint over all its events among those that are held."""
    found = made(tmp_path_factory.mktemp("original"))
    with loaded(found.data) as connection:
        ((newest,),) = connection.execute("SELECT note FROM checkpoints ORDER BY id DESC LIMIT 1")
    return replace(found, held=found.held + newest)


def test_the_page_lists_what_is_tested_here() -> None:
    """Each line of the table, with what finds it."""
    section = PAGE.read_text("utf-8").partition("## What `verify` does not find")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in section.splitlines() if line.startswith("| ")]
    found = {what: by for what, by in rows if what not in ("Change", "---")}
    named = {"a held checkpoint": HELD_FINDS, "the ring": RING_FINDS}
    assert {what for what, by in found.items() if by.startswith("nothing")} == set(NOTHING_FINDS)
    for by, acts in named.items():
        assert {what for what in found if found[what] == by} == set(acts)
    assert set(found) == {*HELD_FINDS, *RING_FINDS, *NOTHING_FINDS}


def whole(original: Original, act: Act, seed: int, *, ring: bool, held: str | None) -> bool:
    with loaded(original.data) as connection:
        act(Case(original, connection, random.Random(seed)))  # noqa: S311  # a fixed sample
        given = Means(original.ring if ring else None, original.ring.public_key, held)
        return verified(connection, given).ok


@pytest.mark.parametrize("what", HELD_FINDS)
def test_found_with_a_held_checkpoint_only(original: Original, what: str) -> None:
    """Not by signatures, not by the ring."""
    for seed in range(5):
        assert whole(original, HELD_FINDS[what], seed, ring=False, held=None)
        assert whole(original, HELD_FINDS[what], seed, ring=True, held=None)
        if HELD_FINDS[what] is by_ring.rewritten_with_more and seed in appended(original):
            continue  # what is added after all that is held is not found by it, as the page says
        assert not whole(original, HELD_FINDS[what], seed, ring=False, held=original.held)


def appended(original: Original) -> set[int]:
    """The draws in which the search is added after the last event."""
    found = set()
    for seed in range(5):
        with loaded(original.data) as connection:
            case = Case(original, connection, random.Random(seed))  # noqa: S311  # a fixed sample
            by_ring.rewritten_with_more(case)
            rows = case.run("SELECT event FROM events WHERE number <= ?", SIZE)
            if [event for (event,) in rows] == [event for _, (_, event) in sorted(original.rows.items())]:
                found.add(seed)
    return found


@pytest.mark.parametrize("what", RING_FINDS)
def test_found_with_the_ring_only(original: Original, what: str) -> None:
    """Not with the held checkpoints, which cover what came before."""
    held = original.held[: original.held.rindex("usher/", 0, original.held.rindex("\u2014"))]
    for seed in range(5):
        assert whole(original, RING_FINDS[what], seed, ring=False, held=held)
        assert not whole(original, RING_FINDS[what], seed, ring=True, held=None)


@pytest.mark.parametrize("what", NOTHING_FINDS)
def test_found_by_nothing(original: Original, what: str) -> None:
    """It takes nothing from the events."""
    for seed in range(5):
        for ring in (False, True):
            for held in (None, original.held):
                assert whole(original, NOTHING_FINDS[what], seed, ring=ring, held=held)
