"""Whoever may edit some of the policy only: what they govern, by lines, and they learn nothing of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policy_store.changing_kit import HR, NARROWER, POLICY, WIDER, Office, told

from usher.audit.proposals import NotNow
from usher.policy.acts import NoSuchChangeset
from usher.policy.plan import Outdated, Refused
from usher.policy_admin import PolicySource
from usher.viewing import NotPermitted

PAY = "p, role:hr, coll:hr/pay, document.read, allow, always"


def test_a_department_changes_what_it_governs_by_its_own_people(tmp_path: Path) -> None:
    """Proposed by one, approved and activated by another of the department."""

    async def story(office: Office) -> None:
        change = await office.edit("hal", [PAY], comment="Pay slips.")
        assert (await office.on.changesets.get(change.id, await office.by("hope"))).source is None
        plan = await office.plan(change, "hope")
        assert plan.diff.added == (PAY,)
        await office.approve("hope", change)
        assert (await office.activate("hope", change)).version == 2
        assert (await office.on.history.version(2, await office.by("ann"))).rules == POLICY + PAY + "\n"

    told(tmp_path / "office", story)


@pytest.mark.parametrize(
    ("add", "remove", "named"),
    [
        ([WIDER], [], "coll:news"),
        ([], ["p, role:all, sys:chat, chat.ask, allow, always"], "sys:chat"),
        (["p, role:hr, sys:policy, policy.approve, allow, always"], [], "sys:policy"),
        (["g, user:hal, role:keeper"], [], "role:keeper"),
        (["g, role:hr, role:keeper"], [], "role:keeper"),
        ([HR], [], "role:hr"),  # it inherits role:all
        (["p, role:hr-admin, coll:hr, policy.approve, allow, always"], [], "policy.approve"),
        (["p, user:hal, coll:hrx, document.read, allow, always"], [], "coll:hrx"),
        (["p, user:hal, mark:pii, document.read, allow, always"], [], "mark:pii"),
    ],
)
def test_what_is_not_governed_is_refused_with_its_reason(
    tmp_path: Path, add: list[str], remove: list[str], named: str
) -> None:
    """Proposing it, planning it; and the line is named."""

    async def story(office: Office) -> None:
        with pytest.raises(Refused) as refused:
            await office.edit("hal", add, remove)
        assert any(named in reason for reason in refused.value.reasons)
        with pytest.raises(Refused):
            await office.on.changesets.plan_edit(add, remove, await office.by("hal"))
        assert office.query("SELECT count(*) FROM changeset") == [(0,)]

    told(tmp_path / "office", story)


def test_they_do_not_see_the_rest(tmp_path: Path) -> None:
    """No whole policy, no version, no changeset of others beyond what they govern, no line that another version
    changed; whether a line exists that is not theirs is not told."""

    async def story(office: Office) -> None:
        hal, hope = await office.by("hal"), await office.by("hope")
        others = await office.edit("ann", [WIDER])
        theirs = await office.edit("ann", [PAY])
        mine = await office.edit("hal", [PAY + "# no"[:0]])
        with pytest.raises(NotPermitted):
            await office.on.changesets.plan(PolicySource(""), hal)
        with pytest.raises(NotPermitted):
            await office.on.changesets.draft(PolicySource(POLICY + PAY), hal, 1)
        for act in (
            office.on.history.versions(hope),
            office.on.history.version(1, hope),
            office.on.history.diff(0, 1, hope),
            office.on.changesets.to_version(1, hope),
        ):
            with pytest.raises(NotPermitted):
                await act
        for act in (office.plan(others, "hope"), office.approve("hope", others), office.activate("hope", others)):
            with pytest.raises(NoSuchChangeset):
                await act
        assert [one.id for one in await office.on.changesets.page(hope)] == [mine.id, theirs.id]
        for line in ("g, user:ann, role:keeper", "g, user:nobody, role:keeper"):
            with pytest.raises(Refused, match="role:keeper"):
                await office.edit("hal", [], [line])
        await office.activate("ann", await office.edit("ann", [NARROWER]))
        with pytest.raises(Outdated) as outdated:
            await office.approve("hope", mine)
        assert outdated.value.moved.diff.nothing
        moved = (await office.plan(mine, "hope")).moved
        assert moved is not None
        assert (moved.version, moved.diff.nothing) == (2, True)

    told(tmp_path / "office", story)


def test_an_approval_counts_as_far_as_its_right_goes(tmp_path: Path) -> None:
    """One of a department for a change of that department only; and only while what was approved lies within it."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", [PAY])
        await office.approve("hope", change)
        assert (await office.activate("ann", change)).version == 2
        wide = await office.edit("ann", [WIDER])
        bob, hope = await office.ledger.pseudonym("bob"), await office.ledger.pseudonym("hope")
        await office.approve("bob", wide)
        with office.sql.database.begin() as connection:  # as if somebody had written it there
            connection.exec_driver_sql("UPDATE changeset SET state = replace(state, ?, ?)", (bob, hope))
        with pytest.raises(NotNow, match="may no longer"):
            await office.activate("ann", wide)
        with pytest.raises(NotPermitted, match="some places only"):
            await office.on.glass.break_glass(wide.id, wide.digest, await office.by("hope"), "Now.", 5)

    told(tmp_path / "office", story)


def test_documents_and_cases_are_not_a_departments(tmp_path: Path) -> None:
    """Though somebody who may read a whole policy proposes by a scoped right."""

    async def story(office: Office) -> None:
        await office.made(["p, user:hal, sys:policy, policy.read, allow, always"])
        text = POLICY + "p, user:hal, sys:policy, policy.read, allow, always\n"
        hal = await office.by("hal")
        for source, name in (
            (PolicySource(text, {"links.yaml": "hosts: []"}), "links.yaml"),
            (PolicySource(text, {}, {"a.yaml": "[]"}), "a.yaml"),
            (PolicySource(text + WIDER), "coll:news"),
        ):
            with pytest.raises(Refused, match=name):
                await office.on.changesets.draft(source, hal, 2)
        assert (await office.on.changesets.draft(PolicySource(text + PAY), hal, 2)).base == 2

    told(tmp_path / "office", story)
