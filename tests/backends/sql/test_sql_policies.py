"""The contract of `Policies`: versions one after another, and the labels that they are compiled over."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.backends.sql.sql_kit import LATER, NOW, Ports, run, staged

from usher.core.standing import Versions
from usher.ports import StoredPolicy
from usher_policy.catalog import Catalog, readers_digest


def test_a_fresh_database_has_no_policy(sql: Ports) -> None:
    """Version 0 stands for that, and no text is stored of it."""

    async def story() -> None:
        assert await sql.policies.versions() == Versions(0, None, 0, 0)
        assert await sql.policies.load(0) is None

    run(story())


def test_a_version_is_pending_beside_the_one_in_force_until_it_is_recorded(sql: Ports) -> None:
    """Both are named meanwhile: both must allow."""

    async def story() -> None:
        stored = StoredPolicy(1, "a" * 64, "p, role:ä, …\n", {"links.yaml": "hosts: []"}, NOW)
        change = await sql.policies.propose(stored, "operator:1")
        assert change is not None
        assert (change.kind, change.payload["version"], change.payload["digest"]) == ("policy", 1, "a" * 64)
        assert change.payload["documents"].keys() == {"links.yaml"}
        versions = await sql.policies.versions()
        assert (versions.policy, versions.pending_policy) == (0, 1)
        assert await sql.policies.load(1) == replace(stored, by="operator:1")
        await sql.outbox.finish([change])
        versions = await sql.policies.versions()
        assert (versions.policy, versions.pending_policy) == (1, None)
        assert await sql.policies.load(2) is None

    run(story())


def test_versions_follow_each_other_one_at_a_time(sql: Ports) -> None:
    """A proposal beside a pending one, of a taken number, or that leaves a gap, is no change."""

    async def story() -> None:
        first = await sql.policy(1)
        assert first is not None
        assert await sql.policy(1) is None
        assert await sql.policy(2) is None
        await sql.outbox.finish([first])
        assert await sql.policy(1) is None
        assert await sql.policy(3) is None
        assert await sql.policy(2) is not None
        assert len(await sql.outbox.pending()) == 1

    run(story())


def test_of_two_proposals_at_once_one_is_taken(sql: Ports) -> None:
    """The other is told that it is not."""

    async def story() -> None:
        taken = await asyncio.gather(*(sql.policy(1, f"# {n}\n") for n in range(6)))
        assert len([change for change in taken if change is not None]) == 1
        assert len(await sql.outbox.pending()) == 1

    run(story())


def test_the_catalog_grows_from_what_is_known(sql: Ports) -> None:
    """Access classes and reader lists that the caller has are not read again."""

    async def story() -> None:
        empty: frozenset[str] = frozenset()
        nobody, alice = readers_digest(empty), readers_digest({"user:alice"})
        sets = [frozenset({"coll:hr"}), frozenset({"coll:hr", nobody})]
        assert await sql.intake.intern(sets, {nobody: empty}) == [1, 2]
        known = await sql.policies.catalog(Catalog(-1))
        assert known == Catalog(0, {1: sets[0], 2: sets[1]}, {nobody: empty})
        await sql.put(staged("a.md"), 1)
        more = frozenset({alice, "mark:pii"})
        assert await sql.intake.intern([more], {alice: frozenset({"user:alice"})}) == [3]
        grown = await sql.policies.catalog(known)
        assert grown.label_version == 1
        assert grown.classes == {1: sets[0], 2: sets[1], 3: more}
        assert grown.readers == {nobody: empty, alice: frozenset({"user:alice"})}
        assert await sql.policies.catalog(Catalog(-1)) == grown

    run(story())


@pytest.mark.slow
def test_many_reader_lists_are_read_in_parts(sql: Ports) -> None:
    """More lists than a statement may have parameters for."""

    async def story() -> None:
        lists = {readers_digest({f"user:{n}"}): frozenset({f"user:{n}"}) for n in range(1201)}
        sets = [frozenset({name}) for name in lists]
        assert await sql.intake.intern(sets, lists) == list(range(1, 1202))
        catalog = await sql.policies.catalog(Catalog(-1))
        assert catalog.readers == lists
        assert list(catalog.classes.values()) == sets

    run(story())


def test_instants_keep_their_microseconds(sql: Ports) -> None:
    """And come back aware, in UTC."""

    async def story() -> None:
        change = await sql.policies.propose(StoredPolicy(1, "a" * 64, "", {}, LATER), "operator:1")
        assert change is not None
        stored = await sql.policies.load(1)
        assert stored is not None
        assert stored.created_at == LATER
        assert stored.created_at.utcoffset() is not None

    run(story())
