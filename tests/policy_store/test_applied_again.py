"""`apply` as a job runs it: again and again, by people whose right ends with it, on servers that start together."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policy_store.changing_kit import NARROWER, OPERATOR, POLICY, WIDER, Office, told

from usher.errors import UserError
from usher.policy_admin import PolicySource
from usher.viewing import NotPermitted


def test_the_policy_in_force_is_nothing_to_do(tmp_path: Path) -> None:
    """Byte for byte, and for those who may read it only; another comment is another version; while somebody has
    broken the glass, applying the version before ends that."""

    async def story(office: Office) -> None:
        apply = office.on.activation.apply
        assert await apply(PolicySource(POLICY), await office.by("ann")) is None
        assert await office.in_force() == 1
        assert not office.events("approval")
        with pytest.raises(NotPermitted):
            await apply(PolicySource(POLICY), await office.by("hal"))
        made = await apply(PolicySource(POLICY + "# a word\n"), await office.by("ann"))
        assert made is not None
        assert made.version == await office.in_force() == 2
        change = await office.edit("ann", [WIDER])
        await office.on.glass.break_glass(change.id, change.digest, await office.by("ann"), "now")
        again = await apply(PolicySource(POLICY + "# a word\n"), await office.by("ann"))
        assert again is not None
        assert again.version == await office.in_force() == 4

    told(tmp_path / "office", story)


def test_who_takes_their_own_right_away_learns_that_it_is_done(tmp_path: Path) -> None:
    """Not that they may not do it."""

    async def story(office: Office) -> None:
        text = POLICY.replace("g, user:cyd, role:keeper\n", f"{NARROWER}\n")
        made = await office.on.activation.apply(PolicySource(text), await office.by("cyd"))
        assert made is not None
        assert made.version == await office.in_force() == 2
        assert not await office.may("cyd", "policy.read", "sys:policy")

    told(tmp_path / "office", story)


def test_of_servers_that_start_together_one_imports_the_first_policy(tmp_path: Path) -> None:
    """The other has looked before that one was done: it makes no second version."""

    async def story(office: Office) -> None:
        with pytest.raises(UserError, match="another version has come into force"):
            await office.direct.apply(PolicySource(POLICY), OPERATOR, over=0)
        assert await office.in_force() == 1
        assert (await office.direct.apply(PolicySource(POLICY), OPERATOR, over=1)).version == 2

    told(tmp_path / "office", story)
