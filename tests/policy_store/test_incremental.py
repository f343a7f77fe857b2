"""A version made from an earlier one is the version compiled anew."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backends.sql.sql_kit import NOW, Ports, in_haste, ring_in, run, staged
from tests.policy_store.changing_kit import HR, WIDER, Office, migrated, told

from usher.authority import Authority
from usher.backends.sql import Database
from usher.backends.sql_policy import SqlPolicies
from usher.ports import StoredPolicy
from usher_policy.compile import Snapshot
from usher_policy.conditions import Context
from usher_policy.decide import Decision, may, scope
from usher_policy.impact import Delta
from usher_policy.rules import read_rules
from usher_policy.vocabulary import Action, Principal

LINES = [
    *(
        f"p, {sub}, {obj}, document.read, {eft}, always"
        for sub in ("role:a", "role:b", "group:g")
        for obj in ("coll:x", "coll:x/y")
        for eft in ("allow", "deny")
    ),
    "p, role:b, coll:x, document.read, allow, purpose:is=audit",
    "p, user:u, sys:chat, chat.ask, allow, always",
    "g, user:u, role:a",
    "g, group:g, role:b",
    "g, role:a, role:b",
]
PEOPLE = [Principal("user:u"), Principal("user:u", frozenset({"group:g"})), Principal("user:v", frozenset({"group:g"}))]
ASKED = [("coll:x", Action.DOCUMENT_READ), ("coll:x/y", Action.DOCUMENT_READ), ("sys:chat", Action.CHAT_ASK)]
CONTEXTS = [Context(NOW), Context(NOW, "audit")]

versions = st.lists(
    st.tuples(st.frozensets(st.sampled_from(LINES)), st.integers(1, 3), st.booleans(), st.booleans()),
    min_size=1,
    max_size=6,
)
"""Each its lines, how many versions back its base lies, whether it has one, and whether a server looks then."""


@pytest.mark.parametrize("examples", [5, pytest.param(40 * int(os.environ.get("N", "1")), marks=pytest.mark.crash)])
def test_it_decides_as_the_whole_does(examples: int) -> None:
    """Whatever a version changed, from whichever base, however many versions a server did not see."""
    settings(max_examples=examples, deadline=None)(given(versions)(_as_the_whole))()


def _as_the_whole(changes: list[tuple[frozenset[str], int, bool, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "usher.sqlite").write_bytes(migrated())
        database = Database(f"sqlite:///{folder}/usher.sqlite")
        sa.event.listen(database.engine, "connect", in_haste)
        run(_compared(Ports(database, ring_in(Path(folder))), changes))
        database.close()


async def _compared(sql: Ports, changes: list[tuple[frozenset[str], int, bool, bool]]) -> None:
    await sql.intake.intern([frozenset({"coll:x"}), frozenset({"coll:x/y"})], {})
    living = Authority(sql.identity, sql.policies, lambda: NOW)
    texts = [""]
    for lines, back, short, looks in [*changes, (frozenset(LINES[:3]), 1, True, True)]:
        texts.append("\n".join(sorted(lines)))
        await _store(sql, texts, back if short else None)
        if looks:
            await _same(living, Authority(sql.identity, sql.policies, lambda: NOW))


async def _store(sql: Ports, texts: list[str], back: int | None) -> None:
    version = len(texts) - 1
    rules = read_rules(texts[version])
    stored = StoredPolicy(version, rules.digest, texts[version], {"links.yaml": f"hosts: [v{version}.org]"}, NOW)
    if back is not None and version - back > 0:
        delta = Delta.between(read_rules(texts[version - back]), rules)
        removed, added = (
            tuple(line.canonical for line in (*side.permissions, *side.links)) for side in (delta.removed, delta.added)
        )
        stored = replace(stored, base=version - back, removed=removed, added=added)
    change = await sql.policies.propose(stored, "x")
    assert change is not None
    await sql.outbox.finish([change])


def _told(snapshot: Snapshot, who: Principal, obj: str, action: Action, context: Context) -> Decision:
    """A decision; the order of its rules means nothing."""
    decision = may(snapshot, who, obj, action, context)
    return replace(decision, rules=tuple(sorted(decision.rules)))


async def _same(living: Authority, fresh: Authority) -> None:
    (versions, one), (_, other) = await living.current(), await fresh.current()
    assert (one.version, one.digest) == (other.version, other.digest) == (versions.policy, other.rules.digest)
    assert (set(one.rules.permissions), set(one.rules.links)) == (set(other.rules.permissions), set(other.rules.links))
    for who in PEOPLE:
        for context in CONTEXTS:
            assert scope(one, who, context).classes == scope(other, who, context).classes
            for obj, action in ASKED:
                assert _told(one, who, obj, action, context) == _told(other, who, obj, action, context)
    assert (await living.documents())[1] == (await fresh.documents())[1]


def test_a_server_reads_only_what_a_version_changed(tmp_path: Path) -> None:
    """One that knows the version before; also when the version goes back, or a break-glass ends."""
    loaded: list[int] = []

    async def story(office: Office) -> None:
        real = SqlPolicies.load

        class Counting(SqlPolicies):
            async def load(self, version: int) -> StoredPolicy | None:
                loaded.append(version)
                return await real(self, version)

        another = Authority(office.sql.identity, Counting(office.sql.database), office.clock)
        assert (await another.current())[1].version == 1
        loaded.clear()
        await office.made([WIDER])
        await office.made([HR])
        await office.made([], [WIDER])
        await office.sql.intake.intern([frozenset({"coll:news"})], {})
        await office.sql.put(staged("news.md"), 1)
        snapshot = (await another.current())[1]
        assert (snapshot.version, snapshot.catalog.classes) == (4, {1: frozenset({"coll:news"})})
        change = await office.edit("ann", [WIDER])
        await office.on.glass.break_glass(change.id, change.digest, await office.by("ann"), "Now.", 5)
        assert (await another.current())[1].version == 5
        office.clock.on(minutes=5)
        assert (await another.current())[1].version == 4
        await office.on.glass.expire()
        assert (await another.current())[1].version == 6
        assert loaded == []

    told(tmp_path / "office", story)
