"""The contract of `Directory`: people, and what is on its way about them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from tests.backends.sql.sql_kit import LATER, NOW, Ports, credential, run

from usher.ports import Change, Person


async def _principals(sql: Ports, key: str) -> set[frozenset[str]] | str:
    """The sets of groups that must all be allowed now, or why the key is denied."""
    standing = await sql.identity.recheck(credential(key, "alice"), NOW)
    return standing.denied or {frozenset(g.removeprefix("group:") for g in p.groups) for p in standing.principals}


def test_a_person_is_absent_until_the_addition_is_recorded(sql: Ports) -> None:
    """What widens waits for its event."""

    async def story() -> None:
        key, _ = await sql.key("alice")
        change = await sql.directory.put_person("alice", ["b", "a", "b"], "operator:1", NOW)
        assert change.payload["groups"] == ["a", "b"]
        assert await _principals(sql, key) == "person_inactive"
        assert await sql.directory.person("alice") == Person("alice", False, (), "operator", NOW)
        await sql.outbox.finish([change])
        assert await _principals(sql, key) == {frozenset({"a", "b"})}

    run(story())


def test_while_groups_change_the_old_and_the_new_must_both_allow(sql: Ports) -> None:
    """Two principals until the event is recorded, then the new one alone."""

    async def story() -> None:
        await sql.person("alice", "old")
        key, _ = await sql.key("alice")
        change = await sql.directory.put_person("alice", ["new"], "operator:1", LATER)
        assert await _principals(sql, key) == {frozenset({"old"}), frozenset({"new"})}
        await sql.outbox.finish([change])
        assert await _principals(sql, key) == {frozenset({"new"})}

    run(story())


def test_losing_all_groups_binds_at_once(sql: Ports) -> None:
    """An empty new set is a set, not the absence of a change."""

    async def story() -> None:
        await sql.person("alice", "old")
        key, _ = await sql.key("alice")
        await sql.directory.put_person("alice", [], "operator:1", NOW)
        assert await _principals(sql, key) == {frozenset({"old"}), frozenset()}

    run(story())


def test_a_deactivation_binds_before_it_is_recorded(sql: Ports) -> None:
    """What narrows binds at once; repeating it is no change."""

    async def story() -> None:
        await sql.person("alice", "a")
        key, _ = await sql.key("alice")
        change = await sql.directory.deactivate("alice", "operator:1", NOW)
        assert change is not None
        assert await _principals(sql, key) == "person_inactive"
        await sql.outbox.finish([change])
        assert await _principals(sql, key) == "person_inactive"
        assert await sql.directory.deactivate("alice", "operator:1", NOW) is None
        assert await sql.directory.deactivate("nobody", "operator:1", NOW) is None
        assert await sql.outbox.pending() == []

    run(story())


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_a_deactivation_outlives_a_change_that_was_on_its_way(sql: Ports, known: bool) -> None:
    """Finishing the earlier change, before or after it, brings nobody back."""

    async def story(late: bool) -> None:
        user = f"alice-{late}"
        if known:
            await sql.person(user, "a")
        change = await sql.directory.put_person(user, ["b"], "operator:1", NOW)
        away = await sql.directory.deactivate(user, "operator:1", NOW)
        assert away is not None
        await sql.outbox.finish([away, change] if late else [change, away])
        person = await sql.directory.person(user)
        assert person is not None
        assert not person.active
        assert await sql.outbox.pending() == []

    run(story(True))
    run(story(False))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_last_of_several_changes_is_the_one_that_stays(sql: Ports, order: Sequence[int]) -> None:
    """In whatever order their carriers finish, and without what was replaced being left in the outbox."""

    async def story() -> None:
        await sql.person("alice", "old")
        key, _ = await sql.key("alice")
        changes: list[Change] = []
        for group in ("x", "y", "z"):
            changes.append(await sql.directory.put_person("alice", [group], "operator:1", NOW))
            assert await _principals(sql, key) == {frozenset({"old"}), frozenset({group})}
        assert [change.id for change in await sql.outbox.pending()] == [changes[2].id]
        for place in order:
            await sql.outbox.finish([changes[place]])
        assert await _principals(sql, key) == {frozenset({"z"})}

    run(story())


def test_somebody_deactivated_comes_back_with_the_groups_then_given(sql: Ports) -> None:
    """And not before that is recorded."""

    async def story() -> None:
        await sql.person("alice", "old")
        key, _ = await sql.key("alice")
        await sql.directory.deactivate("alice", "operator:1", NOW)
        change = await sql.directory.put_person("alice", ["new"], "operator:1", NOW)
        assert await _principals(sql, key) == "person_inactive"
        await sql.outbox.finish([change])
        assert await _principals(sql, key) == {frozenset({"new"})}

    run(story())


def test_people_are_paged_in_the_order_of_code_points(sql: Ports) -> None:
    """The same on every database, whatever its collation; each is on exactly one page."""

    async def story() -> None:
        names = ["Zoë", "alice", "Bob", "bob", "o'neil", "x" * 200, "Ünal", "10", "9", "a b", "a_b", "日本"]
        for name in names:
            await sql.person(name)
        pages, after = [], ""
        while page := await sql.directory.people(after, 5):
            pages.append([person.user for person in page])
            after = page[-1].user
        assert [len(page) for page in pages] == [5, 5, 2]
        assert [name for page in pages for name in page] == sorted(names)

    run(story())
