"""Cases while rights go, the ledger fails, and somebody is erased."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.web.case_kit import NOTE, PATH, RULES, add, change, exchange, opened, shown
from tests.web.chat_kit import FailingLog
from tests.web.world import World, world


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
