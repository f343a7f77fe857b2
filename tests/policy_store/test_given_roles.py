"""A role is something to gain, though no rule opens anything to it yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policy_store.changing_kit import POLICY, Office, told

from usher.audit.proposals import NotNow
from usher.policy_admin import PolicySource

BOARD = "g, user:zoe, role:board"
SUSPENDED = "p, role:suspended, coll:open, document.read, deny, always"
DOCUMENTS = {
    "retention.yaml": "rules: [{name: trade, role: trader, days: 2555}, {name: all, days: 365}]",
    "routing.yaml": "rules: [{name: quick, role: writer, route: retrieve}]",
}


@pytest.mark.parametrize("member", ["user:ann", "user:nobody", "group:staff", "role:all", "role:new"])
def test_a_role_that_opens_nothing_takes_an_approval(tmp_path: Path, member: str) -> None:
    """The next document that comes may have it on its list of readers: the one who gave it to themselves would read."""

    async def story(office: Office) -> None:
        await office.made([BOARD])
        change = await office.edit("ann", [f"g, {member}, role:board"])
        assert (await office.plan(change)).gains == (f"{member} is given role:board",)
        with pytest.raises(NotNow, match="waits for the approval"):
            await office.activate("ann", change)

    told(tmp_path / "office", story)


def test_who_has_a_role_already_is_given_nothing(tmp_path: Path) -> None:
    """A link that says shorter what others say, and one to a role that only forbids, wait for nobody."""

    async def story(office: Office) -> None:
        await office.made([BOARD, "g, role:board, role:owners", SUSPENDED])
        for line in ("g, user:zoe, role:owners", "g, user:dan, role:suspended"):
            change = await office.edit("ann", [line])
            assert not (await office.plan(change)).needs_approval, line
        swapped = ["g, role:board, role:owners", "g, user:zoe, role:owners"]
        change = await office.edit("ann", swapped[1:], swapped[:1])
        assert not (await office.plan(change)).needs_approval

    told(tmp_path / "office", story)


def test_a_role_that_a_document_is_about_is_not_left_alone(tmp_path: Path) -> None:
    """Who leaves it would have the record of what they ask kept for a shorter time, or be answered otherwise."""
    links = ("g, user:ann, role:trader", "g, role:clerk, role:writer", "g, user:dan, role:clerk")
    text = POLICY + "\n".join(links) + "\n"

    async def story(office: Office) -> None:
        change = await office.on.changesets.draft(PolicySource(text, DOCUMENTS), await office.by("ann"), 1)
        await office.approve("bob", change)
        await office.activate("ann", change)
        for link in links:
            change = await office.edit("ann", [], [link])
            assert (await office.plan(change)).gains == (f"a document is about what changes by {link}",)
        change = await office.edit("ann", [], ["g, group:staff, role:all"])
        assert not (await office.plan(change)).needs_approval

    told(tmp_path / "office", story)


def test_a_wall_does_not_go_alone(tmp_path: Path) -> None:
    """Whoever would read as soon as they come with a group is kept from it by a rule on themselves, or on a role of
    theirs: to take that away is to give. What no group may, or what stays forbidden, is given to nobody by it."""
    walls = {
        "p, user:dan, coll:deal, document.read, deny, always": True,
        "g, user:ann, role:walled": True,
        "p, user:dan, coll:quiet, document.read, deny, always": False,
        "p, user:cyd, coll:deal, document.read, deny, always": False,
        "g, user:bob, role:paid": False,
    }
    others = (
        "p, group:bank, coll:deal, document.read, allow, always",
        "p, role:paid, coll:quiet, document.read, allow, always",
        "p, role:walled, coll:deal/one, document.read, deny, always",
        "g, user:cyd, role:barred",
        "p, role:barred, coll:deal, document.read, deny, always",
    )

    async def story(office: Office) -> None:
        await office.made([*others, *walls])
        for line, waits in walls.items():
            plan = await office.plan(await office.edit("ann", [], [line]))
            assert plan.needs_approval is waits, line
            assert not waits or plan.gains == (f"{line.split(', ')[1]} is forbidden less of what a group may",)

    told(tmp_path / "office", story)
