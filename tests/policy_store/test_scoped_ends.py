"""Whoever looks at all of the policy and decides on some of it only: nothing of the rest ends by them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policy_store.changing_kit import POLICY, WIDER, Office, told
from tests.policy_store.test_scoped_editors import PAY

from usher.policy_admin import PolicySource
from usher.viewing import NotPermitted

LOOKING = [f"p, user:{user}, sys:policy, policy.read, allow, always" for user in ("hal", "hope")]


def test_a_departments_approver_refuses_what_lies_in_the_department(tmp_path: Path) -> None:
    """And nothing beyond it, though they may look at that too."""

    async def story(office: Office) -> None:
        await office.made(LOOKING)
        wide, theirs = await office.edit("ann", [WIDER]), await office.edit("ann", [PAY])
        assert (await office.plan(wide, "hope")).needs_approval
        with pytest.raises(NotPermitted):
            await office.on.changesets.refuse(wide.id, await office.by("hope"))
        assert (await office.get(wide)).state(office.clock()) == "open"
        await office.on.changesets.refuse(theirs.id, await office.by("hope"))
        assert (await office.get(theirs)).state(office.clock()) == "refused"

    told(tmp_path / "office", story)


def test_a_departments_draft_takes_the_place_of_none_beyond_the_department(tmp_path: Path) -> None:
    """Of one that lies within it, it does; and of their own, whatever that holds."""

    async def story(office: Office) -> None:
        await office.made(LOOKING)
        wide, theirs = await office.edit("ann", [WIDER]), await office.edit("bob", [PAY])
        hal, source = await office.by("hal"), PolicySource("\n".join([POLICY.rstrip(), *LOOKING, PAY, ""]))
        with pytest.raises(NotPermitted):
            await office.on.changesets.draft(source, hal, 2, supersedes=wide.id)
        with pytest.raises(NotPermitted):
            await office.edit("hal", [PAY], supersedes=wide.id)
        assert (await office.get(wide)).state(office.clock()) == "open"
        for over in (theirs.id, (await office.edit("hal", [PAY])).id):
            await office.on.changesets.draft(source, hal, 2, supersedes=over)
            assert (await office.get(over)).state(office.clock()) == "withdrawn"

    told(tmp_path / "office", story)


def test_a_page_is_filled_from_older_ones(tmp_path: Path) -> None:
    """What somebody may not look at does not end the list."""

    async def story(office: Office) -> None:
        mine = await office.edit("hal", [PAY])
        for _ in range(3):
            await office.edit("ann", [WIDER])
        newest = await office.edit("hal", [PAY])
        hal = await office.by("hal")
        first = await office.on.changesets.page(hal, None, 1)
        second = await office.on.changesets.page(hal, first[0].id, 1)
        assert [one.id for one in (*first, *second)] == [newest.id, mine.id]
        assert await office.on.changesets.page(hal, mine.id, 1) == []

    told(tmp_path / "office", story)
