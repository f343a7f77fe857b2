"""A grant, asked again at each barrier: every kind of change is noticed, and nothing costs more than one query."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.backends.sql.sql_kit import NOW, Ports, in_haste, ring_in, run, staged

from usher.authority import Authority, Grant
from usher.backends.sql import Database, migrate
from usher.ports import StoredPolicy
from usher_policy.vocabulary import Action

NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
"""A Monday."""
RULES = """\
p, group:staff, sys:chat, chat.ask, allow, always
p, group:staff, coll:open, document.read, allow, always
p, group:hr, coll:hr, document.read, allow, always
"""
WIDER = RULES + "p, group:staff, coll:hr, document.read, allow, always\n"
NARROWER = "p, group:staff, sys:chat, chat.ask, allow, always\n"
CLASSES = [frozenset({"coll:open"}), frozenset({"coll:hr"})]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "usher.sqlite"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(autouse=True)
def _database(migrated: Path, tmp_path: Path) -> None:
    shutil.copy(migrated, tmp_path)


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now = NINE

    def __call__(self) -> datetime:
        return self.now


class Hall:
    """Alice of the staff with a key, two documents, a policy in force, and an authority over them."""

    def __init__(self, folder: Path, rules: str = RULES) -> None:
        database = Database(f"sqlite:///{folder / 'usher.sqlite'}")
        sa.event.listen(database.engine, "connect", in_haste)
        self.sql, self.clock, self.rules = Ports(database, ring_in(folder)), Clock(), rules
        self.authority = Authority(self.sql.identity, self.sql.policies, self.clock)
        self.key = self.secret = ""

    async def settle(self) -> Grant:
        await self.sql.intake.intern(CLASSES, {})
        await self.sql.put(staged("open.md"), 1)
        await self.sql.put(staged("hr.md"), 2)
        await self.policy(1, self.rules, finish=True)
        await self.sql.person("alice", "staff")
        self.key, self.secret = await self.sql.key("alice", NINE + timedelta(days=1))
        return await self.admit()

    async def admit(self) -> Grant:
        grant = await self.authority.admit(self.secret)
        assert grant is not None
        return grant

    async def policy(self, version: int, rules: str, *, finish: bool, links: str = "") -> None:
        documents = {"links.yaml": links} if links else {}
        change = await self.sql.policies.propose(StoredPolicy(version, "d" * 64, rules, documents, NOW), "operator:1")
        assert change is not None
        if finish:
            await self.sql.outbox.finish([change])

    async def finish(self) -> None:
        await self.sql.outbox.finish(await self.sql.outbox.pending())


Story = Callable[[Hall, Grant], Awaitable[None]]


def told(folder: Path, story: Story, rules: str = RULES) -> None:
    async def whole() -> None:
        hall = Hall(folder, rules)
        await story(hall, await hall.settle())
        hall.sql.database.close()

    run(whole())


def test_while_nothing_changes_it_is_the_same_grant_for_one_query(tmp_path: Path) -> None:
    """Also as time goes by."""

    async def story(hall: Hall, grant: Grant) -> None:
        assert grant.scope.classes == (1,)
        for _ in range(3):
            hall.clock.now += timedelta(hours=3)
            with hall.sql.statements() as asked:
                assert await hall.authority.again(grant) is grant
            assert len(asked) == 1

    told(tmp_path, story)


async def _revoke(hall: Hall) -> None:
    await hall.sql.keys.revoke(hall.key, "operator:1", NOW)


async def _deactivate(hall: Hall) -> None:
    await hall.sql.directory.deactivate("alice", "operator:1", NOW)


async def _expire(hall: Hall) -> None:
    hall.clock.now = NINE + timedelta(days=1)


@pytest.mark.parametrize(
    ("act", "denied"), [(_revoke, "key_revoked"), (_deactivate, "person_inactive"), (_expire, "key_expired")]
)
def test_what_ends_a_credential_binds_at_once(
    tmp_path: Path, act: Callable[[Hall], Awaitable[None]], denied: str
) -> None:
    """Before it is recorded and after: nothing is allowed any more, and the scope is empty."""

    async def story(hall: Hall, grant: Grant) -> None:
        assert grant.may(Action.CHAT_ASK, "sys:chat").allowed
        await act(hall)
        for _ in range(2):
            now = await hall.authority.again(grant)
            assert (now.denied, now.scope.classes, now.roles) == (denied, (), ())
            assert now.may(Action.CHAT_ASK, "sys:chat").reason == denied
            assert (await hall.admit()).denied == denied
            await hall.finish()

    told(tmp_path, story)


def test_groups_that_widen_wait_and_groups_that_narrow_bind_at_once(tmp_path: Path) -> None:
    """While the change is on its way, what both the old groups and the new allow."""

    async def story(hall: Hall, grant: Grant) -> None:
        await hall.sql.directory.put_person("alice", ["staff", "hr"], "operator:1", NOW)
        assert (await hall.authority.again(grant)).scope.classes == (1,)
        await hall.finish()
        wide = await hall.authority.again(grant)
        assert wide.scope.classes == (1, 2)
        await hall.sql.directory.put_person("alice", ["hr"], "operator:1", NOW)
        between = await hall.authority.again(wide)
        assert between.scope.classes == (2,)
        assert not between.may(Action.CHAT_ASK, "sys:chat").allowed
        await hall.finish()
        assert (await hall.authority.again(between)).scope.classes == (2,)

    told(tmp_path, story)


def test_a_policy_that_widens_waits_and_one_that_narrows_binds_at_once(tmp_path: Path) -> None:
    """While the version is on its way, what both it and the one in force allow; the one in force is named."""

    async def story(hall: Hall, grant: Grant) -> None:
        await hall.policy(2, WIDER, finish=False)
        between = await hall.authority.again(grant)
        assert between is not grant
        assert (between.scope.classes, between.scope.policy_version) == ((1,), 1)
        await hall.finish()
        wide = await hall.authority.again(between)
        assert (wide.scope.classes, wide.scope.policy_version) == ((1, 2), 2)
        await hall.policy(3, NARROWER, finish=False)
        between = await hall.authority.again(wide)
        assert (between.scope.classes, between.scope.policy_version) == ((), 2)
        assert between.may(Action.CHAT_ASK, "sys:chat").allowed
        await hall.finish()
        assert (await hall.authority.again(between)).scope.policy_version == 3

    told(tmp_path, story)


def test_hosts_of_links_are_those_of_both_versions_too(tmp_path: Path) -> None:
    """A policy's documents are part of its version."""

    async def story(hall: Hall, grant: Grant) -> None:
        assert grant.documents.link_hosts == frozenset()
        await hall.policy(2, RULES, finish=True, links="hosts: [a.example.com, b.example.com]")
        grant = await hall.authority.again(grant)
        assert grant.documents.link_hosts == {"a.example.com", "b.example.com"}
        await hall.policy(3, RULES, finish=False, links="hosts: [b.example.com, c.example.com]")
        assert (await hall.authority.again(grant)).documents.link_hosts == {"b.example.com"}

    told(tmp_path, story)


def test_a_label_that_moves_is_noticed_with_its_version(tmp_path: Path) -> None:
    """A class of a document that came since is in the scope of those who may read it."""

    async def story(hall: Hall, grant: Grant) -> None:
        await hall.sql.intake.intern([frozenset({"coll:open", "coll:open/sub"})], {})
        await hall.sql.put(staged("new.md"), 3)
        now = await hall.authority.again(grant)
        assert now.scope.classes == (1, 3)
        assert now.scope.label_version == grant.scope.label_version + 1

    told(tmp_path, story)


WINDOW = "p, group:staff, coll:hr, document.read, allow, time:days=mon-fri;from=08:00;to=17:00;zone=UTC\n"
CHAT_WINDOW = """\
p, group:staff, sys:chat, chat.ask, allow, time:days=mon-fri;from=08:00;to=17:00;zone=UTC
p, group:staff, coll:open, document.read, allow, always
"""


def test_a_condition_ends_what_it_allowed_at_its_instant(tmp_path: Path) -> None:
    """Not a microsecond later, and the grant is the same until then."""

    async def story(hall: Hall, grant: Grant) -> None:
        assert grant.scope.classes == (1, 2)
        five = NINE.replace(hour=17)
        assert grant.scope.valid_until == grant.valid_until == five
        hall.clock.now = five - timedelta(microseconds=1)
        assert await hall.authority.again(grant) is grant
        hall.clock.now = five
        now = await hall.authority.again(grant)
        assert now.scope.classes == (1,)
        assert now.valid_until == NINE.replace(hour=8) + timedelta(days=1)

    told(tmp_path, story, RULES + WINDOW)


def test_a_condition_on_asking_ends_it_too(tmp_path: Path) -> None:
    """A stream that began within the hours does not go on after them, though no class depends on them."""

    async def story(hall: Hall, grant: Grant) -> None:
        assert grant.scope.valid_until is None
        assert grant.may(Action.CHAT_ASK, "sys:chat").allowed
        hall.clock.now = NINE.replace(hour=17)
        now = await hall.authority.again(grant)
        assert not now.may(Action.CHAT_ASK, "sys:chat").allowed
        assert now.scope.classes == (1,)

    told(tmp_path, story, CHAT_WINDOW)


def test_a_condition_of_a_pending_policy_counts_too(tmp_path: Path) -> None:
    """Whichever of the two changes first."""

    async def story(hall: Hall, grant: Grant) -> None:
        await hall.policy(2, CHAT_WINDOW, finish=False)
        between = await hall.authority.again(grant)
        assert between.valid_until == NINE.replace(hour=17)
        hall.clock.now = NINE.replace(hour=18)
        assert not (await hall.authority.again(between)).may(Action.CHAT_ASK, "sys:chat").allowed

    told(tmp_path, story)


def test_a_string_that_is_no_key_gets_no_grant(tmp_path: Path) -> None:
    """None, not a grant that is denied: there is nobody to record."""

    async def story(hall: Hall, _grant: Grant) -> None:
        assert await hall.authority.admit("usher-nonsense") is None

    told(tmp_path, story)


def test_without_a_policy_nothing_is_allowed(tmp_path: Path) -> None:
    """A fresh data folder denies; so does a version whose text is gone."""

    async def story() -> None:
        hall = Hall(tmp_path)
        await hall.sql.person("alice", "staff")
        hall.key, hall.secret = await hall.sql.key("alice")
        grant = await hall.admit()
        assert (grant.denied, grant.scope.classes) == (None, ())
        assert not grant.may(Action.CHAT_ASK, "sys:chat").allowed
        hall.sql.database.close()

    run(story())


def test_a_version_is_reached_once_it_is_active(tmp_path: Path) -> None:
    """Not while it is pending; who waits for it then goes on by themselves."""

    async def story(hall: Hall, _grant: Grant) -> None:
        await hall.policy(2, NARROWER, finish=False)
        assert not await hall.authority.reached(2, 0.05)
        assert await asyncio.gather(hall.authority.reached(2, 5), hall.finish()) == [True, None]

    told(tmp_path, story)
