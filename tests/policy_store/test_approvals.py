"""Approvals: of exact bytes, by somebody who had no part in them and holds the right still; each counts once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.policy_store.changing_kit import HR, OPERATOR, WIDER, Office, told

from usher.audit.proposals import NotNow
from usher.core.changeset import digest_of
from usher.policy_admin import PolicySource
from usher.viewing import NotPermitted


def test_nobody_approves_what_they_had_a_part_in(tmp_path: Path) -> None:
    """Neither their own draft nor one that grew out of it, however often others edited it since; the edited draft is
    withdrawn, and what was approved of it counts no more."""

    async def story(office: Office) -> None:
        first = await office.edit("ann", [WIDER])
        with pytest.raises(NotPermitted, match="made by the same person"):
            await office.approve("ann", first)
        await office.approve("cyd", first)
        second = await office.edit("bob", [HR], supersedes=first.id)
        assert second.source is not None
        assert second.source.rules_text.endswith(f"{WIDER}\n{HR}\n")
        assert (await office.get(first)).state(office.clock()) == "withdrawn"
        for user in ("ann", "bob"):
            with pytest.raises(NotPermitted, match="made by the same person"):
                await office.approve(user, second)
        with pytest.raises(NotNow):
            await office.activate("bob", second)
        third = await office.edit("bob", [], [HR], supersedes=second.id)
        with pytest.raises(NotPermitted, match="made by the same person"):
            await office.approve("ann", third)
        await office.approve("cyd", third)
        assert (await office.activate("ann", third)).version == 2
        with pytest.raises(NotNow, match="withdrawn"):
            await office.edit("bob", [HR], supersedes=first.id)

    told(tmp_path / "office", story)


def test_who_approved_before_they_edited_does_not_count(tmp_path: Path) -> None:
    """An approval that was stored is judged against the authors again: here as if somebody had written it there."""

    async def story(office: Office) -> None:
        first = await office.edit("ann", [WIDER])
        second = await office.edit("bob", [HR], supersedes=first.id)
        await office.approve("cyd", second)
        ann, cyd = await office.ledger.pseudonym("ann"), await office.ledger.pseudonym("cyd")
        with office.sql.database.begin() as connection:
            connection.exec_driver_sql("UPDATE changeset SET state = replace(state, ?, ?)", (cyd, ann))
        with pytest.raises(NotNow, match="waits for the approval"):
            await office.activate("bob", second)

    told(tmp_path / "office", story)


def test_an_approval_is_of_exactly_these_bytes(tmp_path: Path) -> None:
    """Another digest is refused; a policy that was altered in the database is neither approved nor activated."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", [WIDER])
        other = await office.edit("ann", [HR])
        with pytest.raises(NotNow, match="another digest"):
            await office.approve("bob", change, other.digest)
        await office.approve("bob", change)
        with pytest.raises(NotNow, match="another digest"):
            await office.on.activation.activate(change.id, other.digest, await office.by("ann"))
        with office.sql.database.begin() as connection:
            connection.exec_driver_sql("UPDATE changeset SET rules = rules || '# more'")
        for act in (office.approve("cyd", change), office.activate("ann", change)):
            with pytest.raises(NotNow, match="another digest"):
                await act
        assert await office.in_force() == 1

    told(tmp_path / "office", story)


def test_the_digest_is_of_base_rules_documents_and_cases() -> None:
    """Not of how they are cut into texts: each part is of one place."""
    sources = [
        PolicySource("a"),
        PolicySource("b"),
        PolicySource("a", {"links.yaml": "x"}),
        PolicySource("a", {"links.yaml": ""}),
        PolicySource("a", {}, {"links.yaml": "x"}),
        PolicySource("a", {"x.yaml": "links.yaml"}),
    ]
    digests = [digest_of(1, "d", source) for source in sources]
    digests += [digest_of(2, "d", sources[0]), digest_of(1, "e", sources[0])]
    assert len(set(digests)) == len(digests)


def test_an_approval_counts_only_while_its_right_holds(tmp_path: Path) -> None:
    """Somebody deactivated, or whose right another version took, before the activation; one whose right the very
    changeset takes away has approved it."""

    async def story(office: Office) -> None:
        await office.made(["p, user:dan, sys:policy, policy.approve, allow, always"])
        change = await office.edit("ann", [WIDER])
        await office.approve("dan", change)
        await office.people.deactivate("dan", OPERATOR)
        with pytest.raises(NotNow, match="may no longer"):
            await office.activate("ann", change)
        await office.approve("bob", change)
        assert (await office.activate("ann", change)).version == 3
        change = await office.edit("ann", [HR], ["g, user:cyd, role:keeper"])
        await office.approve("cyd", change)
        assert (await office.activate("ann", change)).version == 4
        with pytest.raises(NotPermitted):
            await office.edit("cyd", ["g, user:cyd, role:keeper"])

    told(tmp_path / "office", story)


def test_of_approvals_that_race_each_is_recorded_once(tmp_path: Path) -> None:
    """And of two activations one makes the version."""

    async def story(office: Office) -> None:
        change = await office.edit("ann", [WIDER])
        await asyncio.gather(office.approve("bob", change), office.approve("cyd", change))
        approved = [event["by"] for event in office.events("approval") if event["act"] == "approved"]
        assert sorted(approved) == sorted([await office.ledger.pseudonym(user) for user in ("bob", "cyd")])
        again = await asyncio.gather(office.approve("bob", change), return_exceptions=True)
        assert isinstance(again[0], NotNow)
        results = await asyncio.gather(
            *(office.activate(user, change) for user in ("ann", "bob", "cyd")), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["AppliedPolicy", "NotNow", "NotNow"] or sorted(
            type(result).__name__ for result in results
        ) == ["AppliedPolicy", "Outdated", "Outdated"]
        assert [event["version"] for event in office.events("policy")] == [1, 2]

    told(tmp_path / "office", story)
