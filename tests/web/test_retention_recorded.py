"""Rules of retention against whoever can write to the database in which they stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs
from tests.web.holds_kit import Talk, gone, let_go, set_rules, start_over
from tests.web.world import World, world

from usher.audit.recorded_rules import RulesContradict
from usher.ledger.record import Entry, EventType

SHORT, LONG = "rules: [{name: all, days: 1}]", "rules: [{name: all, days: 90}]"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("rules")) as made:
        yield made


@pytest.fixture
def usher(house: World) -> World:
    """After forty days, rules by which nothing goes before ninety; what is remembered of them is forgotten."""
    start_over(house)
    house.run(set_rules(house, LONG))
    return house


def written(usher: World, documents: dict[str, str]) -> None:
    """The documents of the version in force, as somebody writes them into the database; and a start after that."""
    database = usher.services.audit.holds._store._database  # type: ignore[attr-defined]  # SQL's
    newest = "(SELECT max(version) FROM policy_version)"
    with database.engine.begin() as connection:
        statement = f"UPDATE policy_version SET documents = :documents WHERE version = {newest}"  # noqa: S608  # constants
        connection.execute(sa.text(statement), {"documents": json.dumps(documents)})
    usher.services.authority._in_force_now.clear()
    usher.services.audit.retention._recorded._checked.clear()


@pytest.mark.parametrize("documents", [{"retention.yaml": SHORT}, {}])
def test_rules_that_somebody_wrote_into_the_database_let_nothing_go(usher: World, documents: dict[str, str]) -> None:
    """Shorter ones, or none: it is alarmed, and said; with the right ones it goes on."""
    said = Talk(usher)
    written(usher, documents)
    if documents:
        with capture_logs() as logged, pytest.raises(RulesContradict, match="not in the database as it was recorded"):
            let_go(usher)
        assert "retention_rules_contradict_the_record" in [one["event"] for one in logged]
    else:
        let_go(usher)
    assert not any(gone(usher, one) for one in said.all)
    written(usher, {"retention.yaml": LONG})
    let_go(usher)
    assert not any(gone(usher, one) for one in said.all)
    usher.run(set_rules(usher, SHORT))
    let_go(usher)
    assert all(gone(usher, one) for one in said.all)


def test_an_event_that_somebody_had_recorded_allows_nothing_after_the_true_one(usher: World) -> None:
    """By way of the outbox: of one version the first event counts; and what is none is passed over."""
    said, version = Talk(usher), usher.run(usher.services.policy.active())["version"]
    forged = {"version": version, "documents": {"retention.yaml": "1" * 64}}
    bodies = [{}, {"version": [], "documents": {}}, {"version": version, "documents": 1}, forged]
    usher.run(usher.services.ledger.append([Entry(EventType.POLICY, body=body) for body in bodies]))
    usher.services.audit.retention._recorded._checked.clear()
    usher.services.audit.retention._clock = lambda: datetime.now(UTC) + timedelta(days=91)
    let_go(usher)
    assert all(gone(usher, one) for one in said.all)
