"""Changesets: drafted, looked at, approved by somebody else, in force; every refusal is a value with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policy_store.changing_kit import HR, NARROWER, OPERATOR, POLICY, WIDER, Office, told

from usher.audit.proposals import NotNow
from usher.errors import UserError
from usher.policy.acts import NoSuchChangeset
from usher.policy.plan import Outdated, Refused, Unsound
from usher.policy.planner import LAST_TWO
from usher.policy_admin import PolicySource
from usher.viewing import NotPermitted


def test_a_change_that_gives_something_waits_for_somebody_else(tmp_path: Path) -> None:
    """Drafted by one, approved by another, activated; each act is recorded once, without a name."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", [WIDER], comment="News for all, says okapi-8842.")
        plan = await office.plan(change)
        assert plan.diff.added == (WIDER,)
        assert (plan.base, plan.digest, plan.may_come, plan.moved) == (1, change.digest, True, None)
        assert any("user:dan" in line and "coll:news" in line for line in plan.gains)
        assert any("anyone in group:staff" in line for line in plan.gains)
        with pytest.raises(NotNow, match="waits for the approval of another person"):
            await office.activate("ann", change)
        await office.approve("bob", change)
        applied = await office.activate("ann", change)
        assert applied.version == await office.in_force() == 2
        found = await office.get(change)
        assert (found.version, found.state(office.clock())) == (2, "carried_out")
        assert found.comment == "News for all, says okapi-8842."
        acts = [event["act"] for event in office.events("approval")]
        assert acts == ["proposed", "approved", "carried_out"]
        event = office.events("policy")[-1]
        bob = await office.ledger.pseudonym("bob")
        assert (event["version"], event["changeset"], event["approvals"]) == (2, str(change.id), [bob])
        assert "okapi" not in str(office.query("SELECT event FROM events", "ledger.sqlite"))
        assert "okapi" not in str(office.query("SELECT * FROM changeset"))

    told(tmp_path / "office", story)


def test_a_change_that_only_takes_away_needs_nobody(tmp_path: Path) -> None:
    """And one of comments alone, byte for byte."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", [NARROWER])
        assert not (await office.plan(change)).needs_approval
        assert (await office.activate("ann", change)).version == 2
        text = POLICY + f"{NARROWER}\n# a word\r\n\n"
        change = await office.on.changesets.draft(PolicySource(text), await office.by("bob"), 2)
        assert (await office.plan(change)).diff.nothing
        assert (await office.activate("bob", change)).version == 3
        assert (await office.on.history.version(3, await office.by("cyd"))).rules == text

    told(tmp_path / "office", story)


def test_what_somebody_unknown_gains_is_a_gain_too(tmp_path: Path) -> None:
    """A user whom the directory does not know; a collection and a marking that no document has yet; a document beside
    the rules; but not a role that nobody has."""

    async def story(office: Office) -> None:
        for line in (
            "p, user:zoe, coll:open, document.read, allow, always",
            "p, role:all, coll:not/there/yet, document.read, allow, always",
            "p, role:all, mark:secret, document.read, allow, always",
            "g, user:zoe, role:keeper",
        ):
            change = await office.edit("ann", [line])
            assert (await office.plan(change)).needs_approval, line
        nobody = await office.edit("ann", ["p, role:nobody, coll:open, document.read, allow, always"])
        assert not (await office.plan(nobody)).needs_approval
        source = PolicySource(POLICY, {"links.yaml": "hosts: []"})
        change = await office.on.changesets.draft(source, await office.by("ann"), 1)
        assert (await office.plan(change)).gains == ("links.yaml is changed",)

    told(tmp_path / "office", story)


def test_the_last_two_who_can_approve_are_never_lost(tmp_path: Path) -> None:
    """Not by an edit, a denial, a window of time or a role that only a group gives; nor is a third person who holds it
    so counted as one of two."""
    window = "time:days=mon-fri;from=09:00;to=17:00;zone=UTC"

    async def story(office: Office) -> None:
        await office.add("gus", "keepers")
        await office.made(
            [
                "g, group:keepers, role:keeper",
                f"p, user:dan, sys:policy, policy.approve, allow, {window}",
                "p, role:second, sys:policy, policy.approve, allow, always",
                "g, user:bob, role:second",
            ],
            ["g, user:cyd, role:keeper"],
        )
        for add, remove in (
            ([], ["g, user:ann, role:keeper"]),
            (["p, user:ann, sys:policy, policy.approve, deny, always"], []),
            ([f"p, user:ann, sys:policy, policy.approve, deny, {window}"], []),
            (
                [f"p, role:keeper, sys:policy, policy.approve, allow, {window}"],
                ["p, role:keeper, sys:policy, policy.approve, allow, always"],
            ),
        ):
            with pytest.raises(Refused) as refused:
                await office.edit("ann", add, remove)
            assert refused.value.reasons == (LAST_TWO,)
        await office.people.deactivate("bob", OPERATOR)
        gone = ["g, user:bob, role:keeper", "g, user:bob, role:second"]
        assert await office.edit("ann", [], gone)  # one who is deactivated is none of two

    told(tmp_path / "office", story)


def test_a_change_against_an_older_version_is_drafted_anew(tmp_path: Path) -> None:
    """Approved or not: it is neither approved nor activated, and what the other version changed is told."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", [WIDER])
        await office.approve("bob", change)
        other = await office.edit("cyd", [NARROWER])
        await office.activate("cyd", other)
        for act in (office.activate("ann", change), office.approve("cyd", change)):
            with pytest.raises(Outdated) as outdated:
                await act
            assert (outdated.value.base, outdated.value.moved.version) == (1, 2)
            assert outdated.value.moved.diff.added == (NARROWER,)
        moved = (await office.plan(change)).moved
        assert moved is not None
        assert moved.version == 2
        with pytest.raises(Outdated):
            await office.on.changesets.draft(PolicySource(POLICY + WIDER), await office.by("ann"), 1)
        with pytest.raises(Outdated):  # else what version 2 changed would be taken back unseen
            await office.edit("ann", [HR], supersedes=change.id)
        with pytest.raises(Outdated):
            await office.on.changesets.edit([HR], [], await office.by("ann"), 1)
        text = POLICY + f"{NARROWER}\n{WIDER}\n"
        anew = await office.on.changesets.draft(PolicySource(text), await office.by("ann"), 2, supersedes=change.id)
        assert (anew.base, (await office.plan(anew)).diff.added) == (2, (WIDER,))

    told(tmp_path / "office", story)


def test_a_draft_is_ended_by_those_who_may(tmp_path: Path) -> None:
    """Refused by another who might approve it, withdrawn by whoever made it; then nothing more is done to it."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", [WIDER])
        with pytest.raises(NotPermitted, match="same person"):
            await office.on.changesets.refuse(change.id, await office.by("ann"))
        with pytest.raises(NotPermitted, match="somebody else"):
            await office.on.changesets.withdraw(change.id, await office.by("bob"))
        with pytest.raises(NotPermitted):
            await office.on.changesets.refuse(change.id, await office.by("operator"))
        await office.on.changesets.refuse(change.id, await office.by("bob"))
        for act in (office.approve("bob", change), office.activate("ann", change)):
            with pytest.raises(NotNow, match="refused"):
                await act
        change = await office.edit("ann", [WIDER])
        await office.on.changesets.withdraw(change.id, await office.by("ann"))
        office.clock.on(days=8)
        late = await office.edit("ann", [WIDER])
        office.clock.on(days=8)
        with pytest.raises(NotNow, match="expired"):
            await office.approve("bob", late)
        states = [one.state(office.clock()) for one in await office.on.changesets.page(await office.by("bob"))]
        assert states == ["expired", "withdrawn", "refused"]

    told(tmp_path / "office", story)


def test_what_is_wrong_with_a_policy_is_told_before_it_is_kept(tmp_path: Path) -> None:
    """Lint, cases and documents with their findings; an edit of a line that is not there; nothing is stored."""
    case = '- {user: "user:dan", groups: ["group:staff"], object: "coll:open", action: document.read, expect: deny}'

    async def story(office: Office) -> None:
        ann = await office.by("ann")
        for source in (
            PolicySource(POLICY + "p, role:a, coll:b, fly, allow, always\n"),
            PolicySource(POLICY, {}, {"a.yaml": case}),
            PolicySource(POLICY, {"links.yaml": "hosts: 7"}),
            PolicySource(POLICY, {}, {"a.yaml": "{"}),
            PolicySource(POLICY + "p, role:a, coll:b, document.read, allow, moon:full=yes\n"),
        ):
            with pytest.raises(Unsound) as unsound:
                await office.on.changesets.draft(source, ann, 1)
            plan = unsound.value.plan
            assert plan.failed or plan.findings
            assert (await office.on.changesets.plan(source, ann)).findings == plan.findings
        with pytest.raises(UserError, match="no such line"):
            await office.edit("ann", [], [WIDER])
        with pytest.raises(UserError, match="comment"):
            await office.edit("ann", [WIDER], comment="x" * 2_001)
        assert office.query("SELECT count(*) FROM changeset") == [(0,)]

    told(tmp_path / "office", story)


def test_whoever_holds_no_right_learns_nothing(tmp_path: Path) -> None:
    """A foreign id and an absent one are answered alike; each looking is recorded by pseudonym."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", [WIDER])
        before = len(office.events("view"))
        for act in (
            office.on.changesets.get(change.id, await office.by("dan")),
            office.on.changesets.page(await office.by("dan")),
            office.edit("dan", [HR]),
            office.approve("dan", change),
            office.activate("dan", change),
            office.on.history.versions(await office.by("dan")),
        ):
            with pytest.raises(NotPermitted):
                await act
        assert len(office.events("view")) == before
        with pytest.raises(NoSuchChangeset):
            await office.on.changesets.get(type(change.id)(int=7), await office.by("bob"))
        await office.plan(change, "bob")
        view = office.events("view")[-1]
        assert view["who"]["pseudonym"] == await office.ledger.pseudonym("bob")
        assert view["policy"] == {"question": "plan", "changeset": str(change.id)}

    told(tmp_path / "office", story)
