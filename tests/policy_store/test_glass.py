"""Break-glass: one person, a time, a reason; it ends by itself on every server, and somebody else reviews it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.backends.sql.sql_kit import run
from tests.policy_store.changing_kit import (
    HR,
    NARROWER,
    NEWS,
    OPERATOR,
    POLICY,
    WIDER,
    Clock,
    Office,
    broken,
    opened,
    told,
)

from usher.audit.proposals import NotNow
from usher.audit.report import _acts
from usher.authority import Authority
from usher.errors import UserError
from usher.policy.plan import Outdated, Refused
from usher.policy_admin import PolicySource
from usher.viewing import NotPermitted
from usher_policy.vocabulary import Action


@pytest.fixture(autouse=True)
def alarms() -> Iterator[list[dict[str, object]]]:
    with capture_logs() as logs:
        yield logs  # type: ignore[misc]  # what is logged is a mapping


def test_it_is_in_force_for_its_time_and_no_longer(tmp_path: Path, alarms: list[dict[str, object]]) -> None:
    """Also where nothing runs: another server, and a grant that is asked again, go back at the very instant."""

    async def story(office: Office) -> None:
        glass = await broken(office)
        assert (glass.version, await office.in_force(), glass.state(office.clock())) == (2, 2, "unreviewed")
        assert next(one for one in alarms if one["log_level"] == "critical")["event"] == "break_glass"
        grant = (await office.by("dan")).grant
        assert grant is not None
        assert grant.may(*NEWS).allowed
        assert grant.valid_until == office.clock.now + timedelta(minutes=30)
        other = Authority(office.sql.identity, office.sql.policies, office.clock)
        office.clock.on(minutes=30, microseconds=-1)
        assert await office.may("dan", *NEWS)
        office.clock.on(microseconds=1)
        for authority in (office.authority, other):
            now = await authority.again(grant)
            assert not now.may(*NEWS).allowed
            assert (now.scope.policy_version, now.valid_until) == (1, None)
            assert (await authority.current())[1].version == 1
        event = office.events("policy")[-1]
        assert (event["fallback"], event["version"], event["changeset"]) == (1, 2, str(glass.id))
        assert [one["act"] for one in office.events() if one.get("break_glass")] == ["alone"]
        assert "okapi" not in str(office.query("SELECT event FROM events", "ledger.sqlite"))

    told(tmp_path / "office", story)


def test_the_version_that_goes_back_is_written_once(tmp_path: Path) -> None:
    """By whoever looks first, not before its time; and it is the earlier policy, byte for byte."""

    async def story(office: Office) -> None:
        await broken(office)
        assert await office.on.glass.expire() is None
        office.clock.on(minutes=31)
        numbers = await asyncio.gather(*(office.on.glass.expire() for _ in range(4)))
        assert [number for number in numbers if number] == [3]
        assert await office.on.glass.expire() is None
        ann = await office.by("ann")
        assert (await office.on.history.version(3, ann)).rules == POLICY
        assert [event["version"] for event in office.events("policy")] == [1, 2, 3]
        assert await office.in_force() == 3
        assert office.query("SELECT fallback_policy, glass_until FROM state") == [(None, None)]

    told(tmp_path / "office", story)


def test_a_start_finishes_what_is_over(tmp_path: Path) -> None:
    """The glass was broken, and nothing ran when its time came."""
    clock, keys = Clock(), dict[str, str]()

    async def before() -> None:
        async with opened(tmp_path / "office", clock, keys) as office:
            await broken(office)

    async def after() -> None:
        async with opened(tmp_path / "office", clock, keys) as office:
            assert not await office.may("dan", *NEWS)
            await office.on.activation.recover()
            assert await office.in_force() == 3
            assert not await office.may("dan", *NEWS)

    run(before())
    clock.on(days=3)
    run(after())


def test_what_was_proposed_stays_open_and_ends_the_box_once_approved(tmp_path: Path) -> None:
    """Ordinary changes are made against the version before, which the break-glass does not move."""

    async def story(office: Office) -> None:
        await broken(office)
        first = (await office.on.changesets.page(await office.by("ann")))[-1]
        narrower = await office.edit("cyd", [NARROWER])
        assert (first.base, narrower.base) == (1, 1)
        assert (await office.plan(narrower)).diff.added == (NARROWER,)
        await office.approve("ann", first)
        assert (await office.activate("bob", first)).version == 3
        office.clock.on(hours=2)
        assert await office.may("dan", *NEWS)
        assert await office.on.glass.expire() is None
        assert await office.in_force() == 3
        with pytest.raises(Outdated):
            await office.activate("cyd", narrower)

    told(tmp_path / "office", story)


def test_what_is_final_is_decided_by_the_version_before_too(tmp_path: Path) -> None:
    """Nobody lets records go early by breaking the glass: both versions' rules of retention must let them."""
    retention = "rules:\n- {name: short, type: chat, days: 1}\n"

    async def story(office: Office) -> None:
        source = PolicySource(POLICY, {"retention.yaml": retention})
        await office.on.activation.operator_apply(source, OPERATOR, "Now.", 5)
        _, documents = await office.authority.documents()
        assert len(documents.retention.sets) == 2
        office.clock.on(minutes=5)
        _, documents = await office.authority.documents()
        assert documents.retention.sets == ((),)

    told(tmp_path / "office", story)


def test_nobody_is_made_an_approver_by_it(tmp_path: Path) -> None:
    """Who changes the policy while it lasts must have the right by both versions: a right that the break-glass gives is
    none, one that it takes is gone."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", ["g, user:dan, role:keeper"], ["g, user:cyd, role:keeper"])
        office.clock.on(minutes=1)
        glass = office.on.glass.break_glass
        await glass(change.id, change.digest, await office.by("ann"), "Now.", 30)
        assert await office.may("dan", Action.POLICY_APPROVE, "sys:policy")
        for user in ("dan", "cyd"):
            for act in (
                office.approve(user, change),
                office.activate(user, change),
                office.edit(user, [HR]),
                glass(change.id, change.digest, await office.by(user), "Longer.", 30),
                office.plan(change, user),
            ):
                with pytest.raises(NotPermitted):
                    await act
        await office.approve("bob", change)
        with office.sql.database.begin() as connection:  # as if dan had
            names = [await office.ledger.pseudonym(user) for user in ("bob", "dan")]
            connection.exec_driver_sql("UPDATE changeset SET state = replace(state, ?, ?)", tuple(names))
        with pytest.raises(NotNow, match="may no longer"):
            await office.activate("ann", change)

    told(tmp_path / "office", story)


def test_a_report_of_the_log_names_who_changed_the_policy(tmp_path: Path) -> None:
    """By pseudonym, and what ended by itself as that."""

    async def story(office: Office) -> None:
        await broken(office)
        office.clock.on(minutes=31)
        await office.on.glass.expire()
        acts = _acts(office.events("policy"))
        ann = await office.ledger.pseudonym("ann")
        assert [(act.pseudonym, act.actor) for act in acts] == [
            (None, "operator"),
            (ann, "person"),
            (None, "break_glass_ended"),
        ]

    told(tmp_path / "office", story)


def test_its_review_stays_open_until_somebody_else_closes_it(tmp_path: Path) -> None:
    """Not the person, not the operator, not before its time is over; and nothing else is done to it."""

    async def story(office: Office) -> None:
        glass, review = await broken(office), office.on.glass.review
        with pytest.raises(NotNow, match="still open"):
            await review(glass.id, await office.by("bob"))
        office.clock.on(days=40)
        for user in ("ann", "operator", "dan", "hope"):
            with pytest.raises(NotPermitted):
                await review(glass.id, await office.by(user))
        with pytest.raises(UserError):
            await office.approve("bob", glass)
        assert (await office.get(glass)).state(office.clock()) == "unreviewed"
        closed = await review(glass.id, await office.by("bob"))
        assert closed.state(office.clock()) == "reviewed"
        with pytest.raises(NotNow):
            await review(glass.id, await office.by("cyd"))
        assert [event["act"] for event in office.events("approval")] == ["proposed", "alone", "reviewed"]

    told(tmp_path / "office", story)


def test_no_invariant_is_broken_with_it(tmp_path: Path) -> None:
    """The last two, the check, the digest, the base; the right, on everything; the bound, and a reason."""

    async def story(office: Office) -> None:
        change = await office.edit("bob", [WIDER])
        glass = office.on.glass.break_glass
        for user in ("dan", "hope"):
            with pytest.raises(NotPermitted):
                await glass(change.id, change.digest, await office.by(user), "Now.", 5)
        ann = await office.by("ann")
        with pytest.raises(NotNow, match="digest"):
            await glass(change.id, "0" * 64, ann, "Now.", 5)
        for reason, minutes, field in ((" ", 5, "reason"), ("Now.", 0, "minutes"), ("Now.", 1_441, "minutes")):
            with pytest.raises(UserError) as refused:
                await glass(change.id, change.digest, ann, reason, minutes)
            assert refused.value.field == field
        two = PolicySource(POLICY.replace("g, user:cyd, role:keeper\n", "").replace("g, user:bob, role:keeper\n", ""))
        with pytest.raises(Refused):
            await office.on.activation.operator_apply(two, OPERATOR, "Now.", 5)
        await office.made([HR])
        with pytest.raises(Outdated):
            await glass(change.id, change.digest, ann, "Now.", 5)
        assert await office.in_force() == 2

    told(tmp_path / "office", story)


def test_the_operator_acts_alone_only_by_break_glass_once_others_could_approve(tmp_path: Path) -> None:
    """Also one who could only at certain hours, or through a group, or in the version that a break-glass hides."""
    empty = "p, role:all, sys:chat, chat.ask, allow, always\ng, group:staff, role:all\n"
    hours = "p, group:staff, sys:policy, policy.approve, allow, time:days=mon;from=01:00;to=01:05;zone=UTC\n"

    async def story(office: Office) -> None:
        apply = office.on.activation.operator_apply
        with pytest.raises(NotPermitted, match="alone"):
            await apply(PolicySource(POLICY + WIDER), OPERATOR)
        for user in ("ann", "bob"):
            await office.people.deactivate(user, OPERATOR)
        with pytest.raises(NotPermitted):
            await apply(PolicySource(empty), OPERATOR)
        applied = await apply(PolicySource(empty), OPERATOR, "Nobody answers.", 10)
        assert (applied.version, await office.in_force()) == (2, 2)
        with pytest.raises(NotPermitted):
            await apply(PolicySource(empty), OPERATOR)
        await office.people.deactivate("cyd", OPERATOR)
        assert (await apply(PolicySource(empty + hours), OPERATOR)).version == 3
        with pytest.raises(NotPermitted):
            await apply(PolicySource(empty), OPERATOR)
        glass = office.events("approval")[-1]
        assert (glass["act"], glass["by"]) == ("alone", "operator:uid:0")

    told(tmp_path / "office", story)


def test_the_operator_activates_nothing_that_nobody_approved(tmp_path: Path) -> None:
    """Not even what only takes away; and approves nothing."""

    async def story(office: Office) -> None:
        change = await office.edit("operator", [NARROWER])
        with pytest.raises(NotNow, match="waits for the approval"):
            await office.activate("operator", change)
        with pytest.raises(NotPermitted):
            await office.approve("operator", await office.edit("ann", [WIDER]))
        await office.approve("bob", change)
        assert (await office.activate("operator", change)).version == 2

    told(tmp_path / "office", story)
