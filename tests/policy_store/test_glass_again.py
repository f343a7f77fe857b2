"""Break-glass more than once: not in a chain, and not by a clock that goes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.policy_store.changing_kit import NARROWER, NEWS, OPERATOR, POLICY, WIDER, Office, broken, told

from usher.audit.proposals import NotNow
from usher.authority import Authority
from usher.core.standing import Actor
from usher.policy_admin import PolicySource


@pytest.fixture(autouse=True)
def _alarms() -> Iterator[None]:
    with capture_logs():
        yield


def test_nobody_does_it_again_before_the_last_one_is_reviewed(tmp_path: Path) -> None:
    """Neither while it lasts nor later: no chain of them takes the place of somebody else. Another person may, and so
    may whoever was reviewed."""

    async def story(office: Office) -> None:
        first = await broken(office)
        second = await office.edit("bob", [NARROWER])
        glass, ann = office.on.glass, await office.by("ann")
        for minutes in (0, 31):
            office.clock.on(minutes=minutes)
            await glass.expire()
            with pytest.raises(NotNow, match="not reviewed"):
                await glass.break_glass(second.id, second.digest, ann, "Once more.", 5)
        fresh = await office.edit("bob", [NARROWER])
        await glass.break_glass(fresh.id, fresh.digest, await office.by("cyd"), "My first.", 5)
        office.clock.on(minutes=6)
        await glass.expire()
        await glass.review(first.id, await office.by("bob"))
        again = await office.edit("bob", [NARROWER])
        await glass.break_glass(again.id, again.digest, ann, "Another affair.", 5)
        assert [event["act"] for event in office.events("approval")].count("alone") == 3

    told(tmp_path / "office", story)


def test_all_operators_are_one_to_it(tmp_path: Path) -> None:
    """Another user of the machine is nobody else."""

    async def story(office: Office) -> None:
        apply = office.on.activation.operator_apply
        await apply(PolicySource(POLICY + WIDER), OPERATOR, "Nobody answers.", 5)
        office.clock.on(minutes=6)
        await office.on.glass.expire()
        for operator in (OPERATOR, Actor("operator", "uid:1000")):
            with pytest.raises(NotNow, match="not reviewed"):
                await apply(PolicySource(POLICY + NARROWER), operator, "Still nobody.", 5)
        await broken(office)

    told(tmp_path / "office", story)


def test_a_clock_that_goes_back_does_not_open_it_again(tmp_path: Path) -> None:
    """Once its end was seen: for whoever asks anew, and for a grant that was not asked meanwhile; nor once the version
    that goes back is on its way."""

    async def story(office: Office) -> None:
        await broken(office)
        sleeping = (await office.by("dan")).grant
        assert sleeping is not None
        office.clock.on(minutes=31)
        assert not await office.may("dan", *NEWS)
        office.clock.on(minutes=-20)
        assert not await office.may("dan", *NEWS)
        assert not (await office.authority.again(sleeping)).may(*NEWS).allowed
        assert not (await office.authority.holds("dan", *NEWS)).allowed
        other = Authority(office.sql.identity, office.sql.policies, office.clock)
        assert (await other.again(sleeping)).may(*NEWS).allowed  # nothing says here that it was over
        office.clock.on(minutes=20)
        await office.on.glass.expire()
        office.clock.on(minutes=-20)
        assert not (await other.again(sleeping)).may(*NEWS).allowed

    told(tmp_path / "office", story)
