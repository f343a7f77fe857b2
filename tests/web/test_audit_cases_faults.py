"""Cases while rights go, the ledger fails, and somebody is erased."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from tests.web.case_kit import HOLIDAY, NOTE, PATH, RULES, TITLE, add, change, exchange, opened, shown
from tests.web.chat_kit import FailingLog
from tests.web.world import World, world

from usher.audit import cases
from usher.ledger.record import Entry, EventType


@pytest.fixture(scope="module")
def usher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("cases"), log=FailingLog) as made:
        made.run(made.apply(RULES))
        made.run(made.add("fred"))
        yield made


def test_whoever_loses_the_right_meanwhile_sees_and_changes_nothing(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rights are judged again before a case is given."""
    case = opened(usher)
    add(usher, case, [exchange(usher)])
    asking = usher.services.audit.questions.follower
    real = asking.caught_up

    async def meanwhile() -> bool:
        await usher.apply(RULES.replace("g, user:erin, role:reviewer\n", ""))
        return await real()

    monkeypatch.setattr(asking, "caught_up", meanwhile)
    assert usher.ask("GET", f"{PATH}/{case}", "erin").status_code == 403
    monkeypatch.undo()
    assert usher.ask("POST", f"{PATH}/{case}/notes", "erin", json={"version": 2, "text": NOTE}).status_code == 403
    usher.run(usher.apply(RULES))


def test_a_step_that_could_not_be_recorded_is_seen_once_it_is(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its place meanwhile: another upon the same version is refused, naming it."""
    case = opened(usher)
    other = opened(usher)
    log = usher.services.ledger._log
    assert isinstance(log, FailingLog)
    monkeypatch.setattr(log, "full", True)
    assert usher.ask("POST", f"{PATH}/{case}/notes", "erin", json={"version": 1, "text": NOTE}).status_code == 503
    monkeypatch.undo()
    late = usher.ask("POST", f"{PATH}/{case}/notes", "carol", json={"version": 1, "text": "Mine"})
    assert (late.status_code, "the case is at 2: note by" in late.json()["problem"]) == (409, True)
    assert change(usher, other, "notes", text="Another").status_code == 200  # what was held up goes first
    assert [(step["op"], step["text"]) for step in shown(usher, case)["steps"]][1:] == [("note", NOTE)]
    recorded = [event["version"] for event in usher.events() if event["type"] == "case" and event["case"] == case]
    assert recorded == [1, 2]


def test_a_page_ends_at_a_case_that_its_reader_may_know_of(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at one out of reach, whose id would tell when it was opened, and that there is one."""
    near, far = exchange(usher), exchange(usher, "bob", HOLIDAY)
    made = [opened(usher) for _ in range(4)]
    for case, found in zip(made, (near, far, near, far), strict=True):
        add(usher, case, [found])

    def page(**query: object) -> tuple[list[str], str | None]:
        told = usher.ask("GET", PATH, "fred", params={"limit": 1, **query}).json()
        return [one["id"] for one in told["cases"]], told["next"]

    assert page() == ([made[2]], made[2])
    assert page(after=made[2])[0] == [made[0]]
    monkeypatch.setattr(cases, "SCAN", 1)
    assert page(after=made[2]) == ([made[0]], made[0])  # two are read at once


def test_a_case_takes_so_many_steps_and_then_decisions(usher: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lists cases reads them all."""
    monkeypatch.setattr(cases, "MAX_STEPS", 3)
    case = opened(usher)
    add(usher, case, [exchange(usher)])
    assert change(usher, case, "notes", text="x").status_code == 200
    full = change(usher, case, "notes", text="x")
    assert (full.status_code, full.json()["field"]) == (409, "case")
    assert add(usher, case, [exchange(usher)]).status_code == 409
    assert change(usher, case, "decision", decision="needs_more").status_code == 200
    monkeypatch.setattr(cases, "MAX_DECIDED", 4)
    assert change(usher, case, "decision", decision="fine").status_code == 409


def test_what_went_with_somebody_is_not_written_again(usher: World) -> None:
    """The case stays, with its steps; it can still be decided."""
    case = opened(usher)
    add(usher, case, [exchange(usher)])
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite")) as database, database:
        database.execute("UPDATE audit_case SET wrapped_key = NULL WHERE id = ?", (case.replace("-", ""),))
    told = shown(usher, case)
    assert (told["erased"], told["title"], len(told["steps"])) == (True, None, 2)
    refused = change(usher, case, "notes", text=NOTE)
    assert (refused.status_code, "was erased" in refused.json()["problem"]) == (409, True)
    assert change(usher, case, "decision", decision="fine", text="Why").status_code == 409
    assert change(usher, case, "decision", decision="fine").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE case_step SET exchanges = 'no list' WHERE {}",
        "UPDATE case_step SET op = 'close' WHERE {}",
        "UPDATE case_step SET version = 7 WHERE {}",
        "UPDATE case_step SET sealed = zeroblob(90) WHERE {}",
    ],
)
def test_a_case_that_somebody_changed_is_named_and_the_others_are_given(usher: World, change: str) -> None:
    """To whoever may know of all cases; to others it is not there."""
    good, bad = opened(usher), opened(usher, "fred")
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite", isolation_level=None)) as connection:
        connection.execute(change.format('"case" = ?'), (UUID(bad).hex,))
    told = usher.ask("GET", PATH, "erin").json()
    assert good in [one["id"] for one in told["cases"]]
    assert bad in told["damaged"]
    assert usher.ask("GET", f"{PATH}/{bad}", "erin").status_code == 409
    assert usher.ask("GET", f"{PATH}/{bad}", "fred").status_code == 404
    assert usher.ask("GET", PATH, "fred").json()["damaged"] == []


BY_HAND = {
    "another decision": "UPDATE case_step SET review = 'fine' WHERE review = 'violation' AND {}",
    "another decider": "UPDATE case_step SET \"by\" = 'x' WHERE review = 'violation' AND {}",
    "without its decision": "DELETE FROM case_step WHERE review = 'violation' AND {}",
    "a decision that nobody made": "UPDATE case_step SET op = 'decide', review = 'fine', sealed = NULL"
    " WHERE op = 'note' AND {}",
    "other exchanges": "UPDATE case_step SET exchanges = '[]' WHERE op = 'add' AND {}",
    "without a note's text": "UPDATE case_step SET sealed = NULL WHERE op = 'note' AND {}",
    "gone": "DELETE FROM case_step WHERE {}",
}


@pytest.mark.parametrize("act", BY_HAND)
def test_a_case_that_is_not_what_the_record_says_is_named(usher: World, act: str) -> None:
    """However well it would make a case: its steps are held against their events."""
    bad, good = opened(usher), opened(usher)
    assert add(usher, bad, [exchange(usher)]).status_code == 200
    assert change(usher, bad, "notes", text=NOTE).status_code == 200
    assert change(usher, bad, "decision", decision="violation").status_code == 200
    assert shown(usher, bad)["review"] == "violation"
    with closing(sqlite3.connect(usher.folder / "home" / "usher.sqlite", isolation_level=None)) as connection:
        done = connection.execute(BY_HAND[act].format('"case" = ?'), (UUID(bad).hex,))
        assert done.rowcount
    assert usher.ask("GET", f"{PATH}/{bad}", "erin").status_code == 409
    assert change(usher, bad, "decision", decision="fine", version=4).status_code == 409
    told = usher.ask("GET", PATH, "erin").json()
    in_list = act == "without a note's text"  # a list reads titles only
    assert (bad in told["damaged"], bad in [one["id"] for one in told["cases"]]) == (not in_list, in_list)
    assert (good in told["damaged"], good in [one["id"] for one in told["cases"]]) == (False, True)
    assert usher.ask("GET", f"{PATH}/{bad}", "fred").status_code == 404


def test_an_event_that_is_of_no_case_stops_nothing(usher: World) -> None:
    """One that somebody had recorded by way of the outbox."""
    good = opened(usher)
    said = {"case": good, "version": 1, "op": "open", "by": "x", "exchanges": [], "review": None, "commitment": None}
    bad: list[dict[str, Any]] = [{}, said | {"case": 5}, said | {"version": [1]}, said | {"exchanges": 1}, said]
    usher.run(usher.services.ledger.append([Entry(EventType.CASE, body=body) for body in bad]))
    assert shown(usher, good)["version"] == 1


def test_a_step_that_was_recorded_and_cut_off_is_no_contradiction(
    usher: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on its way is finished before a case is called another than the record's."""
    case, outbox = opened(usher), usher.services.audit.cases._courier._outbox

    async def killed(_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "finish", killed)
        assert change(usher, case, "notes", text=NOTE, version=1).status_code == 500
    assert [step["text"] for step in shown(usher, case)["steps"]] == [TITLE, NOTE]
