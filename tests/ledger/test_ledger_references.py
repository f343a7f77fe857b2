"""What an event says of other exchanges, held against them: what stood in a prompt, was asked again or read again, what
feedback is about, and whose content was let go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.ledger.ledger_kit import change, event, exchange, ledger_in, opening, ring_in, rows, run, search

from usher.ledger.record import CHAT, Entry, EventType, uuid7
from usher.ledger.sequencer import Ledger
from usher.ledger.verify import Verdict, verify

NOBODYS = uuid7()
REFERENCES: dict[str, Any] = {
    "history": [None, NOBODYS],
    "leaned_on": [NOBODYS],
    "asks_again": NOBODYS,
    "exchange": NOBODYS,
    "exchanges": [NOBODYS],
}


async def follow_up(ledger: Ledger, **said: Any) -> None:
    """An exchange whose request, generation or view says this of others, in its last event."""
    subject, ident = await ledger.subject("alice"), uuid7()
    request, decision = opening(ident)
    asks = {name: value for name, value in said.items() if name == "asks_again"}
    holds = {name: value for name, value in said.items() if name in ("history", "leaned_on")}
    views = {name: value for name, value in said.items() if name in ("exchange", "exchanges")}
    request = Entry(EventType.REQUEST, ident, None, {"operation": CHAT, **asks})
    await ledger.append([request, decision], rows(subject, ident))
    await ledger.append([event(EventType.RETRIEVAL, ident, passages=[])])
    await ledger.append([event(EventType.GENERATION, ident, model="extractive", **holds)])
    await ledger.append([event(EventType.ANSWER, ident, outcome="answered")])
    await ledger.append([Entry(EventType.VIEW, body=views)])


def verdict(folder: Path) -> Verdict:
    return verify(folder / "ledger.sqlite", ring=ring_in(folder))


@pytest.mark.parametrize(("name", "number"), [*zip(REFERENCES, [9, 9, 6, 11, 11], strict=True)])
def test_an_exchange_that_is_not_recorded_is_named_at_the_event_that_refers_to_it(
    tmp_path: Path, name: str, number: int
) -> None:
    """Whichever way it does."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            await exchange(ledger)
            await follow_up(ledger, **{name: REFERENCES[name]})

    run(story())
    found = verdict(tmp_path)
    assert (found.ok, found.first_bad) == (False, number), found.problems
    assert found.problems == (f"event {number}: it refers to exchange {NOBODYS}, which is not recorded",)


def test_what_was_let_go_of_nothing_is_found(tmp_path: Path) -> None:
    """Of an exchange that is not there, or holds nothing."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            empty = await search(ledger)
            await ledger.append([Entry(EventType.RETENTION, body={"exchanges": [empty]})])
            await ledger.append([Entry(EventType.RETENTION, body={"exchanges": [NOBODYS]})])

    run(story())
    assert [problem[:9] for problem in verdict(tmp_path).problems] == ["event 4: ", "event 5: "]


def test_what_is_recorded_may_be_referred_to_for_ever(tmp_path: Path) -> None:
    """While it is open, and after its content has gone; an exchange that is open is counted."""

    async def story() -> None:
        async with ledger_in(tmp_path) as ledger:
            gone, unended = await exchange(ledger), uuid7()
            await ledger.append(opening(unended), rows(await ledger.subject("alice"), unended))
            drops = [(gone, row.position) for row in await ledger.content(gone)]
            await ledger.append([Entry(EventType.RETENTION, body={"exchanges": [gone]})], dropped=drops)
            await follow_up(ledger, history=[gone, None, unended], asks_again=gone, exchange=gone, exchanges=[unended])
            await ledger.append([Entry(EventType.FEEDBACK, body={"exchange": gone})])

    run(story())
    found = verdict(tmp_path)
    assert (found.ok, found.open) == (True, 1), found.problems


def test_an_answer_that_a_start_ended_again_is_named(tmp_path: Path) -> None:
    """Somebody with the folder had put its exchange back among those that are open."""

    async def story(act: str) -> str:
        async with ledger_in(tmp_path) as ledger:
            return await exchange(ledger) if act == "ask" else ""

    ident = run(story("ask"))
    change(tmp_path / "ledger.sqlite", f"INSERT INTO open_exchanges VALUES ('{ident}', 1)")  # noqa: S608  # the test's own
    run(story("start"))
    found = verdict(tmp_path)
    assert (found.ok, found.first_bad, found.size) == (False, 6, 7), found.problems
    assert found.problems == ("event 6: it is the answer of an exchange that has no request or has ended",)
