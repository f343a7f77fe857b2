"""The contract of `ChangesetStore`: on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from tests.backends.sql.sql_kit import NOW, Ports, run

from usher.app import FINISHERS
from usher.backends.sql_changeset_tables import changeset as table
from usher.backends.sql_changesets import SqlChangesets
from usher.backends.sql_erasure import SqlErasure
from usher.backends.sql_outbox import SqlOutbox
from usher.core import approval
from usher.core.approval import Proposal, propose
from usher.core.break_glass import BreakGlass, break_glass, review
from usher.core.changeset import POLICY, Changeset, parts_of
from usher.core.policy_source import PolicySource
from usher.core.standing import Versions
from usher.ports import Change, PolicyDelta, StoredPolicy
from usher.ports.changesets import Box
from usher_policy.vocabulary import Principal

ANN, BOB = Principal("user:a11"), Principal("user:b0b")
SOURCE = PolicySource(
    "# ä\r\n\np, role:a, coll:b, document.read, allow, always", {"links.yaml": "hosts: []"}, {"a.yaml": ""}
)
APPROVAL = {"act": "approved", "act_kind": POLICY}


@pytest.fixture
def store(sql: Ports) -> SqlChangesets:
    return SqlChangesets(sql.database, sql.ring)


def made(number: int, **more: Any) -> Changeset:
    ident = UUID(int=number)
    stands = propose(str(ident), POLICY, parts_of(0, "d", SOURCE), ANN, NOW)
    given = {"comment": "Says Ann, okapi."} | more
    return Changeset(ident, 0, stands, "a11", NOW, SOURCE, **given)


def alone(number: int) -> Changeset:
    ident = UUID(int=number)
    parts = parts_of(0, "d", SOURCE)
    stands = break_glass(str(ident), POLICY, parts, ANN, "Nobody is here, okapi.", NOW, may_break_glass=True)
    assert isinstance(stands, BreakGlass)
    return Changeset(ident, 0, stands, "a11", NOW, SOURCE, stands.reason, version=1)


def stored(version: int, **more: Any) -> StoredPolicy:
    return StoredPolicy(version, "d" * 64, SOURCE.rules_text, SOURCE.documents, NOW, SOURCE.cases, by="a11", **more)


async def finish(sql: Ports, changes: list[Change] | None) -> None:
    assert changes is not None
    await SqlOutbox(sql.database, FINISHERS).finish(changes)


async def added(sql: Ports, store: SqlChangesets, one: Changeset) -> Changeset:
    await finish(sql, await store.add(one, APPROVAL))
    return await known(store, one.id)


async def known(store: SqlChangesets, ident: UUID) -> Changeset:
    found = await store.get(ident)
    assert found is not None
    return found


def approved(one: Changeset) -> Changeset:
    assert isinstance(one.stands, Proposal)
    stands = approval.approve(one.stands, BOB, one.digest, NOW, may_approve=True)
    assert isinstance(stands, Proposal)
    return replace(one, stands=stands)


def test_it_comes_back_as_it_was_given_once_it_is_recorded(sql: Ports, store: SqlChangesets) -> None:
    """Byte for byte, with its comment, which is sealed; not before."""

    async def story() -> None:
        one = made(7, supersedes=UUID(int=3), rollback=2)
        changes = await store.add(one, APPROVAL)
        assert changes is not None
        assert await store.get(one.id) is None
        assert await store.page(None, 9) == []
        await finish(sql, changes)
        assert await known(store, one.id) == replace(one, revision=1)
        assert await store.page(None, 9) == [replace(one, revision=1, source=None)]
        assert await store.with_digest(one.digest) == [replace(one, revision=1, source=None)]
        assert await store.with_digest("0" * 64) == []
        rows = await sql.database.read(lambda connection: connection.execute(sa.select(table)).all())
        assert "okapi" not in str(rows)

    run(story())


def test_a_state_is_stored_only_over_the_one_it_was_decided_on(sql: Ports, store: SqlChangesets) -> None:
    """Of those that race one is; while one waits for its event none is."""

    async def story() -> None:
        one = await added(sql, store, made(1))
        changes = await asyncio.gather(*(store.put(approved(one), APPROVAL, NOW) for _ in range(3)))
        (first,) = [change for change in changes if change is not None]
        assert await store.put(approved(one), APPROVAL, NOW) is None
        assert await known(store, one.id) == one
        await finish(sql, first)
        assert await store.put(approved(one), APPROVAL, NOW) is None
        now = await known(store, one.id)
        assert (now.stands, now.revision) == (approved(one).stands, 2)

    run(story())


def test_a_draft_and_the_end_of_the_one_before_are_one_change(sql: Ports, store: SqlChangesets) -> None:
    """Both or neither; who made what it grew out of is known."""

    async def story() -> None:
        first = await added(sql, store, made(1))
        late = replace(first, revision=0)
        assert await store.add(made(2), APPROVAL, late, APPROVAL) is None
        assert len(await store.page(None, 9)) == 1
        second = replace(made(3, supersedes=first.id), by="b0b")
        await finish(sql, await store.add(second, APPROVAL, approved(first), APPROVAL))
        assert [one.id.int for one in await store.page(None, 9)] == [3, 1]
        assert [one.id.int for one in await store.page(UUID(int=3), 9)] == [1]
        assert [one.id.int for one in await store.page(None, 1)] == [3]
        assert list(await store.authors(second.id)) == ["b0b", "a11"]

    run(story())


def test_an_activation_is_all_or_nothing(sql: Ports, store: SqlChangesets) -> None:
    """The changeset's state and the version: of those that race one makes it, and a number that is taken none."""

    async def story() -> None:
        one, other = await added(sql, store, made(1)), await added(sql, store, made(2))
        assert await store.activate(approved(one), APPROVAL, stored(2), {}) is None
        assert await store.activate(replace(one, revision=0), APPROVAL, stored(1), {}) is None
        assert await known(store, one.id) == one
        told = {**APPROVAL, "version": 1}
        racing = [store.activate(approved(each), told, stored(1), {"changeset": "x"}) for each in (one, other, one)]
        (changes,) = [change for change in await asyncio.gather(*racing) if change is not None]
        assert [change.kind for change in changes] == ["approval", "policy"]
        assert changes[1].payload["changeset"] == "x"
        assert (await sql.policies.versions()).pending_policy == 1
        assert await store.versions(None, 9) == []
        await finish(sql, changes)
        assert (await sql.policies.versions()).policy == 1
        became = [(await known(store, each.id)).version for each in (one, other)]
        assert sorted(became, key=str) == [1, None]
        assert [each.version for each in await store.versions(None, 9)] == [1]
        assert await store.versions(1, 9) == []

    run(story())


def test_a_box_is_kept_with_its_version_and_ended_by_the_next(sql: Ports, store: SqlChangesets) -> None:
    """A break-glass is stored as it happens."""

    async def story() -> None:
        until = NOW + timedelta(hours=1)
        glass = alone(5)
        version = stored(1, glass_until=until, changeset=glass.id)
        await finish(sql, await store.activate(glass, APPROVAL, version, {}, Box(0, until)))
        versions = await sql.policies.versions()
        assert versions == Versions(1, None, 0, versions.revision, 0, until)
        assert (versions.in_force(until - timedelta(microseconds=1)), versions.in_force(until)) == (1, 0)
        kept = await known(store, glass.id)
        assert kept == replace(glass, revision=1)
        assert isinstance(kept.stands, BreakGlass)
        closed = review(kept.stands, BOB, until, may_review=True)
        assert isinstance(closed, BreakGlass)
        await finish(sql, await store.put(replace(kept, stands=closed), APPROVAL, NOW))
        assert (await known(store, glass.id)).stands == closed
        change = await sql.policies.propose(stored(2), "x")
        assert change is not None
        await finish(sql, [change])
        assert (await sql.policies.versions()).fallback_policy is None

    run(story())


def test_a_version_is_known_by_what_it_changed(sql: Ports) -> None:
    """Where that was said; the version itself comes back as it was given."""

    async def story() -> None:
        for version in (stored(1), stored(2, base=1, removed=("g, user:a, role:b",), added=())):
            change = await sql.policies.propose(version, "a11")
            assert change is not None
            assert await sql.policies.load(version.version) == version
            await finish(sql, [change])
        assert await sql.policies.load_delta(1) is None
        assert await sql.policies.load_delta(3) is None
        delta = PolicyDelta(2, "d" * 64, 1, ("g, user:a, role:b",), (), SOURCE.documents)
        assert await sql.policies.load_delta(2) == delta

    run(story())


def test_what_somebody_typed_goes_with_them(sql: Ports, store: SqlChangesets) -> None:
    """What they changed stays, and why they acted alone until that is reviewed; a key wrapped anew still opens."""

    async def story() -> None:
        one = await added(sql, store, made(1))
        await finish(sql, await store.activate(alone(2), APPROVAL, stored(1), {}, Box(0, NOW)))
        other = await added(sql, store, replace(made(3), by="b0b"))
        await SqlErasure(sql.database, sql.ring).forget_person(UUID(int=9), "ann", "a11")
        assert await known(store, one.id) == replace(one, comment=None)
        assert (await known(store, UUID(int=2))).comment == "Nobody is here, okapi."
        assert await known(store, other.id) == other

    run(story())
