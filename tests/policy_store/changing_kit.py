"""An office where a policy is changed: real SQLite and ledger, a clock that stands, and people who hold rights."""

from __future__ import annotations

import functools
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from tests.backends.sql.sql_kit import NOW, Ports, in_haste, run

from usher.app import FINISHERS
from usher.app_policy import open_acts
from usher.authority import Authority
from usher.backends.keyring import KeyRing
from usher.backends.ledger_sql import SqlLog
from usher.backends.sql import Database, migrate
from usher.backends.sql_outbox import SqlOutbox
from usher.core.changeset import Changeset
from usher.core.standing import Actor
from usher.ledger.sequencer import Ledger
from usher.outbox import Courier
from usher.people import People
from usher.policy.activation import Activation
from usher.policy.changesets import Changesets
from usher.policy.editors import Editor
from usher.policy.glass import Glass
from usher.policy.history import History
from usher.policy.plan import Plan
from usher.policy_admin import AppliedPolicy, PolicyAdmin, PolicySource
from usher_policy.vocabulary import Action

T = TypeVar("T")

OPERATOR = Actor("operator", "uid:0")
POLICY = """\
# who keeps this policy
p, role:keeper, sys:policy, policy.read, allow, always
p, role:keeper, sys:policy, policy.propose, allow, always
p, role:keeper, sys:policy, policy.approve, allow, always
p, role:keeper, sys:policy, policy.activate, allow, always
p, role:keeper, sys:policy, policy.rollback, allow, always
g, user:ann, role:keeper
g, user:bob, role:keeper
g, user:cyd, role:keeper
# the department of people
p, role:hr-admin, coll:hr, policy.propose, allow, always
p, role:hr-admin, role:hr, policy.propose, allow, always
p, role:hr-boss, coll:hr, policy.approve, allow, always
p, role:hr-boss, role:hr, policy.approve, allow, always
p, role:hr-boss, coll:hr, policy.activate, allow, always
p, role:hr-boss, role:hr, policy.activate, allow, always
g, user:hal, role:hr-admin
g, user:hope, role:hr-boss
p, role:hr, coll:hr, document.read, allow, always
# everybody
p, role:all, coll:open, document.read, allow, always
p, role:all, sys:chat, chat.ask, allow, always
g, group:staff, role:all
g, role:hr, role:all
"""
PEOPLE = {"ann": (), "bob": (), "cyd": (), "dan": ("staff",), "hal": ("staff",), "hope": ("staff",)}
WIDER = "p, role:all, coll:news, document.read, allow, always"
NARROWER = "p, group:staff, coll:open, document.read, deny, always"
HR = "g, user:dan, role:hr"
NEWS = (Action.DOCUMENT_READ, "coll:news")


@dataclass
class Clock:
    """Stands until it is set."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def on(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass(frozen=True)
class Changing:
    """The use cases that change the policy."""

    changesets: Changesets
    activation: Activation
    glass: Glass
    history: History


@dataclass
class Office:
    """What one process has open. `keys` outlive it."""

    folder: Path
    sql: Ports
    ledger: Ledger
    authority: Authority
    courier: Courier
    direct: PolicyAdmin
    people: People
    on: Changing
    clock: Clock
    keys: dict[str, str] = field(default_factory=dict)

    async def add(self, user: str, *groups: str) -> None:
        await self.sql.person(user, *groups)
        _, self.keys[user] = await self.sql.key(user)

    async def by(self, user: str) -> Editor:
        """Somebody, by a grant of now; `operator` is the operator."""
        if user == "operator":
            return Editor(None, "operator:uid:0")
        grant = await self.authority.admit(self.keys[user])
        assert grant is not None
        return Editor(grant, "key")

    async def edit(self, user: str, add: Sequence[str] = (), remove: Sequence[str] = (), **more: Any) -> Changeset:
        return await self.on.changesets.edit(add, remove, await self.by(user), None, **more)

    async def plan(self, change: Changeset, user: str = "ann") -> Plan:
        return await self.on.changesets.plan_of(change.id, await self.by(user))

    async def approve(self, user: str, change: Changeset, digest: str | None = None) -> Changeset:
        return await self.on.changesets.approve(change.id, digest or change.digest, await self.by(user))

    async def activate(self, user: str, change: Changeset) -> AppliedPolicy:
        return await self.on.activation.activate(change.id, change.digest, await self.by(user))

    async def made(self, add: Sequence[str] = (), remove: Sequence[str] = ()) -> AppliedPolicy:
        """An edit by ann, approved by bob, in force."""
        change = await self.edit("ann", add, remove)
        await self.approve("bob", change)
        return await self.activate("ann", change)

    async def get(self, change: Changeset | UUID) -> Changeset:
        return await self.on.changesets.get(change if isinstance(change, UUID) else change.id, await self.by("ann"))

    async def in_force(self) -> int:
        return (await self.authority.current())[1].version

    async def may(self, user: str, action: str, target: str) -> bool:
        grant = (await self.by(user)).grant
        assert grant is not None
        return grant.may(action, target).allowed  # type: ignore[arg-type]  # the text of an action is one

    def query(self, statement: str, file: str = "usher.sqlite") -> list[Any]:
        with closing(sqlite3.connect(self.folder / file)) as connection:
            return connection.execute(statement).fetchall()

    def events(self, *types: str) -> list[dict[str, Any]]:
        return events_in(self.folder, *types)


def events_in(folder: Path, *types: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection:
        rows = connection.execute("SELECT event FROM events ORDER BY number").fetchall()
    return [event for row in rows if (event := json.loads(row[0]))["type"] in types or not types]


@asynccontextmanager
async def opened(folder: Path, clock: Clock | None = None, keys: dict[str, str] | None = None) -> AsyncIterator[Office]:
    """A process over the folder, with the policy of above in force and everybody's key if it is a new one."""
    new = not (folder / "usher.sqlite").exists()
    if new:
        folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # nobody waits for the loop here
        (folder / "usher.sqlite").write_bytes(migrated())
    ring_path = folder / "home.keys"
    ring = KeyRing.create(ring_path) if new else KeyRing.open(ring_path)
    database, log = Database(f"sqlite:///{folder / 'usher.sqlite'}"), SqlLog(folder / "ledger.sqlite", 0)
    for engine in (database.engine, log._engine):
        sa.event.listen(engine, "connect", in_haste)
    ledger = await Ledger.open(log, ring)
    sql, clock = Ports(database, ring), clock or Clock()
    courier = Courier(SqlOutbox(database, FINISHERS), ledger, log)
    authority = Authority(sql.identity, sql.policies, clock)
    direct = PolicyAdmin(sql.policies, courier, clock)
    acts = open_acts(database, ring, ledger, authority, courier, clock)
    changesets, glass = Changesets(acts), Glass(acts, sql.policies)
    on = Changing(changesets, Activation(acts, changesets, glass, direct), glass, History(acts))
    people = People(sql.directory, sql.keys, lambda: ("", "", b""), courier, clock)
    office = Office(folder, sql, ledger, authority, courier, direct, people, on, clock, {} if keys is None else keys)
    try:
        if new:
            await direct.apply(PolicySource(POLICY), OPERATOR)
            for user, groups in PEOPLE.items():
                await office.add(user, *groups)
        yield office
    finally:
        await ledger.close()
        database.close()


def told(folder: Path, story: Callable[[Office], Awaitable[T]]) -> T:
    """The story's result, in a new office."""

    async def whole() -> T:
        async with opened(folder) as office:
            return await story(office)

    return run(whole())


@functools.cache
def migrated() -> bytes:
    """An empty metadata database, migrated once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "usher.sqlite"
        database = Database(f"sqlite:///{path}")
        migrate(database)
        database.close()
        return path.read_bytes()


async def broken(office: Office, user: str = "ann", minutes: int = 30) -> Changeset:
    """A change that gives something, alone in force."""
    change = await office.edit("bob", [WIDER])
    editor = await office.by(user)
    return await office.on.glass.break_glass(change.id, change.digest, editor, "The press is here, okapi.", minutes)
