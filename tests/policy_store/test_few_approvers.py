"""A deactivation binds all the same, with an alarm where too few are left who could approve a change of policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.policy_store.changing_kit import OPERATOR, Office, told

from usher.ledger.log import LedgerUnavailable
from usher.people import People
from usher.policy.editors import Editors
from usher.policy.few_approvers import FewApprovers


def people_of(office: Office) -> People:
    alarm = FewApprovers(
        office.authority, Editors(office.authority, office.sql.directory, office.ledger), office.ledger
    )
    ports = (office.sql.directory, office.sql.keys, lambda: ("", "", b""), office.courier, office.clock)
    return People(*ports, deactivated=alarm.look)


def test_each_approver_too_few_is_an_alarm_and_an_event(tmp_path: Path) -> None:
    """Not while two are left, nor for somebody who could approve nothing; once for each, without a name."""

    async def story(office: Office) -> None:
        people, alarms = people_of(office), []
        for user in ("hope", "cyd", "dan", "bob", "bob", "ann"):
            with capture_logs() as logs:
                assert not (await people.deactivate(user, OPERATOR)).active
            alarms.append([(log["event"], log["left"]) for log in logs if log["log_level"] == "critical"])
        assert alarms == [[], [], [], [("few_approvers", 1)], [], [("few_approvers", 0)]]
        said = [event for event in office.events("policy") if event.get("act") == "few_approvers"]
        assert [(event["left"], event["policy_version"]) for event in said] == [(1, 1), (0, 1)]
        assert not any(name in str(said) for name in ("ann", "bob"))

    told(tmp_path / "office", story)


def test_what_cannot_be_recorded_now_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deactivation stands."""

    async def full(*_: object) -> None:
        raise LedgerUnavailable("no room")

    async def story(office: Office) -> None:
        people = people_of(office)
        await people.deactivate("cyd", OPERATOR)
        alarm = FewApprovers(office.authority, Editors(office.authority, office.sql.directory, office.ledger), Full())
        await people.deactivate("bob", OPERATOR)
        with capture_logs() as logs:
            await alarm.look("ann")
        assert [log["event"] for log in logs] == ["few_approvers", "few_approvers_unrecorded"]

    class Full:
        append = staticmethod(full)

    told(tmp_path / "office", story)
