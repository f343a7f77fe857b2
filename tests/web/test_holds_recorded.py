"""Holds against whoever can write to the database in which they stand: they bind by the record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs
from tests.web.holds_kit import (
    HOLDS,
    PROPOSALS,
    Talk,
    approved,
    bob,
    gone,
    held,
    kept_of,
    let_go,
    released,
    start_over,
    verdict,
)
from tests.web.world import World, world

from usher.ledger.record import Entry, EventType

ALARM = "holds_contradict_the_record"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("recorded")) as made:
        yield made


@pytest.fixture
def usher(house: World) -> World:
    return start_over(house)


def by_hand(usher: World, statement: str, **values: Any) -> None:
    with usher.services.audit.holds._store._database.engine.begin() as connection:  # type: ignore[attr-defined]  # SQL's
        assert connection.execute(sa.text(statement), values).rowcount


def alarms(logged: list[Any]) -> list[Any]:
    return [one["ids"] for one in logged if one["event"] == ALARM]


TARGETS = ["person", "conversation", "exchange", "document", "collection"]


@pytest.mark.parametrize("on", TARGETS)
def test_a_hold_that_somebody_takes_out_of_the_database_binds(usher: World, on: str) -> None:
    """With its proposal too. It is alarmed once, and two people can still release it."""
    said = Talk(usher)
    target = dict(zip(TARGETS, [bob(usher), said.talk, said.first, said.document, "handbook"], strict=True))[on]
    hold = held(usher, on=on, target=target)
    by_hand(usher, "DELETE FROM hold")
    by_hand(usher, "DELETE FROM proposal")
    with capture_logs() as logged:
        let_go(usher)
        let_go(usher)
    assert alarms(logged) == [[hold]]
    assert (gone(usher, said.first), gone(usher, said.other)) == (False, on not in ("document", "collection"))
    released(usher, hold)
    let_go(usher)
    assert kept_of(usher, said) == [False] * 4
    assert verdict(usher).problems == ()
    again = usher.ask("POST", f"{HOLDS}/{hold}/release", "erin", json={"reason": "Once more."})
    assert again.status_code == 404


CHANGES = ["released = true", "target = 'x'", "until = placed_at", "\"on\" = 'document'"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_hold_that_somebody_changes_there_binds_as_it_was_placed(usher: World, change: str) -> None:
    """Released by hand, of something else, or of another time."""
    said = Talk(usher)
    hold = held(usher, on="exchange", target=said.first)
    by_hand(usher, f"UPDATE hold SET {change}")  # noqa: S608  # the test's own
    with capture_logs() as logged:
        let_go(usher)
    assert (alarms(logged), gone(usher, said.first), gone(usher, said.second)) == ([[hold]], False, True)


def test_what_is_no_hold_stops_nothing(usher: World) -> None:
    """Events that somebody had recorded by way of the outbox: they are alarmed, and the others bind."""
    said = Talk(usher)
    held(usher, on="exchange", target=said.first)
    bad: list[dict[str, Any]] = [
        {},
        {"op": "place", "hold": ["x"], "on": "exchange"},
        {"op": "place", "hold": "x", "on": "collection", "access_classes": [[]], "since": None, "until": None},
        {"op": "place", "hold": "x", "on": "person", "target": "x", "since": 5, "until": None},
        {"op": "release", "hold": ["x"]},
    ]
    usher.run(usher.services.ledger.append([Entry(EventType.HOLD, body=body) for body in bad]))
    with capture_logs() as logged:
        let_go(usher)
    assert sum(one["event"] == "hold_event_is_not_understood" for one in logged) == 4
    assert (gone(usher, said.first), gone(usher, said.second)) == (False, True)


def test_a_hold_that_nobody_placed_can_be_released(usher: World) -> None:
    """One that somebody had recorded by way of the outbox binds, as all that is recorded does, until two say no."""
    said = Talk(usher)
    hold = "11111111-1111-7111-8111-111111111111"
    body = {"op": "place", "hold": hold, "on": "exchange", "target": said.first, "since": None, "until": None}
    usher.run(usher.services.ledger.append([Entry(EventType.HOLD, body=body)]))
    let_go(usher)
    assert not gone(usher, said.first)
    item = usher.ask("POST", f"{HOLDS}/{hold}/release", "erin", json={"reason": "Nobody placed it."}).json()
    path = f"{PROPOSALS}/{item['id']}/approve"
    assert usher.ask("POST", path, "erin", json={"digest": item["digest"]}).status_code == 403
    approved(usher, item, "dave")
    let_go(usher)
    assert gone(usher, said.first)
